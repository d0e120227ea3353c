//! Types that have no natural Parquet type and are stored as the text a person knows them by.
//!
//! Each form has a printer and a parser. The builder prints, parses the text again and compares: a value whose text does
//! not lead back to the very same bytes becomes an exception, so a printer may be careless about rare values, never wrong.

use super::{numeric, text};
use crate::codec::{CodecError, wire::Wire};
use crate::manifest::Mapping;

/// How a value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Numeric,
    Bpchar(u32),
    Char,
    Versioned,
    TimeTz,
    Inet { cidr: bool },
    MacAddr { bytes: u8 },
    Bits,
    Tid,
}

impl Form {
    /// The form of a mapping that is stored as printed text.
    pub(crate) fn of(mapping: &Mapping) -> Option<Self> {
        Some(match mapping {
            Mapping::NumericText => Form::Numeric,
            Mapping::Bpchar { length: Some(length) } => Form::Bpchar(*length),
            Mapping::Char => Form::Char,
            Mapping::VersionedText => Form::Versioned,
            Mapping::TimeTz => Form::TimeTz,
            Mapping::Inet { cidr } => Form::Inet { cidr: *cidr },
            Mapping::MacAddr { bytes } => Form::MacAddr { bytes: *bytes },
            Mapping::BitString => Form::Bits,
            Mapping::Tid => Form::Tid,
            _ => return None,
        })
    }

    /// Appends the text of a value; false if it has none.
    pub(crate) fn print(self, wire: &[u8], out: &mut Vec<u8>) -> Result<bool, CodecError> {
        match self {
            Form::Numeric => numeric::print(wire, out),
            Form::Bpchar(_) => Ok(text::trim(wire, out)),
            Form::Char => text::print_char(wire, out),
            Form::Versioned => text::print_versioned(wire, out),
            Form::TimeTz => print_timetz(wire, out),
            Form::Inet { cidr } => text::print_inet(wire, cidr, out),
            Form::MacAddr { bytes } => print_mac(wire, usize::from(bytes), out),
            Form::Bits => print_bits(wire, out),
            Form::Tid => print_tid(wire, out),
        }
    }

    /// Appends the wire form of a text; false if barkeep never writes such a text.
    pub(crate) fn parse(self, text: &str, out: &mut Vec<u8>) -> bool {
        match self {
            Form::Numeric => numeric::parse(text, out),
            Form::Bpchar(length) => text::pad(text, length, out),
            Form::Char => text::parse_char(text, out),
            Form::Versioned => {
                out.push(1);
                out.extend_from_slice(text.as_bytes());
                true
            }
            Form::TimeTz => parse_timetz(text, out).is_some(),
            Form::Inet { cidr } => text::parse_inet(text, cidr, out).is_some(),
            Form::MacAddr { bytes } => parse_mac(text, usize::from(bytes), out),
            Form::Bits => parse_bits(text, out),
            Form::Tid => parse_tid(text, out).is_some(),
        }
    }

    /// Prints and proves that the text leads back; `text` is left as it was if it does not.
    pub(crate) fn print_exact(
        self,
        wire: &[u8],
        text: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, CodecError> {
        let start = text.len();
        let printed = self.print(wire, text)?;
        scratch.clear();
        let exact = printed
            && std::str::from_utf8(&text[start..]).is_ok_and(|printed| self.parse(printed, scratch))
            && scratch == wire;
        if !exact {
            text.truncate(start);
        }
        Ok(exact)
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    // Writing to a Vec can't fail.
    let _ = out.write_fmt(text);
}

fn print_timetz(wire: &[u8], out: &mut Vec<u8>) -> Result<bool, CodecError> {
    let mut wire = Wire::new(wire);
    let micros = i64::from_be_bytes(wire.array()?);
    let west = wire.i32()?;
    wire.end()?;
    // PostgreSQL's limit is 15:59:59 either way.
    if !(0..=DAY_MICROS).contains(&micros) || west.unsigned_abs() >= 16 * 3600 {
        return Ok(false);
    }
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    append(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    if fraction != 0 {
        let start = out.len();
        append(out, format_args!(".{fraction:06}"));
        while out.len() > start && out.last() == Some(&b'0') {
            out.pop();
        }
    }
    let east = west.unsigned_abs();
    append(out, format_args!("{}{:02}", if west > 0 { '-' } else { '+' }, east / 3600));
    if east % 3600 != 0 {
        append(out, format_args!(":{:02}", east / 60 % 60));
    }
    if east % 60 != 0 {
        append(out, format_args!(":{:02}", east % 60));
    }
    Ok(true)
}

fn parse_timetz(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let sign = text.rfind(['+', '-'])?;
    let (time, zone) = text.split_at(sign);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut micros = sexagesimal(clock)?.checked_mul(1_000_000)?;
    if !fraction.is_empty() {
        let digits = fraction.len() as u32;
        micros += digits_of::<i64>(fraction)?.checked_mul(10i64.checked_pow(6u32.checked_sub(digits)?)?)?;
    }
    let offset = i32::try_from(sexagesimal(zone.get(1..)?)?).ok()?;
    let west = if zone.starts_with('-') { offset } else { -offset };
    out.extend_from_slice(&micros.to_be_bytes());
    out.extend_from_slice(&west.to_be_bytes());
    Some(())
}

/// Seconds of `hh`, `hh:mm` or `hh:mm:ss`.
fn sexagesimal(text: &str) -> Option<i64> {
    let mut seconds = 0;
    let mut unit = 3600;
    for part in text.split(':') {
        if unit == 0 || part.len() != 2 {
            return None;
        }
        seconds += digits_of::<i64>(part)? * unit;
        unit /= 60;
    }
    Some(seconds)
}

/// A number of ASCII digits alone: `parse` would take a sign.
fn digits_of<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn print_mac(wire: &[u8], bytes: usize, out: &mut Vec<u8>) -> Result<bool, CodecError> {
    if wire.len() != bytes {
        return Err(CodecError::malformed("a hardware address of another length", wire.len()));
    }
    for (at, byte) in wire.iter().enumerate() {
        append(out, format_args!("{}{byte:02x}", if at > 0 { ":" } else { "" }));
    }
    Ok(true)
}

fn parse_mac(text: &str, bytes: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    for part in text.split(':') {
        let hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u8::from_str_radix(part, 16) {
            Ok(byte) if hex => out.push(byte),
            _ => return false,
        }
    }
    out.len() - start == bytes
}

fn print_bits(wire: &[u8], out: &mut Vec<u8>) -> Result<bool, CodecError> {
    let mut wire = Wire::new(wire);
    let bits = wire.i32()?;
    let bytes = wire.take(wire.left())?;
    let Some(bits) = usize::try_from(bits).ok().filter(|bits| bits.div_ceil(8) == bytes.len()) else {
        return Err(CodecError::malformed("the length of a bit string", 0));
    };
    out.extend((0..bits).map(|bit| b'0' + (bytes[bit / 8] >> (7 - bit % 8) & 1)));
    Ok(true)
}

fn parse_bits(text: &str, out: &mut Vec<u8>) -> bool {
    let Ok(bits) = i32::try_from(text.len()) else { return false };
    out.extend_from_slice(&bits.to_be_bytes());
    for chunk in text.as_bytes().chunks(8) {
        let mut byte = 0;
        for (at, digit) in chunk.iter().enumerate() {
            match digit {
                b'0' => {}
                b'1' => byte |= 0x80 >> at,
                _ => return false,
            }
        }
        out.push(byte);
    }
    true
}

fn print_tid(wire: &[u8], out: &mut Vec<u8>) -> Result<bool, CodecError> {
    let mut wire = Wire::new(wire);
    let (block, offset) = (wire.u32()?, wire.u16()?);
    wire.end()?;
    append(out, format_args!("({block},{offset})"));
    Ok(true)
}

fn parse_tid(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (block, offset) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    out.extend_from_slice(&digits_of::<u32>(block)?.to_be_bytes());
    out.extend_from_slice(&digits_of::<u16>(offset)?.to_be_bytes());
    Some(())
}

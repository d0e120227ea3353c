//! Printers and parsers of text-like types: `char(n)`, `"char"`, `jsonb` and its like, `inet` and `cidr`.
//!
//! They need not check their own work: `printed::Form::print_exact` parses what was printed and compares.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::codec::{CodecError, wire::Wire};

/// A PostgreSQL column can't be declared longer; a padding beyond it is a forged file.
const MAX_CHAR: u32 = 10_485_760;

/// Appends a `char(n)` without its padding.
pub(crate) fn trim(wire: &[u8], out: &mut Vec<u8>) -> bool {
    let end = wire.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    out.extend_from_slice(&wire[..end]);
    true
}

/// Appends a text padded to `length` characters.
pub(crate) fn pad(text: &str, length: u32, out: &mut Vec<u8>) -> bool {
    let missing = (length.min(MAX_CHAR) as usize).saturating_sub(text.chars().count());
    out.extend_from_slice(text.as_bytes());
    out.resize(out.len() + missing, b' ');
    true
}

/// Appends a `"char"` as `charout` prints it: nothing for 0, the character, or three octal digits.
pub(crate) fn print_char(wire: &[u8], out: &mut Vec<u8>) -> Result<bool, CodecError> {
    let &[byte] = wire else {
        return Err(CodecError::malformed("a \"char\" of another length", wire.len()));
    };
    match byte {
        0 => {}
        1..0x80 => out.push(byte),
        _ => {
            let octal = [byte >> 6, byte >> 3 & 7, byte & 7];
            out.push(b'\\');
            out.extend(octal.map(|digit| b'0' + digit));
        }
    }
    Ok(true)
}

/// The inverse of [`print_char`].
pub(crate) fn parse_char(text: &str, out: &mut Vec<u8>) -> bool {
    let byte = match *text.as_bytes() {
        [] => 0,
        [byte] => byte,
        [b'\\', a @ b'2'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')
        }
        _ => return false,
    };
    out.push(byte);
    true
}

/// Appends the text behind a version byte; false for a version other than 1.
pub(crate) fn print_versioned(wire: &[u8], out: &mut Vec<u8>) -> Result<bool, CodecError> {
    let Some((version, text)) = wire.split_first() else {
        return Err(CodecError::malformed("a version byte", 0));
    };
    out.extend_from_slice(text);
    Ok(*version == 1)
}

const INET: u8 = 2;
const INET6: u8 = 3;

/// Appends an address as `inet_out` or `cidr_out` prints it.
pub(crate) fn print_inet(wire: &[u8], cidr: bool, out: &mut Vec<u8>) -> Result<bool, CodecError> {
    use std::io::Write as _;
    let mut wire = Wire::new(wire);
    let [family, bits, flag, length] = wire.array()?;
    let full = match (family, length) {
        (INET, 4) => {
            let _ = write!(out, "{}", Ipv4Addr::from(wire.array::<4>()?));
            32
        }
        (INET6, 16) => {
            print_v6(Ipv6Addr::from(wire.array::<16>()?), out);
            128
        }
        _ => return Err(CodecError::malformed("the family of an address", 0)),
    };
    wire.end()?;
    if bits > full || flag > 1 {
        return Ok(false);
    }
    if cidr || bits < full {
        let _ = write!(out, "/{bits}");
    }
    Ok(true)
}

/// As PostgreSQL prints it, which differs from the standard library for the old `::1.2.3.4` form alone.
fn print_v6(address: Ipv6Addr, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let words = address.segments();
    let compatible =
        words[..6].iter().all(|word| *word == 0) && (words[6] != 0 || (words[7] != 0 && words[7] != 1));
    let _ = if compatible {
        let [.., a, b, c, d] = address.octets();
        write!(out, "::{a}.{b}.{c}.{d}")
    } else {
        write!(out, "{address}")
    };
}

/// The inverse of [`print_inet`].
pub(crate) fn parse_inet(text: &str, cidr: bool, out: &mut Vec<u8>) -> Option<()> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let flag = u8::from(cidr);
    if address.contains(':') {
        let address: Ipv6Addr = address.parse().ok()?;
        out.extend_from_slice(&[INET6, mask.unwrap_or(128), flag, 16]);
        out.extend_from_slice(&address.octets());
    } else {
        let address: Ipv4Addr = address.parse().ok()?;
        out.extend_from_slice(&[INET, mask.unwrap_or(32), flag, 4]);
        out.extend_from_slice(&address.octets());
    }
    Some(())
}

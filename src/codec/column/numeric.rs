//! `numeric`: its wire form ⇄ a scaled 128-bit integer, and ⇄ the text of `numeric_out`.
//!
//! Wire: ndigits, weight, sign, dscale (16 bits each), then base-10000 digits without leading or trailing zero digits.
//! The digits depend on the value alone and dscale only on how it is displayed, so the two are handled apart.

use crate::codec::CodecError;

pub(super) const POSITIVE: u16 = 0x0000;
pub(super) const NEGATIVE: u16 = 0x4000;
const NAN: [u8; 8] = [0, 0, 0, 0, 0xc0, 0, 0, 0];
/// `numeric_send` derives dscale from the header of the stored value, which makes it 0x20 for both infinities.
const INFINITY: [u8; 8] = [0, 0, 0, 0, 0xd0, 0, 0, 0x20];
const NEGATIVE_INFINITY: [u8; 8] = [0, 0, 0, 0, 0xf0, 0, 0, 0x20];

/// The largest display scale that PostgreSQL stores.
pub(super) const MAX_DSCALE: u16 = 0x3fff;

/// 10^0 to 10^38, all that fit.
pub(crate) const POW10: [u128; 39] = {
    let mut powers = [1u128; 39];
    let mut at = 1;
    while at < 39 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// Those that fit 64 bits.
const POW10_64: [u64; 20] = {
    let mut powers = [1u64; 20];
    let mut at = 1;
    while at < 20 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

struct Header<'a> {
    weight: i16,
    sign: u16,
    dscale: u16,
    digits: &'a [u8],
}

#[inline]
fn header(wire: &[u8]) -> Result<Header<'_>, CodecError> {
    let Some((head, digits)) = wire.split_first_chunk::<8>() else {
        return Err(CodecError::malformed("the header of a numeric", wire.len()));
    };
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    if digits.len() != 2 * usize::from(word(0)) {
        return Err(CodecError::malformed("the digits of a numeric", 8));
    }
    Ok(Header { weight: word(2) as i16, sign: word(4), dscale: word(6), digits })
}

#[inline]
fn digit(digits: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([digits[2 * at], digits[2 * at + 1]])
}

/// The value times 10^`scale` and its display scale, or `None` if it has more than `precision` digits, digits beyond
/// `scale`, is not finite, or is not spelled as `numeric_send` spells it.
#[inline]
pub(crate) fn to_scaled(wire: &[u8], precision: u8, scale: u8) -> Result<Option<(i128, u16)>, CodecError> {
    let Header { weight, sign, dscale, digits } = header(wire)?;
    let count = digits.len() / 2;
    if (sign != POSITIVE && sign != NEGATIVE) || dscale > MAX_DSCALE {
        return Ok(None);
    }
    if count == 0 {
        return Ok((weight == 0 && sign == POSITIVE).then_some((0, dscale)));
    }
    if digit(digits, 0) == 0 || digit(digits, count - 1) == 0 {
        return Ok(None);
    }
    let exponent = 4 * (i32::from(weight) - count as i32 + 1) + i32::from(scale);
    let magnitude = if count <= 4 { few(digits, count, exponent) } else { many(digits, count, exponent) };
    let bound = POW10[usize::from(precision).min(38)];
    let Some(magnitude) = magnitude.filter(|magnitude| *magnitude < bound) else { return Ok(None) };
    let value = magnitude as i128;
    Ok(Some((if sign == NEGATIVE { -value } else { value }, dscale)))
}

/// As [`to_scaled`] where `precision` is at most 18: what prices have, without a division by 128-bit numbers.
#[inline(never)]
pub(crate) fn to_scaled_64(wire: &[u8], precision: u8, scale: u8) -> Result<Option<(i64, u16)>, CodecError> {
    let Header { weight, sign, dscale, digits } = header(wire)?;
    let (digits, _) = digits.as_chunks::<2>();
    let exponent = 4 * (i32::from(weight) - digits.len() as i32 + 1) + i32::from(scale);
    // Everything else, what is wrong included, goes the long way.
    if !(1..=4).contains(&digits.len()) || (sign != POSITIVE && sign != NEGATIVE) || dscale > MAX_DSCALE {
        return to_scaled_64_slowly(wire, precision, scale);
    }
    let (mut value, mut largest) = (0u64, 0);
    for digit in digits {
        let digit = u16::from_be_bytes(*digit);
        largest = largest.max(digit);
        value = value * 10_000 + u64::from(digit);
    }
    let ends = digits[0] == [0, 0] || digits[digits.len() - 1] == [0, 0];
    let magnitude = match exponent {
        0 => Some(value),
        1..=18 => value.checked_mul(POW10_64[exponent as usize]),
        -1 => value.is_multiple_of(10).then_some(value / 10),
        -2 => value.is_multiple_of(100).then_some(value / 100),
        -3 => value.is_multiple_of(1000).then_some(value / 1000),
        _ => None,
    };
    let fits = |magnitude: &u64| largest <= 9999 && !ends && *magnitude < POW10_64[usize::from(precision)];
    let Some(magnitude) = magnitude.filter(fits) else { return Ok(None) };
    let value = magnitude as i64;
    Ok(Some((if sign == NEGATIVE { -value } else { value }, dscale)))
}

#[inline(never)]
fn to_scaled_64_slowly(wire: &[u8], precision: u8, scale: u8) -> Result<Option<(i64, u16)>, CodecError> {
    let found = to_scaled(wire, precision, scale)?;
    Ok(found.and_then(|(value, dscale)| Some((i64::try_from(value).ok()?, dscale))))
}

/// Up to 16 decimal digits fit a u64, and that is what prices have.
#[inline]
fn few(digits: &[u8], count: usize, exponent: i32) -> Option<u128> {
    let mut value = 0u64;
    for at in 0..count {
        let digit = digit(digits, at);
        if digit > 9999 {
            return None;
        }
        value = value * 10_000 + u64::from(digit);
    }
    match exponent {
        0 => Some(u128::from(value)),
        1..=38 => u128::from(value).checked_mul(POW10[exponent as usize]),
        -3..=-1 => {
            let divisor = POW10[-exponent as usize] as u64;
            value.is_multiple_of(divisor).then(|| u128::from(value / divisor))
        }
        _ => None,
    }
}

#[inline(never)]
fn many(digits: &[u8], count: usize, exponent: i32) -> Option<u128> {
    // A last digit that is not zero, more than three places beyond the scale, can't be exact. 38 decimal digits that
    // begin and end inside a group span eleven groups.
    if !(-3..=38).contains(&exponent) || count > 11 {
        return None;
    }
    let beyond = (-exponent).max(0) as u32;
    let mut value = 0u128;
    for at in 0..count {
        let mut digit = digit(digits, at);
        if digit > 9999 {
            return None;
        }
        let mut places = 4;
        if at + 1 == count && beyond > 0 {
            let divisor = 10u16.pow(beyond);
            if !digit.is_multiple_of(divisor) {
                return None;
            }
            digit /= divisor;
            places -= beyond;
        }
        value = value.checked_mul(10u128.pow(places))?.checked_add(u128::from(digit))?;
    }
    value.checked_mul(POW10[exponent.max(0) as usize])
}

/// Writes the wire form (without length) of `value` / 10^`scale`, displayed with `dscale` digits.
#[inline]
pub(crate) fn put_scaled(value: i128, scale: u8, dscale: u16, out: &mut Vec<u8>) {
    let magnitude = value.unsigned_abs();
    let fraction_groups = usize::from(scale).div_ceil(4);
    let padding = fraction_groups * 4 - usize::from(scale);
    // 10 groups before the point, 10 after it.
    let mut groups = [0u16; 20];
    let mut first = 10;
    if let Ok(small) = u64::try_from(magnitude)
        && scale <= 16
    {
        let power = POW10[usize::from(scale)] as u64;
        let (mut whole, mut part) = (small / power, small % power * POW10[padding] as u64);
        while whole > 0 {
            first -= 1;
            groups[first] = (whole % 10_000) as u16;
            whole /= 10_000;
        }
        for at in (10..10 + fraction_groups).rev() {
            groups[at] = (part % 10_000) as u16;
            part /= 10_000;
        }
    } else {
        let power = POW10[usize::from(scale).min(38)];
        let (mut whole, mut part) = (magnitude / power, magnitude % power);
        while whole > 0 {
            first -= 1;
            groups[first] = (whole % 10_000) as u16;
            whole /= 10_000;
        }
        // The last group may be partial. Scaling the whole fraction up to whole groups could overflow (38 → 40 digits).
        let mut divisor = POW10[4 - padding];
        for at in (10..10 + fraction_groups).rev() {
            groups[at] = (part % divisor) as u16;
            part /= divisor;
            if at == 10 + fraction_groups - 1 {
                groups[at] *= POW10[padding] as u16;
                divisor = 10_000;
            }
        }
    }
    let mut last = 10 + fraction_groups;
    while last > first && groups[last - 1] == 0 {
        last -= 1;
    }
    while first < last && groups[first] == 0 {
        first += 1;
    }
    let count = last - first;
    let weight = if count == 0 { 0 } else { 9 - first as i16 };
    let sign = if value < 0 { NEGATIVE } else { POSITIVE };
    for word in [count as u16, weight as u16, sign, dscale] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for group in &groups[first..last] {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// Appends the text that `numeric_out` prints; false if there is none (an unknown sign).
pub(crate) fn print(wire: &[u8], out: &mut Vec<u8>) -> Result<bool, CodecError> {
    let Header { weight, sign, dscale, digits } = header(wire)?;
    match sign {
        0xc000 => out.extend_from_slice(b"NaN"),
        0xd000 => out.extend_from_slice(b"Infinity"),
        0xf000 => out.extend_from_slice(b"-Infinity"),
        POSITIVE | NEGATIVE => {
            if dscale > MAX_DSCALE {
                return Ok(false);
            }
            if sign == NEGATIVE {
                out.push(b'-');
            }
            print_digits(i32::from(weight), dscale, digits, out);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn print_digits(weight: i32, dscale: u16, digits: &[u8], out: &mut Vec<u8>) {
    use std::io::Write as _;
    let count = (digits.len() / 2) as i32;
    let group = |at: i32| if (0..count).contains(&at) { digit(digits, at as usize).min(9999) } else { 0 };
    // Writing to a Vec can't fail.
    if weight < 0 {
        out.push(b'0');
    } else {
        let _ = write!(out, "{}", group(0));
        for at in 1..=weight {
            let _ = write!(out, "{:04}", group(at));
        }
    }
    if dscale > 0 {
        out.push(b'.');
        let end = out.len() + usize::from(dscale);
        let mut at = weight + 1;
        while out.len() < end {
            let _ = write!(out, "{:04}", group(at));
            at += 1;
        }
        out.truncate(end);
    }
}

/// The inverse of [`fn@print`]: appends the wire form of a text, or false if it is no numeric's.
pub(crate) fn parse(text: &str, out: &mut Vec<u8>) -> bool {
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" => Some(INFINITY),
        "-Infinity" => Some(NEGATIVE_INFINITY),
        _ => None,
    };
    if let Some(wire) = special {
        out.extend_from_slice(&wire);
        return true;
    }
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (NEGATIVE, rest),
        None => (POSITIVE, text),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let decimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !decimal(whole) || !decimal(fraction) || fraction.len() > usize::from(MAX_DSCALE) {
        return false;
    }
    let mut groups: Vec<u16> = Vec::with_capacity(whole.len() / 4 + fraction.len() / 4 + 2);
    let number = |part: &[u8]| part.iter().fold(0u16, |value, byte| value * 10 + u16::from(byte - b'0'));
    let (head, tail) = whole.as_bytes().split_at(whole.len() % 4);
    if !head.is_empty() {
        groups.push(number(head));
    }
    groups.extend(tail.chunks(4).map(number));
    let mut weight = groups.len() as i64 - 1;
    groups.extend(fraction.as_bytes().chunks(4).map(|part| number(part) * 10u16.pow(4 - part.len() as u32)));
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let trailing = groups.iter().rev().take_while(|group| **group == 0).count();
    let significant =
        if leading == groups.len() { &[][..] } else { &groups[leading..groups.len() - trailing] };
    weight = if significant.is_empty() { 0 } else { weight - leading as i64 };
    let (Ok(count), Ok(weight)) = (u16::try_from(significant.len()), i16::try_from(weight)) else {
        return false;
    };
    for word in [count, weight as u16, sign, fraction.len() as u16] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    significant.iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    true
}

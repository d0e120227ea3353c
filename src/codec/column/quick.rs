//! [`Quick`]: a short `numeric` → a scaled 64-bit integer, without a branch that depends on its digits.
//!
//! Prices of many symbols have one to four digits in base 10000, in no order that a processor could foresee: with a loop over
//! them and a branch on where the point stands, most of a numeric's time went into wrong guesses. So all four places are read at
//! once; what to do with them depends on the head alone and is looked up. Whatever is not plain here (`None`) goes the long way,
//! `numeric::to_scaled_64`, which decides; a property test holds the two equal.

use super::numeric::{MAX_DSCALE, NEGATIVE, POSITIVE};

/// Head and four digits: what is read at once.
pub(super) const READ: usize = 16;

/// The highest bit of each digit.
const HIGH: u64 = 0x8000_8000_8000_8000;

/// Added to a digit below the highest bit, it reaches that bit if the digit is above 9999. What is carried into the next digit
/// comes from one that has the bit itself.
const ABOVE: u64 = 0x58f0_58f0_58f0_58f0;

/// How values of one column are read, by [`place`].
pub(super) struct Quick(Box<[Plan; 64]>);

/// How values are read that have one count of digits, weight and sign.
#[derive(Clone, Copy)]
struct Plan {
    /// The three of them, as they stand in front of the display scale.
    kind: u64,
    /// The integer that the digits spell is at least this, or the first one is zero,
    least: u64,
    /// and at most so much more, or it has too many digits.
    range: u64,
    /// It is multiplied by a power of ten; or divided by one: multiplied by the inverse of a power of five modulo 2^64,
    factor: u64,
    /// and turned right by as many bits as there are twos.
    twos: u32,
    /// An inexact quotient is above this.
    largest: u64,
    /// -1 for negative values, or 0.
    minus: i64,
}

/// One that no value has.
const NONE: Plan = Plan { kind: u64::MAX, least: 0, range: 0, twos: 0, factor: 0, largest: 0, minus: 0 };

/// Where the plan for such values stands: those that can be plain have eight weights one after the other, one to four digits and
/// two signs.
#[inline]
fn place(kind: u64) -> usize {
    ((kind >> 16 & 0x07) | (kind >> 29 & 0x18) | (kind >> 9 & 0x20)) as usize
}

impl Quick {
    /// For values of at most `precision` digits, no more than 18, `scale` of them behind the point.
    pub(super) fn new(precision: u8, scale: u8) -> Self {
        let mut plans = Box::new([NONE; 64]);
        for (count, zeros, sign) in (1..=4).flat_map(|count| {
            (0..=4).flat_map(move |zeros| [POSITIVE, NEGATIVE].map(move |sign| (count, zeros, sign)))
        }) {
            if let Some(plan) = Plan::new(precision.min(18), scale, count, zeros, sign) {
                plans[place(plan.kind)] = plan;
            }
        }
        Self(plans)
    }

    /// The value times 10^scale and its display scale. `wire` begins with the value, which has `length` bytes; what stands behind
    /// it does not matter.
    #[inline]
    pub(super) fn read(&self, wire: &[u8; READ], length: usize) -> Option<(i64, u16)> {
        let (head, digits) = parts(wire);
        let (value, plain) = self.value(head, digits);
        let dscale = head as u16;
        (plain && dscale <= MAX_DSCALE && is_length_of(head, length)).then_some((value, dscale))
    }

    /// The values of numerics by their heads and digits, with a bit for each that is not plain or has another display scale.
    /// That their lengths are right is known.
    #[inline]
    pub(super) fn read_all(&self, numerics: &[(u64, u64)], dscale: u16, values: &mut [i64]) -> u64 {
        if dscale > MAX_DSCALE {
            return u64::MAX;
        }
        let mut others = 0;
        for (at, (&(head, digits), into)) in numerics.iter().zip(values).enumerate() {
            let (value, plain) = self.value(head, digits);
            *into = value;
            others |= u64::from(!plain | (head as u16 != dscale)) << (at & 63);
        }
        others
    }

    /// The value of a numeric with this head and these digits, what stands behind it included, and whether it is plain.
    #[inline(always)]
    fn value(&self, head: u64, digits: u64) -> (i64, bool) {
        let kind = head >> 16;
        let plan = &self.0[place(kind)];
        // 64 less 16 a digit, modulo 64.
        let digits = digits >> ((kind >> 32 << 4).wrapping_neg() & 63);
        let pairs = (digits >> 16 & 0xffff_0000_ffff) * 10_000 + (digits & 0xffff_0000_ffff);
        let spelt = (pairs >> 32) * 100_000_000 + (pairs & 0xffff_ffff);
        let value = spelt.wrapping_mul(plan.factor).rotate_right(plan.twos);
        let plain = (kind == plan.kind)
            & ((digits | digits.wrapping_add(ABOVE)) & HIGH == 0)
            & (digits & 0xffff != 0)
            & (spelt.wrapping_sub(plan.least) <= plan.range)
            & (value <= plan.largest);
        ((value as i64 ^ plan.minus).wrapping_sub(plan.minus), plain)
    }
}

/// Head and digits of what begins with a numeric.
#[inline]
pub(super) fn parts(wire: &[u8; READ]) -> (u64, u64) {
    let both = u128::from_be_bytes(*wire);
    ((both >> 64) as u64, both as u64)
}

/// Whether a numeric with this head has so many bytes.
#[inline]
pub(super) fn is_length_of(head: u64, length: usize) -> bool {
    length as u64 == 8 + 2 * (head >> 48)
}

impl Plan {
    /// For values of `count` digits of which the last one stands `zeros` places of base 10000 before the last one that `scale`
    /// needs. `None`: none of them fits.
    fn new(precision: u8, scale: u8, count: u64, zeros: u32, sign: u16) -> Option<Self> {
        let places = u32::from(scale).div_ceil(4);
        let weight = zeros as i16 + count as i16 - 1 - places as i16;
        let kind = count << 32 | u64::from(weight as u16) << 16 | u64::from(sign);
        // What the last of those places has too much.
        let beyond = 4 * places - u32::from(scale);
        let bound = 10u128.pow(precision.into());
        let (twos, factor, largest, most) = if zeros == 0 {
            let five = 5u64.pow(beyond);
            (beyond, inverse(five), u64::MAX / 10u64.pow(beyond), (bound - 1) * 10u128.pow(beyond))
        } else {
            let factor = 10u64.checked_pow(4 * zeros - beyond)?;
            (0, factor, u64::MAX, (bound - 1) / u128::from(factor))
        };
        let least = 10_000u64.pow(count as u32 - 1);
        let range = u64::try_from(most).unwrap_or(u64::MAX).checked_sub(least)?;
        let minus = if sign == NEGATIVE { -1 } else { 0 };
        Some(Self { kind, least, range, twos, factor, largest, minus })
    }
}

/// The inverse of an odd number modulo 2^64. Newton: each step doubles the bits that are right.
fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::numeric::to_scaled_64;
    use super::*;

    /// Both ways for one value, with `behind` behind it.
    fn agree(wire: &[u8], behind: u8, precision: u8, scale: u8) -> Option<(i64, u16)> {
        let mut room = [behind; READ];
        let kept = wire.len().min(READ);
        room[..kept].copy_from_slice(&wire[..kept]);
        let quick = Quick::new(precision, scale).read(&room, wire.len());
        if quick.is_some() {
            assert_eq!(
                quick,
                to_scaled_64(wire, precision, scale).unwrap(),
                "{wire:?} as ({precision},{scale})"
            );
        }
        quick
    }

    fn wire(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Any head and any digits: no value is read that the long way reads differently or not at all.
        #[test]
        fn nothing_is_read_otherwise_than_the_long_way_does(
            count in 0u16..6,
            weight in -4i16..6,
            sign in prop_oneof![Just(0u16), Just(0x4000), Just(0x8000), Just(0xc000), Just(1), any::<u16>()],
            dscale in prop_oneof![0u16..12, any::<u16>()],
            digits in prop::collection::vec(prop_oneof![0u16..10_000, Just(0), Just(9999), Just(10_000), any::<u16>()], 0..6),
            behind: u8,
            precision in 1u8..=18,
            below in 0u8..=18,
        ) {
            let scale = below.min(precision);
            agree(&wire(&[&[count, weight as u16, sign, dscale], &digits[..]].concat()), behind, precision, scale);
        }

        /// What a column of prices has is read the quick way.
        #[test]
        fn prices_are_read_quickly(value in 1i64..=999_999_999_999, negative: bool, scale in 0u8..=6, behind: u8) {
            let value = if negative { -value } else { value };
            let mut wire = Vec::new();
            super::super::numeric::put_scaled(i128::from(value), scale, u16::from(scale), &mut wire);
            prop_assert_eq!(agree(&wire, behind, 18, scale), Some((value, u16::from(scale))));
        }
    }
}

//! [`Quick`]: a short `numeric` → a scaled 64-bit integer, without a branch that depends on its digits.
//!
//! Prices of many symbols have one to four digits in base 10000, in no order that a processor could foresee: with a loop over
//! them and a branch on where the point stands, most of a numeric's time went into wrong guesses. So all four places are read at
//! once, and what is multiplied or divided by is looked up. Whatever is not plain here (`None`) goes the long way,
//! `numeric::to_scaled_64`, which decides; a property test holds the two equal.

use super::numeric::{MAX_DSCALE, NEGATIVE};

/// Head and four digits: what is read at once.
pub(super) const READ: usize = 16;

/// The highest bit of each digit.
const HIGH: u64 = 0x8000_8000_8000_8000;

/// Added to a digit, it reaches the highest bit if the digit is above 9999.
const ABOVE: u64 = 0x58f0_58f0_58f0_58f0;

/// 10000^0 to 10000^4.
const GROUPS: [u64; 5] = [1, 10_000, 100_000_000, 1_000_000_000_000, 10_000_000_000_000_000];

/// 10^0 to 10^3 as a power of two and the inverse of a power of five modulo 2^64, by which an exact division is a multiplication;
/// and the largest quotient: an inexact one is above it.
const DIVISORS: [(u32, u64, u64); 4] = {
    let mut divisors = [(0, 1, u64::MAX); 4];
    let (mut at, mut five) = (1, 1u64);
    while at < 4 {
        five *= 5;
        // Newton: each step doubles the bits that are right.
        let (mut inverse, mut step) = (five, 0);
        while step < 6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(five.wrapping_mul(inverse)));
            step += 1;
        }
        divisors[at] = (at as u32, inverse, u64::MAX / five);
        at += 1;
    }
    divisors
};

/// How values of one column are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quick {
    /// Places of base 10000 behind the point that `scale` needs.
    fraction: i32,
    /// What they have too much.
    divisor: (u32, u64, u64),
    /// 10^`precision`.
    bound: u64,
}

impl Quick {
    /// For values of at most `precision` digits, no more than 18, `scale` of them behind the point.
    pub(super) fn new(precision: u8, scale: u8) -> Self {
        let fraction = usize::from(scale).div_ceil(4);
        let divisor = DIVISORS[4 * fraction - usize::from(scale)];
        let bound = 10u64.pow(u32::from(precision.min(18)));
        Self { fraction: fraction as i32, divisor, bound }
    }

    /// The value times 10^scale and its display scale. `wire` begins with the value, which has `length` bytes; what stands behind
    /// it does not matter.
    #[inline]
    pub(super) fn read(&self, wire: &[u8; READ], length: usize) -> Option<(i64, u16)> {
        let both = u128::from_be_bytes(*wire);
        let (head, digits) = ((both >> 64) as u64, both as u64);
        let count = head >> 48;
        let (weight, sign, dscale) = ((head >> 32) as i16, head >> 16 & 0xffff, head & 0xffff);
        // Modulo 64, which changes nothing for a count that is right.
        let digits_right = digits.wrapping_shr(64u64.wrapping_sub(count << 4) as u32);
        let pairs = (digits_right >> 16 & 0xffff_0000_ffff) * 10_000 + (digits_right & 0xffff_0000_ffff);
        let value = (pairs >> 32) * 100_000_000 + (pairs & 0xffff_ffff);
        let zeros = i32::from(weight) - count as i32 + 1 + self.fraction;
        let grown = u128::from(value) * u128::from(*GROUPS.get(zeros as u32 as usize)?);
        let (twos, inverse, largest) = self.divisor;
        let grown_low = grown as u64;
        let quotient = (grown_low >> twos).wrapping_mul(inverse);
        let plain = (count.wrapping_sub(1) < 4)
            & (length as u64 == 8 + 2 * count)
            & (sign & !u64::from(NEGATIVE) == 0)
            & (dscale <= u64::from(MAX_DSCALE))
            // Neither the first nor the last digit is zero, and none is above 9999.
            & (digits >> 48 != 0)
            & (digits_right & 0xffff != 0)
            & ((digits_right | ((digits_right & !HIGH) + ABOVE)) & HIGH == 0)
            & (grown >> 64 == 0)
            & (grown_low & ((1 << twos) - 1) == 0)
            & (quotient <= largest)
            & (quotient < self.bound);
        // -1 for a negative value, or 0.
        let minus = -((sign >> 14) as i64 & 1);
        plain.then_some(((quotient as i64 ^ minus) - minus, dscale as u16))
    }
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

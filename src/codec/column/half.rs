//! IEEE half precision ⇄ single precision, bit for bit: every half is a single, and its NaN payload is kept.
//!
//! Written here and not taken from a crate because conversion instructions quieten signalling NaNs.

/// The single with the same value; a NaN keeps its payload in the upper bits.
pub(crate) fn widen(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10) & 0x1f;
    let fraction = u32::from(half & 0x3ff);
    let bits = match (exponent, fraction) {
        (0, 0) => 0,
        (0, _) => {
            // A subnormal half is a normal single: shift its leading one out.
            let shift = fraction.leading_zeros() - 21;
            ((113 - shift) << 23) | ((fraction << (shift + 13)) & 0x7f_ffff)
        }
        (0x1f, _) => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | bits)
}

/// The half with exactly this value, if there is one.
pub(crate) fn narrow(single: f32) -> Option<u16> {
    let bits = single.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let exponent = (bits >> 23) & 0xff;
    let fraction = bits & 0x7f_ffff;
    let half = match exponent {
        0 => 0,
        0xff => 0x7c00 | (fraction >> 13) as u16,
        113..=142 => (((exponent - 112) << 10) | (fraction >> 13)) as u16,
        103..=112 => ((fraction | 0x80_0000) >> (126 - exponent)) as u16,
        _ => return None,
    };
    let half = sign | half;
    (widen(half).to_bits() == bits).then_some(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_a_single_and_comes_back() {
        for half in 0..=u16::MAX {
            assert_eq!(narrow(widen(half)), Some(half), "{half:04x}");
        }
        assert_eq!(widen(0x3c00), 1.0);
        assert_eq!(widen(0x0001), 5.960_464_5e-8);
        assert_eq!(narrow(0.1), None);
    }
}

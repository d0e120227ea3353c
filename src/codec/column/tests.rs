//! The law of columns, on samples, on random bytes and on samples with flipped bits.

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use proptest::prelude::*;

use super::samples::{all, array};
use super::*;
use crate::manifest::Mapping;

/// What became of a value that was pushed, canonical or not, between two NULLs.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Fate {
    Malformed,
    Exception,
    Kept,
}

/// Holds the law for one value.
fn fate(mapping: &Mapping, wire: &[u8]) -> Fate {
    let mut canonical = wire.to_vec();
    if canonicalise(mapping, &mut canonical).is_err() {
        return Fate::Malformed;
    }
    assert_eq!(canonical.len(), wire.len());
    let raw = fate_of(mapping, wire, &canonical);
    assert_eq!(fate_of(mapping, &canonical, &canonical), raw, "{mapping:?}: canonical or not");
    raw
}

fn fate_of(mapping: &Mapping, wire: &[u8], canonical: &[u8]) -> Fate {
    let mut builder = ColumnBuilder::new(mapping);
    builder.push(None).unwrap();
    let Ok(pushed) = builder.push(Some(wire)) else {
        assert!(
            fits(mapping, wire).is_err() || *mapping == Mapping::Binary,
            "{mapping:?}: push failed, fits did not"
        );
        return Fate::Malformed;
    };
    builder.push(None).unwrap();
    assert_eq!(builder.len(), 3);
    let array = builder.finish().unwrap();
    assert_eq!(array.data_type(), &arrow_type(mapping));
    assert!(builder.is_empty());
    let encoder = ColumnEncoder::bind(mapping, &*array).unwrap();
    let display_scale = match pushed {
        Pushed::DisplayScale(dscale) => Some(dscale),
        _ => None,
    };
    let mut out = Vec::new();
    for row in 0..3 {
        encoder.put(row, display_scale, &mut out).unwrap();
    }
    let null = [0xff; 4];
    if pushed == Pushed::Exception {
        assert!(!fits(mapping, wire).unwrap(), "{mapping:?}");
        assert_eq!(out, null.repeat(3));
        return Fate::Exception;
    }
    assert_eq!(fits(mapping, wire).unwrap(), pushed == Pushed::Natural, "{mapping:?}");
    let expected = [&null[..], &(canonical.len() as u32).to_be_bytes(), canonical, &null].concat();
    assert_eq!(out, expected, "{mapping:?}");
    Fate::Kept
}

#[test]
fn every_sample_comes_back_or_is_an_exception_or_an_error() {
    for (mapping, values) in all() {
        let fates: Vec<Fate> = values.iter().map(|wire| fate(&mapping, wire)).collect();
        assert!(fates.contains(&Fate::Kept), "{mapping:?} keeps nothing: {fates:?}");
    }
}

#[test]
fn many_values_in_one_array_do_not_disturb_each_other() {
    for (mapping, values) in all() {
        let mut builder = ColumnBuilder::new(&mapping);
        let mut expected = Vec::new();
        let mut scales = Vec::new();
        for wire in values.iter().cycle().take(3 * values.len()) {
            let mut wire = wire.clone();
            let valid = canonicalise(&mapping, &mut wire).is_ok() && fits(&mapping, &wire).is_ok();
            if !valid {
                continue;
            }
            let pushed = builder.push(Some(&wire)).unwrap();
            scales.push(match pushed {
                Pushed::DisplayScale(dscale) => Some(dscale),
                _ => None,
            });
            expected.push((pushed != Pushed::Exception).then_some(wire));
        }
        let array = builder.finish().unwrap();
        let encoder = ColumnEncoder::bind(&mapping, &*array).unwrap();
        for (row, wire) in expected.iter().enumerate() {
            let mut out = Vec::new();
            encoder.put(row, scales[row], &mut out).unwrap();
            match wire {
                Some(wire) => assert_eq!(&out[4..], wire, "{mapping:?} row {row}"),
                None => assert_eq!(out, [0xff; 4]),
            }
        }
    }
}

#[test]
fn texts_are_what_postgres_prints() {
    let printed = |mapping: Mapping, wire: &[u8]| {
        let mut text = Vec::new();
        printed::Form::of(&mapping).unwrap().print(wire, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    assert_eq!(printed(Mapping::NumericText, &[0, 2, 0, 0, 0x40, 0, 0, 3, 0, 12, 0x11, 0x94]), "-12.450");
    assert_eq!(printed(Mapping::NumericText, &[0, 1, 0xff, 0xff, 0, 0, 0, 4, 0, 1]), "0.0001");
    assert_eq!(printed(Mapping::NumericText, &[0, 1, 0, 1, 0, 0, 0, 0, 0, 7]), "70000");
    assert_eq!(printed(Mapping::Tid, &[0, 0, 0, 9, 0, 3]), "(9,3)");
    assert_eq!(printed(Mapping::BitString, &[0, 0, 0, 5, 0b1010_1000]), "10101");
    assert_eq!(printed(Mapping::Inet { cidr: false }, &[2, 24, 0, 4, 10, 0, 0, 1]), "10.0.0.1/24");
    assert_eq!(printed(Mapping::Inet { cidr: false }, &[2, 32, 0, 4, 10, 0, 0, 1]), "10.0.0.1");
    assert_eq!(printed(Mapping::Char, &[0x80]), "\\200");
    assert_eq!(printed(Mapping::Char, &[0]), "");
    let noon = [&43_200_500_000i64.to_be_bytes()[..], &(-19_800i32).to_be_bytes()].concat();
    assert_eq!(printed(Mapping::TimeTz, &noon), "12:00:00.5+05:30");
}

#[test]
fn stale_null_flags_and_user_oids_are_overwritten() {
    let mapping =
        Mapping::List { dimensions: 1, lower_bound: 1, element_oid: 0, element: Box::new(Mapping::Utf8) };
    let mut wire = array(16_500, &[(1, 1)], &[Some(b"x")]);
    wire[7] = 1;
    canonicalise(&mapping, &mut wire).unwrap();
    assert_eq!(wire, array(0, &[(1, 1)], &[Some(b"x")]));
    let mut kept = array(9_999, &[(1, 1)], &[None]);
    canonicalise(&mapping, &mut kept).unwrap();
    assert_eq!(kept, array(9_999, &[(1, 1)], &[None]));
}

#[test]
fn a_value_that_overflows_its_decimal_is_an_exception() {
    let mapping = Mapping::Decimal { precision: 5, scale: 2, display_scale: 2 };
    let of = |integer: u16| {
        [0u16, 1, 0, 0, 2, integer].iter().skip(1).flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>()
    };
    assert_eq!(fate(&mapping, &of(999)), Fate::Kept);
    assert_eq!(fate(&mapping, &of(1000)), Fate::Exception);
}

/// Short texts are looked at together with what stands behind them, longer ones in another way: each must be what it is alone.
#[test]
fn a_text_is_utf8_or_an_exception_whatever_its_length_and_what_follows() {
    let mapping = Mapping::Utf8;
    for length in 0..300 {
        let ascii = vec![b'a'; length];
        let spoilt = |at: usize, with: &[u8]| {
            let mut text = ascii.clone();
            text.splice(at..at + with.len(), with.iter().copied());
            text
        };
        let places = || (0..length).filter(|at| length < 40 || at % 7 == 0 || at + 3 > length);
        let wrong = places().map(|at| spoilt(at, b"\x80"));
        let right = places().filter(|at| at + 2 <= length).map(|at| spoilt(at, "é".as_bytes()));
        for text in wrong.chain(right).chain([ascii.clone()]) {
            for behind in [&b""[..], &[0xff; 20], b"plain text behind it"] {
                let mut builder = ColumnBuilder::new(&mapping);
                let pushed = builder.push_first(&[&text[..], behind].concat(), length).unwrap();
                let valid = std::str::from_utf8(&text);
                assert_eq!(pushed == Pushed::Natural, valid.is_ok(), "{length} bytes");
                let array = builder.finish().unwrap();
                let found = array.as_string::<i32>();
                assert_eq!(found.is_valid(0).then(|| found.value(0)), valid.ok(), "{length} bytes");
            }
        }
    }
}

fn any_sample() -> impl Strategy<Value = (Mapping, Vec<u8>)> {
    let samples: Vec<(Mapping, Vec<u8>)> = all()
        .into_iter()
        .flat_map(|(mapping, values)| values.into_iter().map(move |value| (mapping.clone(), value)))
        .collect();
    proptest::sample::select(samples)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic_and_keep_the_law(
        (mapping, _) in any_sample(),
        wire in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        fate(&mapping, &wire);
    }

    #[test]
    fn flipped_and_truncated_samples_keep_the_law(
        (mapping, mut wire) in any_sample(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0..8u8), 0..3),
        cut in any::<proptest::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        for (at, bit) in flips {
            if !wire.is_empty() {
                let at = at.index(wire.len());
                wire[at] ^= 1 << bit;
            }
        }
        if truncate {
            wire.truncate(cut.index(wire.len() + 1));
        }
        fate(&mapping, &wire);
    }

    #[test]
    fn the_short_way_of_decimals_is_the_long_one(
        words in proptest::collection::vec(
            prop_oneof![Just(0u16), Just(9999), Just(10_000), 0..10_000u16, any::<u16>(), (1..10u16).prop_map(|d| d * 1000)],
            0..7,
        ),
        weight in -6..8i16,
        sign in prop_oneof![4 => Just(0u16), 4 => Just(0x4000), 1 => any::<u16>()],
        dscale in prop_oneof![0..20u16, any::<u16>()],
        precision in 1..=18u8,
        scale in 0..=18u8,
        cut in 0..3usize,
    ) {
        let head = [words.len() as u16, weight as u16, sign, dscale];
        let mut wire: Vec<u8> = head.iter().chain(&words).flat_map(|word| word.to_be_bytes()).collect();
        wire.truncate(wire.len() - cut.saturating_sub(1));
        let long = numeric::to_scaled(&wire, precision, scale).ok();
        let short = numeric::to_scaled_64(&wire, precision, scale).ok();
        prop_assert_eq!(short.map(|found| found.map(|(value, dscale)| (i128::from(value), dscale))), long);
    }

    #[test]
    fn decimals_of_any_size_come_back(
        value in any::<i128>(),
        shift in 0..127u32,
        scale in 0..=38u8,
        dscale in 0..100u16,
    ) {
        let value = value >> shift;
        prop_assume!(value.unsigned_abs() < numeric::POW10[38]);
        let mut wire = Vec::new();
        numeric::put_scaled(value, scale, dscale, &mut wire);
        prop_assert_eq!(numeric::to_scaled(&wire, 38, scale).unwrap(), Some((value, dscale)));
        let mapping = Mapping::Decimal { precision: 38, scale, display_scale: dscale };
        prop_assert_eq!(fate(&mapping, &wire), Fate::Kept);
    }
}

//! The law of columns, on samples, on random bytes and on samples with flipped bits.

use std::ops::Range;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef};
use proptest::prelude::*;

use super::samples::{all, array};
use super::*;
use crate::codec::CodecError;
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

/// What a strip of two rows with two columns says, after its fields have been taken.
fn ends(first: &[u8], second: &[u8]) -> Result<(), CodecError> {
    let mut block = [first, second].concat();
    let tuples = [0..first.len(), first.len()..block.len()];
    let mut strip = Strip::new(&mut block, &tuples, 2)?;
    for mapping in [Mapping::Utf8, Mapping::Binary] {
        ColumnBuilder::new(&mapping).push_strip(&mut strip, true, |_, _, _| {})?;
    }
    strip.end()
}

#[test]
fn fields_that_are_not_their_tuple_s_are_refused() {
    let right = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
    assert!(ends(right, right).is_ok());
    let wrong: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\0\x01\0\0\0\x01a",
        b"\0\x02\0\0\0\x01a",
        b"\0\x02\0\0\0\x01a\xff\xff\xff",
        b"\0\x02\0\0\0\x01a\xff\xff\xff\xfe",
        b"\0\x02\0\0\0\x01a\0\0\0\x01",
        b"\0\x02\0\0\0\x01a\xff\xff\xff\xff\0",
    ];
    for wrong in wrong {
        assert!(ends(wrong, right).is_err(), "{wrong:?} first");
        assert!(ends(right, wrong).is_err(), "{wrong:?} last");
    }
    let (mut block, tuples) = (right.to_vec(), vec![0..right.len(); STRIP + 1]);
    assert!(Strip::new(&mut block, &tuples, 2).is_err());
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

type Told = Vec<(usize, Pushed, Vec<u8>)>;

/// Strips of so many rows each, in a circle.
fn strips(rows: usize, sizes: &[usize]) -> Vec<Range<usize>> {
    let (mut begin, mut sizes) = (0, sizes.iter().cycle());
    let next = || {
        let strip = begin..rows.min(begin + sizes.next().unwrap());
        begin = strip.end;
        (!strip.is_empty()).then_some(strip)
    };
    std::iter::from_fn(next).collect()
}

/// Where it is quiet, a strip need not tell of natural values before the first other one.
fn worth_telling(told: Told, quiet: bool) -> Told {
    told.into_iter().skip_while(|(_, pushed, _)| quiet && *pushed == Pushed::Natural).collect()
}

/// One column's values, one by one; what became of those of each strip, and the array of all.
fn one_by_one(
    mapping: &Mapping,
    values: &[Option<Vec<u8>>],
    quiet: bool,
    strips: &[Range<usize>],
) -> Result<(Vec<Told>, ArrayRef), CodecError> {
    let (mut builder, mut all) = (ColumnBuilder::new(mapping), Vec::new());
    for strip in strips {
        let mut told = Vec::new();
        for (row, value) in values[strip.clone()].iter().enumerate() {
            let pushed = builder.push(value.as_deref())?;
            if let Some(value) = value {
                let natural = pushed == Pushed::Natural;
                told.push((row, pushed, if natural { Vec::new() } else { value.clone() }));
            }
        }
        all.push(worth_telling(told, quiet));
    }
    Ok((all, builder.finish()?))
}

/// The same by strips, with something between the rows and `behind` the last one.
fn by_strips(
    mapping: &Mapping,
    values: &[Option<Vec<u8>>],
    quiet: bool,
    strips: &[Range<usize>],
    behind: &[u8],
) -> Result<(Vec<Told>, ArrayRef), CodecError> {
    let (mut builder, mut all) = (ColumnBuilder::new(mapping), Vec::new());
    for strip in strips {
        let (mut block, mut tuples, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for value in &values[strip.clone()] {
            let start = block.len() + 1;
            block.extend_from_slice(b"d\0\x01");
            match value {
                Some(value) => {
                    block.extend_from_slice(&(value.len() as u32).to_be_bytes());
                    block.extend_from_slice(value);
                }
                None => block.extend_from_slice(&[0xff; 4]),
            }
            tuples.push(start..block.len());
        }
        block.extend_from_slice(behind);
        let mut strip = Strip::new(&mut block, &tuples, 1)?;
        builder.push_strip(&mut strip, quiet, |row, pushed, wire| {
            let natural = pushed == Pushed::Natural;
            told.push((row, pushed, if natural { Vec::new() } else { wire.to_vec() }));
        })?;
        strip.end()?;
        all.push(worth_telling(told, quiet));
    }
    Ok((all, builder.finish()?))
}

fn rows_of(mapping: &Mapping) -> impl Strategy<Value = Vec<Option<Vec<u8>>>> + use<> {
    let (_, samples) = all().into_iter().find(|(other, _)| other == mapping).unwrap();
    let right: Vec<_> = samples.iter().filter(|wire| fits(mapping, wire).is_ok()).cloned().collect();
    let wrong = samples.iter().filter(|wire| fits(mapping, wire).is_err()).cloned();
    let wrong: Vec<_> = wrong.chain([vec![7; 3]]).collect();
    let value = prop_oneof![
        200 => proptest::sample::select(right).prop_map(Some),
        20 => Just(None),
        1 => proptest::sample::select(wrong).prop_map(Some),
    ];
    proptest::collection::vec(value, 1..150)
}

/// Numerics as prices are, and some of another scale, zeros, too large ones and NULLs.
fn decimals() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let wire = |(value, dscale)| {
        let mut wire = Vec::new();
        numeric::put_scaled(value, 4, dscale, &mut wire);
        Some(wire)
    };
    let value = prop_oneof![
        300 => (-9_999_999_999..9_999_999_999i128, Just(4)).prop_map(wire),
        3 => (0..99i128, 4..7u16).prop_map(wire),
        2 => Just(Some(vec![0; 8])),
        2 => (10_000_000_000..i128::from(i64::MAX), Just(4)).prop_map(wire),
        2 => Just(None),
    ];
    proptest::collection::vec(value, 1..300)
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

    /// An array's values by strips are what they are one by one, and so is what is told of them, and whether there is an error.
    #[test]
    fn strips_of_any_rows_are_their_values_one_by_one(
        (mapping, values) in any_sample().prop_flat_map(|(mapping, _)| (Just(mapping.clone()), rows_of(&mapping))),
        quiet: bool,
        sizes in proptest::collection::vec(1..=STRIP, 1..4),
        behind in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let strips = strips(values.len(), &sizes);
        let expected = one_by_one(&mapping, &values, quiet, &strips).ok();
        prop_assert_eq!(by_strips(&mapping, &values, quiet, &strips, &behind).ok(), expected);
    }

    #[test]
    fn strips_of_decimals_are_their_values_one_by_one(
        values in decimals(),
        quiet: bool,
        sizes in proptest::collection::vec(1..=STRIP, 1..4),
    ) {
        let mapping = Mapping::Decimal { precision: 10, scale: 4, display_scale: 4 };
        let strips = strips(values.len(), &sizes);
        let expected = one_by_one(&mapping, &values, quiet, &strips).unwrap();
        prop_assert_eq!(by_strips(&mapping, &values, quiet, &strips, b"").unwrap(), expected);
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

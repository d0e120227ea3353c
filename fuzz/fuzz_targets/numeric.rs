//! Numerics: the short ways into DECIMAL columns and texts against slow arithmetic, and back to the bytes that came.
#![no_main]

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal64Type, Decimal128Type};
use arrow_array::{Array as _, StringArray};
use barkeep::codec::column::{ColumnEncoder, Pushed};
use barkeep::manifest::Mapping;
use barkeep_fuzz::numbers::{self, Wire};
use barkeep_fuzz::{Dials, law, seed};
use libfuzzer_sys::fuzz_target;

/// A spelling that is nearly always a number: what mutations of bytes seldom hit.
fn spelled(dials: &mut Dials<'_>) -> Vec<u8> {
    let weight = i16::from(dials.byte() as i8) / 8;
    let sign = if dials.byte() & 1 == 1 { 0x4000 } else { 0 };
    let dscale = u16::from(dials.byte() % 64);
    let digit = |pair: &[u8]| match pair {
        [200..=255, small, ..] => u16::from(small % 10) * 1000,
        [high, low, ..] => u16::from_be_bytes([*high, *low]) % 10_001,
        _ => 1,
    };
    let digits: Vec<u16> = dials.0.chunks(2).map(digit).collect();
    let head = [digits.len() as u16, weight as u16, sign, dscale];
    head.iter().chain(&digits).flat_map(|word| word.to_be_bytes()).collect()
}

fn as_decimal(wire: &[u8], precision: u8, scale: u8, display_scale: u16) {
    let mapping = Mapping::Decimal { precision, scale, display_scale };
    let kept = law::hold(&mapping, wire);
    let number = match (numbers::read(wire), &kept) {
        (Wire::Malformed, None) => return,
        (Wire::Odd, Some(kept)) => {
            assert_eq!(kept.pushed, Pushed::Exception, "{mapping:?}: an odd one is an exception");
            return;
        }
        (Wire::Number(number), Some(_)) => number,
        (read, _) => panic!("{mapping:?}: {read:?}, {kept:?}"),
    };
    let kept = kept.expect("it was kept");
    let stored = (!kept.array.is_null(1)).then(|| match precision {
        ..=18 => i128::from(kept.array.as_primitive::<Decimal64Type>().value(1)),
        _ => kept.array.as_primitive::<Decimal128Type>().value(1),
    });
    assert_eq!(stored, number.scaled(precision, scale), "{mapping:?}: {number:?}");
    let expected = match stored {
        None => Pushed::Exception,
        Some(_) if number.dscale == display_scale => Pushed::Natural,
        Some(_) => Pushed::DisplayScale(number.dscale),
    };
    assert_eq!(kept.pushed, expected, "{mapping:?}: {number:?}");
}

fn as_text(wire: &[u8]) {
    let kept = law::hold(&Mapping::NumericText, wire);
    let Wire::Number(number) = numbers::read(wire) else { return };
    let kept = kept.expect("a number is a numeric");
    if number.is_shown() {
        assert_eq!(kept.pushed, Pushed::Natural, "{number:?}");
        assert_eq!(kept.array.as_string::<i32>().value(1), number.text(), "{number:?}");
    }
}

/// A file's text, which anybody may have written: what is read of it is what is written for it.
fn from_text(text: &str) {
    let array = StringArray::from(vec![text]);
    let encoder = ColumnEncoder::bind(&Mapping::NumericText, &array).expect("texts");
    let mut out = Vec::new();
    if encoder.put(0, None, &mut out).is_ok() {
        let kept = law::hold(&Mapping::NumericText, &out[4..]).expect("a numeric");
        assert_eq!(kept.pushed, Pushed::Natural, "{text}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let numerics =
        barkeep::codec::samples().into_iter().find(|(mapping, _)| *mapping == Mapping::NumericText);
    let raw =
        numerics.into_iter().flat_map(|(_, values)| values).map(|wire| [&[0, 17, 6, 6][..], &wire].concat());
    let spelled = [
        &[1, 17, 2, 2, 0, 0, 2, 0, 123, 17, 148][..],
        &[1, 37, 9, 9, 40, 1, 9, 0, 1, 0, 2, 0, 3, 0, 4, 201, 5],
    ];
    let texts = ["123.4500", "-0.00000001", "NaN", "99999999999999999999999999999999999999", "007.", "-0"];
    let texts = texts.map(|text| [&[2, 0, 0, 0][..], text.as_bytes()].concat());
    raw.chain(spelled.map(<[u8]>::to_vec)).chain(texts).collect()
}

fuzz_target!(init: seed("numeric", seeds()), |input: &[u8]| {
    let mut dials = Dials(input);
    let mode = dials.byte() % 3;
    let precision = dials.byte() % 38 + 1;
    let scale = dials.byte() % (precision + 1);
    let display_scale = u16::from(dials.byte());
    if mode == 2 {
        if let Ok(text) = std::str::from_utf8(dials.0) {
            from_text(text);
        }
        return;
    }
    let wire = if mode == 1 { spelled(&mut dials) } else { dials.0.to_vec() };
    as_decimal(&wire, precision, scale, display_scale);
    as_text(&wire);
});

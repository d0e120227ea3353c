//! The law of columns: what is encoded is what was decoded, byte for byte, or the value is an exception.

use arrow_array::ArrayRef;
use barkeep::codec::column::{ColumnBuilder, ColumnEncoder, Pushed, Strip, arrow_type, canonicalise, fits};
use barkeep::manifest::Mapping;

/// What became of one value.
#[derive(Debug)]
pub struct Kept {
    pub pushed: Pushed,
    /// Between two NULLs.
    pub array: ArrayRef,
}

/// Holds the law for one value; `None` for bytes that are none.
pub fn hold(mapping: &Mapping, wire: &[u8]) -> Option<Kept> {
    let mut canonical = wire.to_vec();
    canonicalise(mapping, &mut canonical).ok()?;
    assert_eq!(canonical.len(), wire.len());
    let mut again = canonical.clone();
    canonicalise(mapping, &mut again).expect("what is canonical can be made so");
    assert_eq!(again, canonical, "{mapping:?}: what is canonical stays as it is");

    let mut builder = ColumnBuilder::new(mapping);
    builder.push(None).expect("a NULL");
    let Ok(pushed) = builder.push(Some(wire)) else {
        // Any bytes fit a bytea; it is refused only where it is too long for an array.
        assert!(fits(mapping, wire).is_err(), "{mapping:?}: it fits, and cannot be pushed");
        return None;
    };
    builder.push(None).expect("a NULL");
    let array = builder.finish().expect("an array");
    among_others(mapping, wire, (pushed, &array));
    assert_eq!(array.data_type(), &arrow_type(mapping));
    let encoder = ColumnEncoder::bind(mapping, &*array).expect("an array of this mapping");
    let display_scale = match pushed {
        Pushed::DisplayScale(scale) => Some(scale),
        _ => None,
    };
    let mut out = Vec::new();
    for row in 0..3 {
        encoder.put(row, display_scale, &mut out).expect("what was built can be encoded");
    }
    let null = [0xff; 4];
    let expected = match pushed {
        Pushed::Exception => null.repeat(3),
        _ => [&null[..], &(canonical.len() as u32).to_be_bytes(), &canonical, &null].concat(),
    };
    assert_eq!(out, expected, "{mapping:?}: {pushed:?}");
    assert_eq!(fits(mapping, wire).expect("it was pushed"), pushed == Pushed::Natural, "{mapping:?}");
    Some(Kept { pushed, array })
}

/// What stands behind a value in its row does not change it.
fn among_others(mapping: &Mapping, wire: &[u8], (pushed, array): (Pushed, &ArrayRef)) {
    for behind in [0, 0xff] {
        let row = [wire, &[behind; 32]].concat();
        let mut builder = ColumnBuilder::new(mapping);
        builder.push(None).expect("a NULL");
        assert_eq!(builder.push_first(&row, wire.len()).expect("it was pushed alone"), pushed, "{mapping:?}");
        builder.push(None).expect("a NULL");
        assert_eq!(&builder.finish().expect("an array"), array, "{mapping:?}");
    }
    in_a_strip(mapping, wire, (pushed, array));
}

/// In a strip it is what it is alone, whether or not rows stand behind it.
fn in_a_strip(mapping: &Mapping, wire: &[u8], (pushed, array): (Pushed, &ArrayRef)) {
    let null = b"\0\x01\xff\xff\xff\xff";
    let row = [&b"\0\x01"[..], &(wire.len() as u32).to_be_bytes(), wire].concat();
    let mut block = [&null[..], null, &row].concat();
    let (nulls, end) = (2 * null.len(), block.len());
    for tuples in [[0..6, nulls..end, 6..12], [6..12, nulls..end, 0..6]] {
        let mut strip = Strip::new(&mut block, &tuples, 1).expect("three rows");
        let (mut builder, mut told) = (ColumnBuilder::new(mapping), Vec::new());
        let taken = builder.push_strip(&mut strip, false, |row, pushed, _| told.push((row, pushed)));
        taken.expect("it was pushed alone");
        strip.end().expect("one field each");
        assert_eq!(told, [(1, pushed)], "{mapping:?}");
        assert_eq!(&builder.finish().expect("an array"), array, "{mapping:?}");
        block.extend_from_slice(null);
        block.extend_from_slice(null);
    }
}

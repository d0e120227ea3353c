//! The COPY decoder: a stream cut anywhere gives the tuples and the fault that a slow reader of the whole finds.
#![no_main]

use barkeep::codec::CodecError;
use barkeep::codec::copy::{HEADER, MAX_TUPLE, TRAILER, TupleStream};
use barkeep_fuzz::tuples::{self, Fault};
use barkeep_fuzz::{Dials, cut, seed};
use libfuzzer_sys::fuzz_target;

type Found = (Vec<Vec<u8>>, Option<Fault>);

fn fault(error: CodecError) -> Fault {
    match error {
        CodecError::Malformed { offset: 0, .. } => Fault::Signature,
        CodecError::Malformed { what: "unknown critical flags in the header", .. } => Fault::Flags,
        CodecError::Malformed { what: "the length of the header extension", .. } => Fault::Extension,
        CodecError::Malformed { what: "a negative length", offset } => Fault::Length { offset },
        CodecError::FieldCount { found, .. } => Fault::Fields(found as i16),
        CodecError::TooLarge { bytes, .. } => Fault::TooLarge { bytes },
        CodecError::Stream("goes on after its trailer") => Fault::AfterTrailer,
        CodecError::Stream("ended before its trailer") => Fault::Ended,
        other => panic!("a fault of another kind: {other:?}"),
    }
}

fn decoded(blocks: &[&[u8]], columns: usize, bound: usize, whole: bool) -> Found {
    let mut stream = TupleStream::with_bound(columns, bound);
    let mut tuples = Vec::new();
    for block in blocks {
        let mut row = |tuple: &mut [u8]| {
            tuples.push(tuple.to_vec());
            // A row is the caller's to change: what it does to one must not reach the next.
            tuple.fill(0xa5);
            Ok(())
        };
        let fed = match whole {
            true => stream.feed_whole(block.to_vec(), &mut row).map(drop),
            false => stream.feed(block, &mut row),
        };
        if let Err(error) = fed {
            assert_eq!(stream.tuples(), tuples.len() as u64);
            return (tuples, Some(fault(error)));
        }
    }
    let finished = stream.finish();
    if let Ok(count) = finished {
        assert_eq!(count, tuples.len() as u64);
    }
    (tuples, finished.err().map(fault))
}

fn seeds() -> Vec<Vec<u8>> {
    let tuple = b"\0\x02\0\0\0\x03abc\xff\xff\xff\xff";
    let rows = tuple.repeat(9);
    let whole = [&HEADER[..], &rows, &TRAILER].concat();
    let small = [&HEADER[..], b"\0\0\0\0", &TRAILER].concat();
    let with = |dials: &[u8], stream: &[u8]| [dials, stream].concat();
    vec![
        with(&[0, 2, 9, 2, 3, 0, 7], &whole),
        with(&[1, 2, 9, 0, 20], &[&rows[..], &TRAILER].concat()),
        with(&[0, 0, 9, 0, 0], &small),
        with(&[1, 2, 1, 0, 4], &rows),
        with(&[1, 2, 9, 1, 0, 30], &[&rows[..], &TRAILER, b"x"].concat()),
    ]
}

fuzz_target!(init: seed("copy", seeds()), |input: &[u8]| {
    let mut dials = Dials(input);
    let header = dials.byte() & 1 == 1;
    let columns = usize::from(dials.byte() % 8);
    let bound = match dials.byte() {
        small @ ..200 => usize::from(small),
        _ => MAX_TUPLE,
    };
    let sizes = dials.sizes();
    let head = if header { &HEADER[..] } else { &[] };
    let stream = [head, dials.0].concat();

    let expected = tuples::read(&stream, columns, bound);
    let blocks = cut(&stream, &sizes);
    assert_eq!(decoded(&[&stream], columns, bound, false), expected, "in one block");
    assert_eq!(decoded(&blocks, columns, bound, false), expected, "cut");
    assert_eq!(decoded(&blocks, columns, bound, true), expected, "cut, the blocks its own");
});

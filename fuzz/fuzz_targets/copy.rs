//! The COPY decoder: messages in whatever blocks they come give the tuples and the fault that a slow reader of the whole finds.
//!
//! An input is a list of messages in short, so that most are whole; or bytes as they are.
#![no_main]

use barkeep::codec::CodecError;
use barkeep::codec::copy::{HEADER, TRAILER, TupleStream};
use barkeep_fuzz::messages::messages;
use barkeep_fuzz::tuples::{self, Fault};
use barkeep_fuzz::{Dials, seed};
use libfuzzer_sys::fuzz_target;

type Found = (Vec<Vec<u8>>, Option<Fault>);

fn fault(error: CodecError) -> Fault {
    match error {
        CodecError::Malformed { what: "a message of a COPY" | "the header of a message", .. } => {
            Fault::Message
        }
        CodecError::Malformed { what: "the signature of COPY BINARY", .. } => Fault::Signature,
        CodecError::Malformed { what: "the header of COPY BINARY", .. } => Fault::Header,
        CodecError::Malformed { what: "unknown critical flags in the header", .. } => Fault::Flags,
        CodecError::Malformed { what: "the length of the header extension", .. } => Fault::Extension,
        CodecError::Malformed { what: "a message without a tuple", .. } => Fault::NoTuple,
        CodecError::FieldCount { found, .. } => Fault::Fields(found as i16),
        CodecError::Stream("goes on after its trailer") => Fault::AfterTrailer,
        CodecError::Stream("ended before its trailer") => Fault::Ended,
        other => panic!("a fault of another kind: {other:?}"),
    }
}

fn decoded(blocks: Vec<Vec<u8>>, columns: usize) -> Found {
    let mut stream = TupleStream::new(columns);
    let mut tuples = Vec::new();
    for block in blocks {
        let mut places = Vec::new();
        let fed = stream.frame(&block, &mut places);
        tuples.extend(places.into_iter().map(|place| block[place].to_vec()));
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

/// Messages: a dial for the kind and what the body begins with, a length, and the rest of the body.
fn spelled_out(input: &[u8], columns: u8) -> Vec<u8> {
    let mut dials = Dials(input);
    let mut bytes = Vec::new();
    while !dials.0.is_empty() {
        let (how, length) = (dials.byte(), usize::from(dials.byte()));
        let begins: &[u8] = match how % 8 {
            0..4 => &[0, columns],
            4 => &TRAILER,
            _ => &[],
        };
        let header = if bytes.is_empty() && how < 240 { &HEADER[..] } else { &[] };
        let body = [header, begins, dials.take(length)].concat();
        bytes.push(if how & 0xf8 == 0x78 { how } else { b'd' });
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(&body);
    }
    bytes
}

/// Blocks of so many messages each, in a circle; what is no message is in the last one.
fn blocks(stream: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let all = messages(stream);
    let (mut left, mut blocks) = (&all[..], Vec::new());
    let mut sizes = sizes.iter().cycle();
    while !left.is_empty() {
        let (block, rest) = left.split_at(sizes.next().map_or(1, |size| (*size).min(left.len())));
        blocks.push(block.iter().map(|message| message.bytes).collect::<Vec<_>>().concat());
        left = rest;
    }
    let rest = &stream[blocks.iter().map(Vec::len).sum()..];
    match blocks.last_mut() {
        Some(last) => last.extend_from_slice(rest),
        None => blocks.push(rest.to_vec()),
    }
    blocks
}

fn seeds() -> Vec<Vec<u8>> {
    let tuple = b"\x00\x0b\0\0\0\x03abc\xff\xff\xff\xff";
    let rows = tuple.repeat(9);
    let with = |dials: &[u8], stream: &[u8]| [dials, stream].concat();
    let raw = [&b"d\0\0\0\x19"[..], &HEADER, &TRAILER].concat();
    vec![
        with(&[0, 2, 1, 0, 3], &[&rows[..], b"\x04\x00"].concat()),
        with(&[0, 2, 0, 0], &[&rows[..], b"\x04\x01x"].concat()),
        with(&[0, 2, 0, 0], &[&rows[..], b"\x04\x00\x04\x00"].concat()),
        with(&[0, 0, 0, 0], b"\x04\x00"),
        with(&[0, 2, 0, 0], b"\xf0\x13PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"),
        with(&[1, 3, 0, 0], &raw),
    ]
}

fuzz_target!(init: seed("copy", seeds()), |input: &[u8]| {
    let mut dials = Dials(input);
    let raw = dials.byte() & 1 == 1;
    let columns = dials.byte() % 8;
    let sizes = dials.sizes();
    let stream = if raw { dials.0.to_vec() } else { spelled_out(dials.0, columns) };
    let columns = usize::from(columns);

    let expected = tuples::read(&stream, columns);
    assert_eq!(decoded(vec![stream.clone()], columns), expected, "in one block");
    assert_eq!(decoded(blocks(&stream, &sizes), columns), expected, "cut");
});

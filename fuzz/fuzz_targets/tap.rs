//! The tap: wherever a conversation is cut, the rows, what passes and how the COPY ended are what a slow sorter finds.
//!
//! An input is a list of messages in short, so that rows larger than a block cost few bytes; or bytes as they are.
#![no_main]

use barkeep::pg::fuzzing::{Conversation, Tapped, tapped};
use barkeep_fuzz::messages::{Message, Sorted, messages, sort};
use barkeep_fuzz::{Dials, cut, seed};
use libfuzzer_sys::fuzz_target;

/// More would only be slow: five blocks are more than may wait.
const LONGEST: usize = 2 << 20;

/// Memory of a block.
const SPARE: usize = 320 << 10;

/// About the most pieces that a conversation is cut into.
const PIECES: usize = 2000;

/// Messages: a kind, a length, and the first bytes of the body.
fn spelled_out(input: &[u8]) -> Vec<u8> {
    let mut dials = Dials(input);
    let mut bytes = Vec::new();
    while !dials.0.is_empty() && bytes.len() < LONGEST {
        let kind = match dials.byte() {
            known @ ..200 => *b"dddddddddcCEZH2T".get(usize::from(known % 16)).unwrap_or(&b'd'),
            other => other,
        };
        let length = match dials.byte() {
            small @ ..244 => usize::from(small),
            large => usize::from(large - 243) * (27 << 10),
        };
        let pattern = match kind {
            b'C' => dials.take(length),
            _ => dials.take(length.min(3)),
        };
        bytes.push(kind);
        bytes.extend_from_slice(&(length as u32 + 4).to_be_bytes());
        if kind == b'C' {
            bytes.extend_from_slice(pattern);
        } else {
            bytes.extend_from_slice(pattern);
            bytes.resize(bytes.len() + length - pattern.len(), 7);
        }
    }
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let copy = b"\x09\0\x00\x05first\x00\x00\x0a\x08COPY 12\0";
    let rows =
        [&b"\x0d\x03xyz"[..], &b"\x00\x05abc".repeat(9), b"\x00\xf5abc", b"\x00\xff\xff", copy].concat();
    let failed = [&b"\x00\x05abc".repeat(9), &b"\x0b\x04ABC"[..], copy].concat();
    let large = b"\x00\xfda".repeat(9);
    let raw = b"H\0\0\0\x04d\0\0\0\x09abcdeC\0\0\0\x0dCOPY 123\0c\0\0\0\x04Z\0\0\0\x05T";
    let with = |dials: &[u8], rest: &[u8]| [dials, rest].concat();
    vec![
        with(&[0, 255, 7, 99, 0, 3], &rows),
        with(&[0, 3, 200, 99, 1, 250, 9], &rows),
        with(&[0, 255, 200, 1, 1, 250, 9], &rows),
        with(&[0, 255, 9, 9, 0, 2], &rows),
        with(&[0, 255, 200, 99, 0, 255], &large),
        with(&[0, 9, 200, 99, 0, 100], &large),
        with(&[0, 255, 2, 99, 0, 40], &failed),
        with(&[1, 255, 8, 99, 0, 2], raw),
        with(&[3, 255, 8, 99, 0, 2], &[b"N", &raw[..]].concat()),
        with(&[3, 255, 8, 99, 0, 2], &[b"S", &raw[..]].concat()),
    ]
}

/// Blocks have whole rows in them, in order, and those that are handed on for certain; none needs more memory than is kept for it.
fn holds_in_blocks(blocks: &[Vec<u8>], expected: &Sorted) {
    let seen = blocks.concat();
    assert!(seen.starts_with(&expected.rows), "rows are missing");
    assert!([&expected.rows[..], &expected.more].concat().starts_with(&seen), "rows that did not come");
    for block in blocks {
        let rows = messages(block);
        assert_eq!(rows.iter().map(|row| row.bytes.len()).sum::<usize>(), block.len());
        assert!(rows.iter().all(|row| row.kind == b'd' && row.whole) && !rows.is_empty());
        assert!(rows.len() == 1 || block.len() <= SPARE);
    }
}

/// Rows were wanted for a while only: nothing else is missing or moved, and of the rows only some in the middle, which had
/// begun to be taken.
fn holds_after_leaving(bytes: &[u8], seen: &Tapped) {
    let (all, passed) = (messages(bytes), messages(&seen.passed));
    let of = |all: &[Message<'_>], rows: bool| {
        let chosen = all.iter().filter(|message| (message.kind == b'd') == rows);
        chosen.map(|message| message.bytes).collect::<Vec<_>>().concat()
    };
    assert_eq!(of(&passed, false), of(&all, false), "what is no row passes, in order");
    assert!(of(&all, true).ends_with(&of(&passed, true)), "rows that pass are the last ones");
    assert_eq!(seen.end, sort(bytes, usize::MAX).end);
}

fuzz_target!(init: seed("tap", seeds()), |input: &[u8]| {
    let mut dials = Dials(input);
    let mode = dials.byte();
    let leave_after = match dials.byte() {
        255 => usize::MAX,
        reads => usize::from(reads),
    };
    let appetite = usize::from(dials.byte()) + 1;
    let largest = match dials.byte() {
        small @ ..32 => 16 + 16 * usize::from(small),
        _ => 1 << 30,
    };
    let sizes = dials.sizes();
    let (raw, before_tls) = (mode & 1 == 1, mode & 2 == 2);
    let all = if raw { dials.0.to_vec() } else { spelled_out(dials.0) };
    // A megabyte byte by byte finds nothing that a kilobyte does not.
    let least = all.len() / PIECES;
    let sizes: Vec<usize> = sizes.iter().map(|size| size + least).collect();
    let appetite = appetite + least;
    let pieces = cut(&all, &sizes).into_iter().map(<[u8]>::to_vec).collect();
    let seen = tapped(Conversation { pieces, before_tls, leave_after, appetite, largest });
    assert!(!seen.stuck, "the tap waits for room that nobody holds");

    let (answer, spoken) = all.split_at(usize::from(before_tls && !all.is_empty()));
    if answer == b"S" {
        assert_eq!(seen, Tapped { passed: all, ..Tapped::default() }, "ciphertext");
        return;
    }
    assert!(seen.passed.starts_with(answer));
    let seen = Tapped { passed: seen.passed[answer.len()..].to_vec(), ..seen };
    if leave_after == usize::MAX {
        let expected = sort(spoken, largest);
        assert_eq!(seen.refused, expected.refused);
        holds_in_blocks(&seen.blocks, &expected);
        if expected.refused.is_none() {
            assert_eq!((seen.passed, seen.end), (expected.passed, expected.end));
            return;
        }
    }
    holds_after_leaving(spoken, &seen);
});

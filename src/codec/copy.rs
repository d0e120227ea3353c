//! [`TupleStream`]: the tuples of a COPY BINARY stream, as a server sends it: in messages, one tuple each.
//!
//! The protocol says so of a server's CopyData ("will always correspond to single data rows"), so a message's length is its
//! tuple's, and nobody has to follow the lengths of its fields to find where it ends. The stream's header comes in front of
//! the first tuple, in the same message, and so does its trailer where there is none. Only this frame is checked here: that
//! the fields fill their tuple is seen by whoever decodes them, once.

use std::ops::Range;

use super::CodecError;

/// The first 19 bytes of a COPY BINARY stream: signature, flags 0, no header extension.
pub const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The last two bytes of a COPY BINARY stream.
pub const TRAILER: [u8; 2] = [0xff, 0xff];

/// The largest tuple that is accepted by default. PostgreSQL itself can't send a message above 1 GiB.
pub const MAX_TUPLE: usize = 1 << 30;

/// Flag bits 16-31 are critical: a reader that does not know one must give up. Bit 16 announced OIDs until version 11.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// Bytes in front of a message's body: its kind and its length.
pub const MESSAGE: usize = 5;

/// The kind of a message with COPY data.
pub const DATA: u8 = b'd';

/// The kind of the message that begins here, and the length of its body; `None` before its header has come.
#[inline]
pub fn message(bytes: &[u8]) -> Option<(u8, usize)> {
    let (&[kind, length @ ..], _) = bytes.split_first_chunk::<MESSAGE>()?;
    // The length counts itself but not the kind.
    Some((kind, (u32::from_be_bytes(length) as usize).saturating_sub(4)))
}

/// A reader of one COPY BINARY stream.
pub struct TupleStream {
    columns: usize,
    state: State,
    tuples: u64,
    /// COPY data before the message that is read.
    position: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Tuples,
    Done,
}

impl TupleStream {
    /// A stream whose tuples have `columns` fields.
    pub fn new(columns: usize) -> Self {
        Self { columns, state: State::Header, tuples: 0, position: 0 }
    }

    /// Tuples handed out so far.
    pub fn tuples(&self) -> u64 {
        self.tuples
    }

    /// Takes whole messages, with their headers, and adds where the tuple of each stands in them: field count (i16), then per
    /// field its length (i32, -1 for NULL) and bytes. What is added before an error was whole.
    pub fn frame(&mut self, messages: &[u8], tuples: &mut Vec<Range<usize>>) -> Result<(), CodecError> {
        let mut at = 0;
        while let Some((kind, length)) = message(&messages[at..]) {
            at += MESSAGE;
            let Some(body) = messages[at..].get(..length).filter(|_| kind == DATA) else {
                return Err(self.malformed("a message of a COPY"));
            };
            let header = self.before_tuple(body)?;
            if self.is_tuple(&body[header..])? {
                tuples.push(at + header..at + length);
            }
            at += length;
            self.position += length as u64;
        }
        if at == messages.len() { Ok(()) } else { Err(self.malformed("the header of a message")) }
    }

    /// Ends the stream; gives the number of tuples.
    pub fn finish(self) -> Result<u64, CodecError> {
        match self.state {
            State::Done => Ok(self.tuples),
            _ => Err(CodecError::Stream("ended before its trailer")),
        }
    }

    /// Bytes of a message in front of its tuple.
    #[inline]
    fn before_tuple(&self, body: &[u8]) -> Result<usize, CodecError> {
        match self.state {
            State::Tuples => Ok(0),
            State::Header => self.header(body),
            State::Done => Err(CodecError::Stream("goes on after its trailer")),
        }
    }

    /// Whether it is a tuple; otherwise it is the trailer.
    #[inline]
    fn is_tuple(&mut self, tuple: &[u8]) -> Result<bool, CodecError> {
        self.state = State::Tuples;
        let Some(&count) = tuple.first_chunk() else {
            return Err(self.malformed("a message without a tuple"));
        };
        let count = i16::from_be_bytes(count);
        if usize::try_from(count) == Ok(self.columns) {
            self.tuples += 1;
            return Ok(true);
        }
        if tuple != TRAILER {
            return Err(CodecError::FieldCount { expected: self.columns, found: i32::from(count) });
        }
        self.state = State::Done;
        Ok(false)
    }

    /// Reads the stream's header; gives its length.
    fn header(&self, bytes: &[u8]) -> Result<usize, CodecError> {
        if !bytes.starts_with(&HEADER[..11]) {
            return Err(self.malformed("the signature of COPY BINARY"));
        }
        let (Some(flags), Some(extension)) = (be32(bytes, 11), be32(bytes, 15)) else {
            return Err(self.malformed("the header of COPY BINARY"));
        };
        if flags & CRITICAL_FLAGS != 0 {
            return Err(self.malformed("unknown critical flags in the header"));
        }
        let end = HEADER.len().checked_add(extension as usize).filter(|end| *end <= bytes.len());
        end.ok_or_else(|| self.malformed("the length of the header extension"))
    }

    fn malformed(&self, what: &'static str) -> CodecError {
        CodecError::Malformed { what, offset: self.position }
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(body: &[u8]) -> Vec<u8> {
        [&[DATA][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    fn messages(bodies: &[&[u8]]) -> Vec<Vec<u8>> {
        bodies.iter().map(|body| data(body)).collect()
    }

    fn read(blocks: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, CodecError> {
        let mut stream = TupleStream::new(2);
        let mut tuples = Vec::new();
        for block in blocks {
            let mut framed = Vec::new();
            stream.frame(block, &mut framed)?;
            tuples.extend(framed.into_iter().map(|tuple| block[tuple].to_vec()));
        }
        assert_eq!(stream.finish()?, tuples.len() as u64);
        Ok(tuples)
    }

    const TUPLES: [&[u8]; 2] = [b"\0\x02\0\0\0\x03abc\xff\xff\xff\xff", b"\0\x02\xff\xff\xff\xff\0\0\0\0"];

    fn stream() -> Vec<Vec<u8>> {
        messages(&[&[&HEADER[..], TUPLES[0]].concat(), TUPLES[1], &TRAILER])
    }

    #[test]
    fn tuples_come_out_whole_in_whatever_blocks_the_messages_come() {
        let all = stream();
        assert_eq!(read(&all).unwrap(), TUPLES);
        assert_eq!(read(&[all.concat()]).unwrap(), TUPLES);
        assert_eq!(read(&[all[0].clone(), all[1..].concat()]).unwrap(), TUPLES);
    }

    #[test]
    fn a_stream_without_tuples_is_one_message() {
        assert!(read(&messages(&[&[&HEADER[..], &TRAILER].concat()])).unwrap().is_empty());
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error() {
        let all = stream().concat();
        for length in 0..all.len() {
            assert!(read(&[all[..length].to_vec()]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn what_comes_after_the_trailer_is_an_error() {
        for after in [&b"\0"[..], TUPLES[0], &TRAILER] {
            let all = [stream(), messages(&[after])].concat();
            assert!(matches!(read(&all), Err(CodecError::Stream(_))), "{after:?}");
        }
        let longer = [&TRAILER[..], b"\0"].concat();
        assert!(matches!(read(&messages(&[&HEADER, &longer])), Err(CodecError::Malformed { .. })));
        let header = [&HEADER[..], TUPLES[0]].concat();
        assert!(matches!(
            read(&messages(&[&header, &longer])),
            Err(CodecError::FieldCount { found: -1, .. })
        ));
    }

    #[test]
    fn another_number_of_fields_is_refused() {
        let one = [&HEADER[..], b"\0\x01\0\0\0\0"].concat();
        let found = read(&messages(&[&one]));
        assert!(matches!(found, Err(CodecError::FieldCount { expected: 2, found: 1 })));
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        for (at, byte) in [(0, b'p'), (10, 1), (11, 1), (12, 1), (15, 1), (18, 50)] {
            let mut first = [&HEADER[..], TUPLES[0]].concat();
            assert!(read(&messages(&[&first, &TRAILER])).is_ok(), "the control");
            first[at] = byte;
            assert!(
                matches!(read(&messages(&[&first, &TRAILER])), Err(CodecError::Malformed { .. })),
                "{at}"
            );
        }
        // An extension is skipped.
        let first = [&HEADER[..15], &[0, 0, 0, 3], b"xyz", TUPLES[1]].concat();
        assert_eq!(read(&messages(&[&first, &TRAILER])).unwrap(), [TUPLES[1]]);
    }

    #[test]
    fn a_message_of_another_kind_is_refused() {
        let mut all = stream();
        all[1][0] = b'D';
        assert!(matches!(read(&all), Err(CodecError::Malformed { offset: 32, .. })));
    }
}

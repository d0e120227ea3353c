//! [`TupleStream`]: cuts a COPY BINARY stream, given in blocks of any size, into tuples.
//!
//! It checks the frame (header, field count, lengths, trailer) and knows nothing of types. Blocks may end anywhere,
//! because a server may end its messages anywhere.

use super::CodecError;

/// The first 19 bytes of a COPY BINARY stream: signature, flags 0, no header extension.
pub const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The last two bytes of a COPY BINARY stream.
pub const TRAILER: [u8; 2] = [0xff, 0xff];

/// The largest tuple that is accepted by default. PostgreSQL itself can't send a message above 1 GiB.
pub const MAX_TUPLE: usize = 1 << 30;

/// Memory that is kept for the next block; what a large tuple needed beyond is given back.
const KEPT: usize = 4 << 20;

/// Flag bits 16-31 are critical: a reader that does not know one must give up. Bit 16 announced OIDs until version 11.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// An incremental reader of one COPY BINARY stream.
pub struct TupleStream {
    columns: usize,
    max_tuple: usize,
    pending: Vec<u8>,
    state: State,
    tuples: u64,
    /// Offset in the stream of the first byte of `pending`.
    position: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// Inside a tuple: how far its fields are known, and how many are still to come (`None`: count not read yet).
    Tuple {
        scanned: usize,
        fields: Option<usize>,
    },
    Done,
}

const NEXT: State = State::Tuple { scanned: 0, fields: None };

impl TupleStream {
    /// A stream whose tuples have `columns` fields, of at most [`MAX_TUPLE`] bytes.
    pub fn new(columns: usize) -> Self {
        Self::with_bound(columns, MAX_TUPLE)
    }

    /// A stream whose tuples have `columns` fields and at most `max_tuple` bytes.
    pub fn with_bound(columns: usize, max_tuple: usize) -> Self {
        Self { columns, max_tuple, pending: Vec::new(), state: State::Header, tuples: 0, position: 0 }
    }

    /// Tuples handed out so far.
    pub fn tuples(&self) -> u64 {
        self.tuples
    }

    /// Takes the next block and calls `row` once for every tuple that it completes: field count (i16), then per field
    /// its length (i32, -1 for NULL) and bytes.
    pub fn feed(
        &mut self,
        block: &[u8],
        row: &mut dyn FnMut(&mut [u8]) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        self.pending.extend_from_slice(block);
        self.cut(row)
    }

    /// As [`Self::feed`], with a block that is the stream's to keep: a tuple that fills one is not held twice. Gives memory
    /// back that it needs no longer: the block's own, where its end was a tuple's.
    pub fn feed_whole(
        &mut self,
        block: Vec<u8>,
        row: &mut dyn FnMut(&mut [u8]) -> Result<(), CodecError>,
    ) -> Result<Vec<u8>, CodecError> {
        let emptied = if self.pending.is_empty() {
            self.pending = block;
            None
        } else {
            self.pending.extend_from_slice(&block);
            Some(block)
        };
        self.cut(row)?;
        Ok(match emptied {
            Some(block) => block,
            None if self.pending.is_empty() => std::mem::take(&mut self.pending),
            None => Vec::new(),
        })
    }

    fn cut(&mut self, row: &mut dyn FnMut(&mut [u8]) -> Result<(), CodecError>) -> Result<(), CodecError> {
        let mut start = 0;
        let result = loop {
            match self.step(start, row) {
                Ok(Some(next)) => start = next,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.pending.drain(..start);
        self.position += start as u64;
        if self.pending.capacity() > KEPT {
            self.pending.shrink_to(self.pending.len());
        }
        result
    }

    /// Ends the stream; gives the number of tuples.
    pub fn finish(self) -> Result<u64, CodecError> {
        match self.state {
            State::Done => Ok(self.tuples),
            _ => Err(CodecError::Stream("ended before its trailer")),
        }
    }

    /// Does one step from `start`; gives where the next one starts, or `None` if more bytes are needed.
    #[inline]
    fn step(
        &mut self,
        start: usize,
        row: &mut dyn FnMut(&mut [u8]) -> Result<(), CodecError>,
    ) -> Result<Option<usize>, CodecError> {
        match self.state {
            State::Header => self.header(start),
            State::Tuple { scanned, fields } => match self.scan(start, scanned, fields)? {
                Some(Scan::Tuple(end)) => {
                    self.state = NEXT;
                    self.tuples += 1;
                    row(&mut self.pending[start..end])?;
                    Ok(Some(end))
                }
                Some(Scan::Trailer(end)) => {
                    self.state = State::Done;
                    Ok(Some(end))
                }
                None => Ok(None),
            },
            State::Done if start == self.pending.len() => Ok(None),
            State::Done => Err(CodecError::Stream("goes on after its trailer")),
        }
    }

    fn header(&mut self, start: usize) -> Result<Option<usize>, CodecError> {
        let bytes = &self.pending[start..];
        let known = bytes.len().min(11);
        if bytes[..known] != HEADER[..known] {
            return Err(CodecError::malformed("the signature of COPY BINARY", 0));
        }
        let (Some(flags), Some(extension)) = (be32(bytes, 11), be32(bytes, 15)) else {
            return Ok(None);
        };
        if flags & CRITICAL_FLAGS != 0 {
            return Err(CodecError::malformed("unknown critical flags in the header", 11));
        }
        let extension = extension as usize;
        if extension > self.max_tuple {
            return Err(CodecError::malformed("the length of the header extension", 15));
        }
        if bytes.len() < 19 + extension {
            return Ok(None);
        }
        self.state = NEXT;
        Ok(Some(start + 19 + extension))
    }

    /// Follows the field lengths of the tuple at `start`.
    #[inline]
    fn scan(
        &mut self,
        start: usize,
        mut scanned: usize,
        fields: Option<usize>,
    ) -> Result<Option<Scan>, CodecError> {
        let bytes = &self.pending[start..];
        let mut fields = match fields {
            Some(fields) => fields,
            None => {
                let Some(count) = bytes.get(..2) else { return Ok(None) };
                let count = i16::from_be_bytes([count[0], count[1]]);
                if count == -1 {
                    return Ok(Some(Scan::Trailer(start + 2)));
                }
                if usize::try_from(count).ok() != Some(self.columns) {
                    return Err(CodecError::FieldCount { expected: self.columns, found: i32::from(count) });
                }
                scanned = 2;
                self.columns
            }
        };
        while fields > 0 {
            let Some(length) = be32(bytes, scanned) else { break };
            let length = match length as i32 {
                -1 => 0,
                length if length >= 0 => length as usize,
                _ => {
                    let offset = self.position + (start + scanned) as u64;
                    return Err(CodecError::Malformed { what: "a negative length", offset });
                }
            };
            let end = scanned + 4 + length;
            if end > self.max_tuple {
                let bound = self.max_tuple as u64;
                return Err(CodecError::TooLarge { what: "a tuple", bytes: end as u64, bound });
            }
            if end > bytes.len() {
                break;
            }
            scanned = end;
            fields -= 1;
        }
        if fields == 0 {
            return Ok(Some(Scan::Tuple(start + scanned)));
        }
        self.state = State::Tuple { scanned, fields: Some(fields) };
        Ok(None)
    }
}

enum Scan {
    Tuple(usize),
    Trailer(usize),
}

#[inline]
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(tuples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        tuples.iter().for_each(|tuple| bytes.extend_from_slice(tuple));
        bytes.extend_from_slice(&TRAILER);
        bytes
    }

    fn read(bytes: &[u8], block: usize, bound: usize) -> Result<Vec<Vec<u8>>, CodecError> {
        let mut reader = TupleStream::with_bound(2, bound);
        let mut tuples = Vec::new();
        for block in bytes.chunks(block) {
            reader.feed(block, &mut |tuple| {
                tuples.push(tuple.to_vec());
                Ok(())
            })?;
        }
        assert_eq!(reader.finish()?, tuples.len() as u64);
        Ok(tuples)
    }

    fn two_tuples() -> Vec<Vec<u8>> {
        vec![b"\0\x02\0\0\0\x03abc\xff\xff\xff\xff".to_vec(), b"\0\x02\xff\xff\xff\xff\0\0\0\0".to_vec()]
    }

    #[test]
    fn tuples_come_out_whole_wherever_the_blocks_end() {
        let bytes = stream(&two_tuples());
        for block in 1..=bytes.len() {
            assert_eq!(read(&bytes, block, MAX_TUPLE).unwrap(), two_tuples(), "blocks of {block}");
        }
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error() {
        let bytes = stream(&two_tuples());
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length], 7, MAX_TUPLE).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn bytes_after_the_trailer_are_an_error() {
        let mut bytes = stream(&two_tuples());
        bytes.push(0);
        assert!(matches!(read(&bytes, 64, MAX_TUPLE), Err(CodecError::Stream(_))));
        assert!(matches!(read(&bytes, 1, MAX_TUPLE), Err(CodecError::Stream(_))));
    }

    #[test]
    fn another_number_of_fields_is_refused() {
        let bytes = stream(&[b"\0\x01\0\0\0\0".to_vec()]);
        assert!(matches!(read(&bytes, 64, 99), Err(CodecError::FieldCount { expected: 2, found: 1 })));
    }

    #[test]
    fn a_tuple_above_the_bound_is_refused_before_its_bytes_arrive() {
        let mut reader = TupleStream::with_bound(1, 100);
        reader.feed(&HEADER, &mut |_| Ok(())).unwrap();
        let result = reader.feed(b"\0\x01\0\0\0\x60", &mut |_| Ok(()));
        assert!(matches!(result, Err(CodecError::TooLarge { .. })));
    }
}

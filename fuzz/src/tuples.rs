//! A slow reader of COPY BINARY, as a server sends it.

use crate::messages::messages;

/// Why a stream is refused: enough to tell one fault from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No message with COPY data, or not all of one.
    Message,
    Signature,
    Header,
    Flags,
    Extension,
    NoTuple,
    Fields(i16),
    AfterTrailer,
    /// More messages would be needed.
    Ended,
}

/// Everything in the messages up to their first fault, whole tuples with their counts.
pub fn read(stream: &[u8], columns: usize) -> (Vec<Vec<u8>>, Option<Fault>) {
    let mut tuples = Vec::new();
    let fault = read_into(stream, columns, &mut tuples).err();
    (tuples, fault)
}

fn read_into(stream: &[u8], columns: usize, tuples: &mut Vec<Vec<u8>>) -> Result<(), Fault> {
    let (mut begun, mut ended, mut bytes) = (false, false, 0);
    for message in messages(stream) {
        bytes += message.bytes.len();
        if message.kind != b'd' || !message.whole {
            return Err(Fault::Message);
        }
        if ended {
            return Err(Fault::AfterTrailer);
        }
        let tuple = if begun { message.body } else { &message.body[header(message.body)?..] };
        begun = true;
        let count = tuple.get(..2).ok_or(Fault::NoTuple)?;
        match i16::from_be_bytes([count[0], count[1]]) {
            -1 if tuple.len() == 2 => ended = true,
            count if i64::from(count) == columns as i64 => tuples.push(tuple.to_vec()),
            count => return Err(Fault::Fields(count)),
        }
    }
    if bytes != stream.len() {
        return Err(Fault::Message);
    }
    if ended { Ok(()) } else { Err(Fault::Ended) }
}

/// The bytes of the stream's header.
fn header(bytes: &[u8]) -> Result<usize, Fault> {
    if bytes.get(..11) != Some(b"PGCOPY\n\xff\r\n\0") {
        return Err(Fault::Signature);
    }
    let (flags, extension) = (number(bytes, 11), number(bytes, 15).ok_or(Fault::Header)? as usize);
    if flags.ok_or(Fault::Header)? >> 16 != 0 {
        return Err(Fault::Flags);
    }
    if bytes.len() < 19 + extension { Err(Fault::Extension) } else { Ok(19 + extension) }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

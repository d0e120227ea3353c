//! A slow reader of COPY BINARY.

/// Why a stream is refused: enough to tell one fault from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Signature,
    Flags,
    Extension,
    Fields(i16),
    Length {
        offset: u64,
    },
    TooLarge {
        bytes: u64,
    },
    AfterTrailer,
    /// More bytes would be needed.
    Ended,
}

/// Everything in the stream up to its first fault, whole tuples with their counts.
pub fn read(stream: &[u8], columns: usize, bound: usize) -> (Vec<Vec<u8>>, Option<Fault>) {
    let mut tuples = Vec::new();
    let fault = read_into(stream, columns, bound, &mut tuples).err();
    (tuples, fault)
}

fn read_into(stream: &[u8], columns: usize, bound: usize, tuples: &mut Vec<Vec<u8>>) -> Result<(), Fault> {
    let magic = b"PGCOPY\n\xff\r\n\0";
    if stream.iter().zip(magic).any(|(found, expected)| found != expected) {
        return Err(Fault::Signature);
    }
    let flags = number(stream, 11).ok_or(Fault::Ended);
    let extension = number(stream, 15).ok_or(Fault::Ended)? as usize;
    if flags? >> 16 != 0 {
        return Err(Fault::Flags);
    }
    if extension > bound {
        return Err(Fault::Extension);
    }
    let mut at = 19 + extension;
    if at > stream.len() {
        return Err(Fault::Ended);
    }
    loop {
        let count = stream.get(at..at + 2).ok_or(Fault::Ended)?;
        match i16::from_be_bytes([count[0], count[1]]) {
            -1 => return if at + 2 == stream.len() { Ok(()) } else { Err(Fault::AfterTrailer) },
            count if i64::from(count) == columns as i64 => {}
            count => return Err(Fault::Fields(count)),
        }
        let start = at;
        at += 2;
        for _ in 0..columns {
            let length = number(stream, at).ok_or(Fault::Ended)? as i32;
            if length < -1 {
                return Err(Fault::Length { offset: at as u64 });
            }
            let end = at + 4 + length.max(0) as usize;
            if end - start > bound {
                return Err(Fault::TooLarge { bytes: (end - start) as u64 });
            }
            if end > stream.len() {
                return Err(Fault::Ended);
            }
            at = end;
        }
        tuples.push(stream[start..at].to_vec());
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

//! [`bound_pages`]: reads the headers of all pages of a file, and nothing else, before the Parquet reader may allocate
//! what they ask for.
//!
//! A page header is a Thrift struct in compact form that says how large the page is uncompressed. The footer's sums are
//! bounded already; here every column chunk is held to its own sum, so that no single page can claim more.

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::ChunkReader;

use crate::codec::CodecError;

/// Most headers are far below a hundred bytes; those with long statistics are read a second time.
const FIRST_READ: u64 = 512;

/// No header of ours is longer, even with statistics.
const LONGEST_HEADER: u64 = 1 << 20;

/// Structs inside structs: a page header has three levels.
const DEEPEST: u8 = 8;

pub(super) fn bound_pages<R: ChunkReader>(file: &R, metadata: &ParquetMetaData) -> Result<(), CodecError> {
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let (mut at, length) = column.byte_range();
        let end = at.checked_add(length).filter(|end| *end <= file.len()).ok_or_else(lies)?;
        let mut left = u64::try_from(column.uncompressed_size()).map_err(|_| lies())?;
        while at < end {
            let page = read_header(file, at, end - at)?;
            left = left.checked_sub(page.header + page.uncompressed).ok_or_else(lies)?;
            at = at.checked_add(page.header + page.compressed).filter(|at| *at <= end).ok_or_else(lies)?;
        }
    }
    Ok(())
}

fn lies() -> CodecError {
    CodecError::Piece("a page says that it is larger than its column".to_owned())
}

#[derive(Debug, PartialEq)]
struct Page {
    header: u64,
    uncompressed: u64,
    compressed: u64,
}

fn read_header<R: ChunkReader>(file: &R, at: u64, left: u64) -> Result<Page, CodecError> {
    for length in [FIRST_READ, LONGEST_HEADER] {
        let bytes: Bytes = file.get_bytes(at, length.min(left) as usize)?;
        if let Some(page) = parse(&bytes) {
            return Ok(page);
        }
    }
    Err(CodecError::Piece("a page header is no page header".to_owned()))
}

/// The header that `bytes` begin with, if it is whole and sane.
fn parse(bytes: &[u8]) -> Option<Page> {
    let mut thrift = Thrift { bytes, at: 0 };
    let (mut uncompressed, mut compressed) = (None, None);
    let mut id = 0i64;
    while let Some((field, kind)) = thrift.field(id)? {
        id = field;
        match (field, kind) {
            (2, INTEGER_32) => uncompressed = Some(u64::try_from(thrift.integer()?).ok()?),
            (3, INTEGER_32) => compressed = Some(u64::try_from(thrift.integer()?).ok()?),
            _ => thrift.skip(kind, 0)?,
        }
    }
    Some(Page { header: thrift.at as u64, uncompressed: uncompressed?, compressed: compressed? })
}

const INTEGER_32: u8 = 5;

struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed integer, zigzag.
    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field's number and kind; the inner `None` ends the struct.
    fn field(&mut self, previous: i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let id = match head >> 4 {
            0 => self.integer()?,
            delta => previous.checked_add(i64::from(delta))?,
        };
        Some(Some((id, head & 0xf)))
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        match kind {
            1 | 2 => {}
            3 => self.at += 1,
            4..=6 => drop(self.varint()?),
            7 => self.at += 8,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            12 if depth < DEEPEST => {
                let mut id = 0;
                while let Some((field, kind)) = self.field(id)? {
                    id = field;
                    self.skip(kind, depth + 1)?;
                }
            }
            // Page headers have neither lists nor maps.
            _ => return None,
        }
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_a_cut_one_is_not() {
        // type 0, uncompressed 300, compressed 40, data_page_header { num_values 7, encoding 0, 3, 3 }.
        let bytes = [0x15, 0, 0x15, 0xd8, 0x04, 0x15, 0x50, 0x2c, 0x15, 14, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0];
        let page = Page { header: bytes.len() as u64, uncompressed: 300, compressed: 40 };
        assert_eq!(parse(&bytes), Some(page));
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None);
        }
    }
}

//! [`bound_pages`]: reads the headers of all pages of a file, and nothing else, before the Parquet reader may allocate
//! what they ask for.
//!
//! A page header is a Thrift struct in compact form that says how large the page is uncompressed and how many values are
//! in it. The footer's sums are bounded already; here every column chunk is held to its own sums, so that no single page
//! can claim more. A page that inflates to more than its header says is refused by zstd itself, which gets no more room.

use bytes::Bytes;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader;

use super::limits::Limits;
use super::thrift::{INTEGER_32, STRUCT, Thrift};
use crate::codec::CodecError;

/// Most headers are far below a hundred bytes; those with long statistics are read a second time.
const FIRST_READ: u64 = 512;

/// No header of ours is longer, even with statistics.
const LONGEST_HEADER: u64 = 1 << 20;

/// Holds all pages to what their columns say, the columns to the limits, and gives the size of the largest dictionary.
pub(super) fn bound_pages<R: ChunkReader>(
    file: &R,
    metadata: &ParquetMetaData,
    limits: Limits,
) -> Result<u64, CodecError> {
    let mut dictionary = 0;
    for group in metadata.row_groups() {
        let rows = u64::try_from(group.num_rows()).map_err(|_| lies())?;
        for column in group.columns() {
            let values = u64::try_from(column.num_values()).map_err(|_| lies())?;
            let nested = column.column_descr().max_rep_level() > 0;
            if (!nested && values != rows) || values > rows.saturating_add(limits.elements) {
                let what = format!("a column says it has {values} values in {rows} rows");
                return Err(CodecError::Piece(what));
            }
            dictionary = dictionary.max(bound_column(file, column, values, limits.page)?);
        }
    }
    Ok(dictionary)
}

/// The size of the column's dictionary.
fn bound_column<R: ChunkReader>(
    file: &R,
    column: &ColumnChunkMetaData,
    values: u64,
    largest: u64,
) -> Result<u64, CodecError> {
    let (mut at, length) = column.byte_range();
    let end = at.checked_add(length).filter(|end| *end <= file.len()).ok_or_else(lies)?;
    let mut left = u64::try_from(column.uncompressed_size()).map_err(|_| lies())?;
    let (mut values_left, mut dictionary) = (values, 0);
    while at < end {
        let page = read_header(file, at, end - at)?;
        if page.uncompressed > largest {
            let (what, bytes, bound) = ("a page", page.uncompressed, largest);
            return Err(CodecError::TooLarge { what, bytes, bound });
        }
        left = left.checked_sub(page.header + page.uncompressed).ok_or_else(lies)?;
        values_left = values_left.checked_sub(page.values).ok_or_else(lies)?;
        dictionary = dictionary.max(if page.is_dictionary { page.uncompressed } else { 0 });
        at = at.checked_add(page.header + page.compressed).filter(|at| *at <= end).ok_or_else(lies)?;
    }
    Ok(dictionary)
}

fn lies() -> CodecError {
    CodecError::Piece("a page says that it is larger than its column".to_owned())
}

#[derive(Debug, PartialEq)]
struct Page {
    header: u64,
    uncompressed: u64,
    compressed: u64,
    /// Values of a data page; a dictionary's own do not count.
    values: u64,
    is_dictionary: bool,
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

/// Fields of a page header: the two kinds of data pages, and the dictionary.
const DATA_PAGE: i64 = 5;
const DICTIONARY: i64 = 7;
const DATA_PAGE_V2: i64 = 8;

/// The header that `bytes` begin with, if it is whole and sane.
fn parse(bytes: &[u8]) -> Option<Page> {
    let mut thrift = Thrift::new(bytes);
    let (mut uncompressed, mut compressed) = (None, None);
    let (mut values, mut is_dictionary) = (0u64, false);
    let mut id = 0i64;
    while let Some((field, kind)) = thrift.field(id)? {
        id = field;
        match (field, kind) {
            (2, INTEGER_32) => uncompressed = Some(u64::try_from(thrift.integer()?).ok()?),
            (3, INTEGER_32) => compressed = Some(u64::try_from(thrift.integer()?).ok()?),
            (DATA_PAGE | DATA_PAGE_V2, STRUCT) => {
                values = values.checked_add(first_integer(&mut thrift)?)?;
            }
            _ => {
                is_dictionary |= field == DICTIONARY;
                thrift.skip(kind, 0)?;
            }
        }
    }
    let header = thrift.at() as u64;
    Some(Page { header, uncompressed: uncompressed?, compressed: compressed?, values, is_dictionary })
}

/// Field 1 of a struct, which for every kind of page is the number of values.
fn first_integer(thrift: &mut Thrift<'_>) -> Option<u64> {
    let (mut first, mut id) = (None, 0);
    while let Some((field, kind)) = thrift.field(id)? {
        id = field;
        match (field, kind) {
            (1, INTEGER_32) => first = Some(u64::try_from(thrift.integer()?).ok()?),
            _ => thrift.skip(kind, 1)?,
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_a_cut_one_is_not() {
        // type 0, uncompressed 300, compressed 40, data_page_header { num_values 7, encoding 0, 3, 3 }.
        let bytes = [0x15, 0, 0x15, 0xd8, 0x04, 0x15, 0x50, 0x2c, 0x15, 14, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0];
        let header = bytes.len() as u64;
        let page = Page { header, uncompressed: 300, compressed: 40, values: 7, is_dictionary: false };
        assert_eq!(parse(&bytes), Some(page));
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None);
        }
    }
}

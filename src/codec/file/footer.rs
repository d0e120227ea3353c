//! [`bound_footer`]: walks a file's footer before the Parquet reader parses it.
//!
//! That reader makes room for as many columns and row groups as a list says it has; two thousand million of them are six
//! bytes in a forged file, and memory that cannot be had ends the process.

use parquet::file::reader::ChunkReader;
use parquet::schema::types::Type;

use super::thrift::{LIST, Thrift};
use crate::codec::CodecError;

/// A footer above this is not ours: 1600 columns in a hundred row groups take 40 MiB.
const LONGEST_FOOTER: u64 = 128 << 20;

/// The footer's length and the magic bytes.
const TAIL: u64 = 8;

/// Refuses a footer whose schema has not as many nodes as `schema`, or whose lists are longer than their bytes.
pub(super) fn bound_footer<R: ChunkReader>(file: &R, schema: &Type) -> Result<(), CodecError> {
    let lies = || CodecError::Piece("its footer is no footer of such a file".to_owned());
    let start_of_tail = file.len().checked_sub(TAIL).ok_or_else(lies)?;
    let tail = file.get_bytes(start_of_tail, TAIL as usize)?;
    let length = match &tail[..] {
        [a, b, c, d, b'P', b'A', b'R', b'1'] => u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => return Err(lies()),
    };
    if length > LONGEST_FOOTER {
        return Err(CodecError::TooLarge { what: "a footer", bytes: length, bound: LONGEST_FOOTER });
    }
    let start = start_of_tail.checked_sub(length).ok_or_else(lies)?;
    let footer = file.get_bytes(start, length as usize)?;
    if walk(&footer).ok_or_else(lies)? == nodes(schema) {
        return Ok(());
    }
    Err(CodecError::Piece("its columns are not those of the table".to_owned()))
}

/// How many schema elements the footer has, if it is well-formed.
fn walk(footer: &[u8]) -> Option<u64> {
    let mut thrift = Thrift::new(footer);
    let (mut schema, mut id) = (0, 0);
    while let Some((field, kind)) = thrift.field(id)? {
        id = field;
        if (field, kind) == (2, LIST) {
            let (count, kind) = thrift.list()?;
            schema = count;
            thrift.elements(count, kind, 1)?;
        } else {
            thrift.skip(kind, 0)?;
        }
    }
    Some(schema)
}

fn nodes(schema: &Type) -> u64 {
    match schema {
        Type::PrimitiveType { .. } => 1,
        Type::GroupType { fields, .. } => 1 + fields.iter().map(|field| nodes(field)).sum::<u64>(),
    }
}

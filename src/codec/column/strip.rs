//! [`Strip`]: some rows whose fields are taken column by column.
//!
//! Row by row, each value asks anew what kind its column is, and waits for where the one before it ended. A strip knows the next
//! field of each of its rows, and so takes all values of one column in one loop, whose steps do not wait for one another.
//! A field may reach beyond its tuple, but not beyond the block, until [`Strip::end`] sees it: what was taken must not be used before.

use std::ops::Range;

use super::canonicalise;
use super::quick::{READ, is_length_of, parts};
use crate::codec::CodecError;
use crate::codec::wire::Wire;
use crate::manifest::Mapping;

/// Rows of a strip: as many as a word has bits, and few enough that they stay in the processor's nearest cache.
pub const STRIP: usize = 64;

/// Rows of one block. A tuple is its count of fields (i16), and per field its length (i32, -1 for NULL) and bytes.
pub struct Strip<'a> {
    block: &'a mut [u8],
    tuples: &'a [Range<usize>],
    /// Where the length of each row's next field stands.
    next: [u32; STRIP],
}

impl<'a> Strip<'a> {
    /// The rows of so many columns whose tuples are these ranges of `block`, no more than [`STRIP`].
    pub fn new(block: &'a mut [u8], tuples: &'a [Range<usize>], columns: usize) -> Result<Self, CodecError> {
        let (rows, bytes) = (tuples.len(), block.len() as u64);
        if u32::try_from(bytes).is_err() {
            return Err(CodecError::TooLarge { what: "a block of rows", bytes, bound: u32::MAX.into() });
        }
        if rows > STRIP {
            return Err(CodecError::Piece(format!("{rows} rows for a strip of {STRIP}")));
        }
        let mut next = [0; STRIP];
        for (next, tuple) in next.iter_mut().zip(tuples) {
            let found = Wire::new(&block[tuple.clone()]).u16()?;
            if usize::from(found) != columns {
                return Err(CodecError::FieldCount { expected: columns, found: i32::from(found) });
            }
            *next = tuple.start as u32 + size_of::<u16>() as u32;
        }
        Ok(Self { block, tuples, next })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.tuples.len()
    }

    /// Calls `take` with the next field of each row: all that stands there, and how much of it is the field's; `None` for NULL.
    #[inline]
    pub(super) fn each(
        &mut self,
        mut take: impl FnMut(usize, Option<(&[u8], usize)>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        for (row, next) in self.next[..self.tuples.len()].iter_mut().enumerate() {
            let field = field_at(self.block, *next)?;
            *next += LENGTH + field.map_or(0, |(_, length)| length) as u32;
            take(row, field)?;
        }
        Ok(())
    }

    /// Takes the next field of each row as head and digits of a numeric, and what stands behind them. Gives a bit for each row
    /// whose field is no numeric that short; it may be NULL.
    #[inline]
    pub(super) fn numerics(&mut self, found: &mut [(u64, u64); STRIP]) -> Result<u64, CodecError> {
        let mut others = 0;
        for (row, (next, found)) in self.next[..self.tuples.len()].iter_mut().zip(found).enumerate() {
            if let Some((length, wire)) = short_at(self.block, *next) {
                *found = parts(wire);
                if length <= READ && is_length_of(found.0, length) {
                    *next += LENGTH + length as u32;
                    continue;
                }
            }
            others |= 1 << row;
            *next += LENGTH + field_at(self.block, *next)?.map_or(0, |(_, length)| length) as u32;
        }
        Ok(others)
    }

    /// Where the next field of each row stands, for [`Self::field`].
    pub(super) fn places(&self) -> [u32; STRIP] {
        self.next
    }

    /// The field at such a place: all that stands there, and how much of it is the field's; `None` for NULL.
    #[inline]
    pub(super) fn field(&self, place: u32) -> Result<Option<(&[u8], usize)>, CodecError> {
        field_at(self.block, place)
    }

    /// Makes the next field of each row canonical in place; it is not taken.
    pub fn canonicalise(&mut self, mapping: &Mapping) -> Result<(), CodecError> {
        for next in &self.next[..self.tuples.len()] {
            if let Some((_, length)) = field_at(self.block, *next)? {
                let start = (*next + LENGTH) as usize;
                canonicalise(mapping, &mut self.block[start..start + length])?;
            }
        }
        Ok(())
    }

    /// Calls `row` with the fields of each row that have been taken.
    #[inline]
    pub fn taken(&self, mut row: impl FnMut(&[u8])) {
        for (next, tuple) in self.next.iter().zip(self.tuples) {
            row(&self.block[tuple.start + size_of::<u16>()..*next as usize]);
        }
    }

    /// All fields have been taken: nothing may stand behind them, and none may have reached beyond its tuple.
    pub fn end(&self) -> Result<(), CodecError> {
        for (next, tuple) in self.next.iter().zip(self.tuples) {
            let next = *next as usize;
            if next > tuple.end {
                return Err(CodecError::malformed(TOO_EARLY, tuple.len()));
            }
            if next < tuple.end {
                return Err(CodecError::malformed("bytes after the last field", next - tuple.start));
            }
        }
        Ok(())
    }
}

/// Bytes of a field's length.
const LENGTH: u32 = 4;

const TOO_EARLY: &str = "the value ends too early";

/// What stands behind the length at `at`, and that length; `None` for NULL. The place behind the field is in the block.
#[inline]
fn field_at(block: &[u8], at: u32) -> Result<Option<(&[u8], usize)>, CodecError> {
    let found = block.get(at as usize..).and_then(<[u8]>::split_first_chunk);
    let Some((length, field)) = found else { return Err(CodecError::malformed(TOO_EARLY, 0)) };
    match i32::from_be_bytes(*length) {
        -1 => Ok(None),
        length if length < 0 => Err(CodecError::malformed("a negative length", 0)),
        length if length as usize > field.len() => Err(CodecError::malformed(TOO_EARLY, 0)),
        length => Ok(Some((field, length as usize))),
    }
}

/// The length at `at` as it stands, not held against anything, and what is behind it, where that is enough to be read at once.
#[inline]
fn short_at(block: &[u8], at: u32) -> Option<(usize, &[u8; READ])> {
    let (length, wire) = block.get(at as usize..)?.split_first_chunk()?;
    Some((u32::from_be_bytes(*length) as usize, wire.first_chunk()?))
}

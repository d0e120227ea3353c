//! [`Differences`]: numbers as DELTA_BINARY_PACKED, each by what it differs from the one before, in blocks of four parts whose
//! differences are packed into as many bits as the part's largest needs.
//!
//! Sizes of blocks and parts are those of the Parquet crate, and so are the bytes.

use super::levels::put_unsigned;

/// Parts of a block.
const PARTS: usize = 4;

/// Values in a part: in both widths a whole number of bytes, whatever the bits.
const PART_32: usize = 32;
const PART_64: usize = 64;

pub(super) struct Differences {
    /// Values in a part.
    part: usize,
    /// Whether numbers have 32 bits: their differences wrap there.
    narrow: bool,
    /// All blocks that are full.
    blocks: Vec<u8>,
    count: u64,
    first: i64,
    last: i64,
    /// The differences of the block that is open.
    open: Vec<i64>,
}

impl Differences {
    pub(super) fn new(narrow: bool) -> Self {
        let part = if narrow { PART_32 } else { PART_64 };
        Self { part, narrow, blocks: Vec::new(), count: 0, first: 0, last: 0, open: Vec::new() }
    }

    /// Bytes of the blocks so far, without the one that is open.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    pub(super) fn put<T: Copy + Into<i64>>(&mut self, mut values: &[T]) {
        if self.count == 0
            && let Some((first, rest)) = values.split_first()
        {
            (self.first, self.last, self.count) = ((*first).into(), (*first).into(), 1);
            values = rest;
        }
        self.count += values.len() as u64;
        let full = PARTS * self.part;
        while !values.is_empty() {
            let (some, rest) = values.split_at(values.len().min(full - self.open.len()));
            let (narrow, mut last) = (self.narrow, self.last);
            self.open.extend(some.iter().map(|value| {
                let value = (*value).into();
                let difference = difference(narrow, value, last);
                last = value;
                difference
            }));
            self.last = last;
            if self.open.len() == full {
                self.end_block();
            }
            values = rest;
        }
    }

    fn end_block(&mut self) {
        let Some(&least) = self.open.iter().min() else { return };
        put_signed(&mut self.blocks, least);
        let widths = self.blocks.len();
        self.blocks.extend_from_slice(&[0; PARTS]);
        for (at, part) in self.open.chunks(self.part).enumerate() {
            let above = |value: i64| match self.narrow {
                true => u64::from((value as i32).wrapping_sub(least as i32) as u32),
                false => value.wrapping_sub(least) as u64,
            };
            let most = part.iter().max().copied().unwrap_or(least);
            let width = u64::BITS - above(most).leading_zeros();
            self.blocks[widths + at] = width as u8;
            pack(&mut self.blocks, width, self.part, part.iter().map(|value| above(*value)));
        }
        self.open.clear();
    }

    /// Appends all values to `page`; there are none afterwards.
    pub(super) fn end(&mut self, page: &mut Vec<u8>) {
        self.end_block();
        put_unsigned(page, (PARTS * self.part) as u64);
        put_unsigned(page, PARTS as u64);
        put_unsigned(page, self.count);
        put_signed(page, self.first);
        page.extend_from_slice(&self.blocks);
        self.blocks.clear();
        (self.count, self.first, self.last) = (0, 0, 0);
    }
}

#[inline]
fn difference(narrow: bool, value: i64, last: i64) -> i64 {
    if narrow { i64::from((value as i32).wrapping_sub(last as i32)) } else { value.wrapping_sub(last) }
}

/// Packs values of `width` bits, the first one lowest, and zeros up to `count` values, which are whole bytes.
pub(super) fn pack(bytes: &mut Vec<u8>, width: u32, count: usize, values: impl Iterator<Item = u64>) {
    let end = bytes.len() + count * width as usize / 8;
    let (mut word, mut filled) = (0u64, 0);
    for value in values {
        word |= value << filled;
        filled += width;
        if filled >= u64::BITS {
            bytes.extend_from_slice(&word.to_le_bytes());
            filled -= u64::BITS;
            // What did not fit; all of it fitted where nothing is left.
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    bytes.extend_from_slice(&word.to_le_bytes());
    bytes.resize(end, 0);
}

/// Small numbers are short, whatever their sign.
fn put_signed(bytes: &mut Vec<u8>, value: i64) {
    put_unsigned(bytes, (value << 1 ^ value >> 63) as u64);
}

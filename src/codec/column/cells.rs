//! The vectors that a column's values are collected in, before they become Arrow buffers.

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::codec::CodecError;

/// Items that a vector is made for in advance, after it was emptied: a batch is mostly as long as the one before, but one
/// enormous value must not keep its memory for ever.
const KEPT: usize = 1 << 16;

/// Bytes of a text that is read at once.
pub(super) const SHORT: usize = 16;

/// Takes a vector's items; what is left is empty and has room for as many again.
pub(super) fn take_items<T>(items: &mut Vec<T>) -> Vec<T> {
    let room = items.len().min(KEPT);
    std::mem::replace(items, Vec::with_capacity(room))
}

/// A vector of bits.
#[derive(Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    length: usize,
}

impl Bits {
    #[inline]
    pub(crate) fn push(&mut self, bit: bool) {
        if self.length & 7 == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (self.length & 7);
        }
        self.length += 1;
    }

    pub(crate) fn take(&mut self) -> BooleanBuffer {
        let length = std::mem::take(&mut self.length);
        BooleanBuffer::new(Buffer::from_vec(take_items(&mut self.bytes)), 0, length)
    }
}

/// Which values are there. Nothing is written down until one is missing.
#[derive(Default)]
pub(crate) struct Validity {
    length: usize,
    bits: Option<Bits>,
}

impl Validity {
    #[inline]
    pub(crate) fn push_valid(&mut self) {
        self.length += 1;
        if let Some(bits) = &mut self.bits {
            bits.push(true);
        }
    }

    /// So many values that are there.
    #[inline]
    pub(crate) fn push_valid_run(&mut self, run: usize) {
        self.length += run;
        if let Some(bits) = &mut self.bits {
            (0..run).for_each(|_| bits.push(true));
        }
    }

    pub(crate) fn push_null(&mut self) {
        let before = self.length;
        let all_valid = || {
            let mut bits = Bits::default();
            (0..before).for_each(|_| bits.push(true));
            bits
        };
        self.bits.get_or_insert_with(all_valid).push(false);
        self.length += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// As a validity bitmap, which is left out if nothing is NULL.
    pub(crate) fn take_nulls(&mut self) -> Option<NullBuffer> {
        self.length = 0;
        self.bits.take().map(|mut bits| NullBuffer::new(bits.take()))
    }
}

/// Offsets of variable-length things: one more than there are things.
pub(crate) struct Offsets(Vec<i32>);

impl Default for Offsets {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Offsets {
    /// Adds one thing of `length`. Fails where 32 bits end, which the caller's flushing keeps far away.
    #[inline]
    pub(crate) fn push(&mut self, length: usize) -> Result<(), CodecError> {
        let end = self.end() as u64 + length as u64;
        let bound = i32::MAX as u64;
        let end =
            i32::try_from(end).map_err(|_| CodecError::TooLarge { what: "a column", bytes: end, bound })?;
        self.0.push(end);
        Ok(())
    }

    fn end(&self) -> i32 {
        self.0.last().copied().unwrap_or(0)
    }

    pub(crate) fn bytes(&self) -> usize {
        4 * self.0.len()
    }

    pub(crate) fn take(&mut self) -> OffsetBuffer<i32> {
        let offsets = take_items(&mut self.0);
        self.0.push(0);
        OffsetBuffer::new(ScalarBuffer::from(offsets))
    }
}

/// Texts or byte strings end to end.
#[derive(Default)]
pub(crate) struct Strings {
    pub(crate) data: Vec<u8>,
    offsets: Offsets,
}

impl Strings {
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<(), CodecError> {
        self.offsets.push(value.len())?;
        self.data.extend_from_slice(value);
        Ok(())
    }

    /// Adds the first `length` of these bytes, which are copied at once, whatever the length.
    #[inline]
    pub(crate) fn push_short(&mut self, bytes: &[u8; SHORT], length: usize) -> Result<(), CodecError> {
        self.offsets.push(length)?;
        let end = self.data.len() + length;
        self.data.extend_from_slice(bytes);
        self.data.truncate(end);
        Ok(())
    }

    /// Ends a value that was written to `data` directly.
    pub(crate) fn close(&mut self) -> Result<(), CodecError> {
        let length = self.data.len() - self.offsets.end() as usize;
        self.offsets.push(length)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + self.offsets.bytes()
    }

    pub(crate) fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        (self.offsets.take(), Buffer::from_vec(take_items(&mut self.data)))
    }
}

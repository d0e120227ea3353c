//! [`Wire`]: a reader over one value's bytes that can only fail, never panic.
//!
//! All numbers are big-endian, as PostgreSQL sends them.

use super::CodecError;

/// What is left of some wire bytes, and how far we are.
#[derive(Clone, Copy)]
pub(crate) struct Wire<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(CodecError::malformed("the value ends too early", self.at));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, CodecError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A count that is not negative and can't be larger than what is left, at `least` bytes an item.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, CodecError> {
        let at = self.at;
        let count = self.i32()?;
        let fits = usize::try_from(count).ok().filter(|n| n.saturating_mul(least.max(1)) <= self.left());
        fits.ok_or(CodecError::malformed("a count beyond the end of the value", at))
    }

    /// A field: its length and bytes, or `None` for length -1.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<Option<&'a [u8]>, CodecError> {
        let at = self.at;
        match self.i32()? {
            -1 => Ok(None),
            length if length >= 0 => self.take(length as usize).map(Some),
            _ => Err(CodecError::malformed("a negative length", at)),
        }
    }

    /// A field that must not be NULL.
    pub(crate) fn present(&mut self) -> Result<&'a [u8], CodecError> {
        let at = self.at;
        self.field()?.ok_or(CodecError::malformed("a NULL where the type has none", at))
    }

    /// The end of the value.
    #[inline]
    pub(crate) fn end(self) -> Result<(), CodecError> {
        if self.left() == 0 { Ok(()) } else { Err(CodecError::malformed("bytes after the value", self.at)) }
    }
}

/// The whole of `bytes` as an array of exactly `N`.
#[inline]
pub(crate) fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CodecError> {
    bytes.try_into().map_err(|_| CodecError::malformed("a value of another length", bytes.len()))
}

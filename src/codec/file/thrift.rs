//! [`Thrift`]: walks Thrift's compact form without building anything, so that what the Parquet reader is about to
//! allocate can be judged first.
//!
//! Every method gives `None` where the bytes end or make no sense. It does not know what the fields mean.

/// Structs inside structs: a Parquet footer has about six levels.
const DEEPEST: u8 = 16;

/// Kinds of fields, as far as anybody asks for them.
pub(super) const INTEGER_32: u8 = 5;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes walked so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

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
    pub(super) fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field's number and kind; the inner `None` ends the struct.
    pub(super) fn field(&mut self, previous: i64) -> Option<Option<(i64, u8)>> {
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

    /// The head of a list: how many elements it says it has, and their kind. No element takes less than a byte, so a list
    /// that says more than there are bytes lies.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        (count <= (self.bytes.len() - self.at) as u64).then_some((count, head & 0xf))
    }

    /// Passes over `count` elements of a list.
    pub(super) fn elements(&mut self, count: u64, kind: u8, depth: u8) -> Option<()> {
        for _ in 0..count {
            match kind {
                // A boolean is part of a field's head, but a byte in a list.
                1 | 2 => drop(self.byte()?),
                _ => self.skip(kind, depth)?,
            }
        }
        Some(())
    }

    /// Passes over one value.
    pub(super) fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.at = self.at.checked_add(8)?,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            LIST if depth < DEEPEST => {
                let (count, kind) = self.list()?;
                self.elements(count, kind, depth + 1)?;
            }
            STRUCT if depth < DEEPEST => {
                let mut id = 0;
                while let Some((field, kind)) = self.field(id)? {
                    id = field;
                    self.skip(kind, depth + 1)?;
                }
            }
            // Parquet has neither sets nor maps.
            _ => return None,
        }
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_says_more_than_there_are_bytes_is_refused() {
        assert_eq!(Thrift::new(&[0x35, 2, 4, 6]).skip(LIST, 0), Some(()));
        assert_eq!(Thrift::new(&[0x45, 2, 4, 6]).skip(LIST, 0), None);
        // 2^31 - 1 structs, in five bytes.
        assert_eq!(Thrift::new(&[0xfc, 0xff, 0xff, 0xff, 0xff, 0x07]).skip(LIST, 0), None);
    }

    #[test]
    fn lists_in_lists_end_somewhere() {
        assert_eq!(Thrift::new(&[0x19; 64]).skip(LIST, 0), None);
    }
}

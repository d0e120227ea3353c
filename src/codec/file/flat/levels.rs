//! [`Levels`]: which values of a flat column are there, as Parquet writes it: definition levels of one bit, run lengths and packed
//! bits in turn.
//!
//! From eight equal levels on a run is a length, what is shorter is packed eight levels to a byte, as the Parquet crate does it:
//! the same levels give the same bytes.

/// Levels that are packed into a byte.
pub(super) const GROUP: usize = 8;

/// Bytes of packed levels whose count fits into one byte.
pub(super) const MOST_GROUPS: usize = 63;

/// Bytes for the length of all that follows.
const LENGTH: usize = 4;

#[derive(Debug)]
pub(super) struct Levels {
    bytes: Vec<u8>,
    /// Levels that are neither packed nor counted, the first in the lowest bit.
    buffered: u8,
    buffered_count: usize,
    /// The last level, and how often in a row it came.
    current: bool,
    repeated: usize,
    /// Where the count of the packed bytes that are written now will stand, and how many there are.
    packed: Option<(usize, usize)>,
}

impl Default for Levels {
    fn default() -> Self {
        let bytes = vec![0; LENGTH];
        Self { bytes, buffered: 0, buffered_count: 0, current: false, repeated: 0, packed: None }
    }
}

impl Levels {
    /// Adds the same level several times.
    pub(super) fn put(&mut self, level: bool, mut count: usize) {
        while count > 0 {
            if self.repeated >= GROUP && self.current == level {
                self.repeated += count;
                return;
            }
            self.put_one(level);
            count -= 1;
        }
    }

    fn put_one(&mut self, level: bool) {
        if self.current == level {
            self.repeated += 1;
        } else {
            if self.repeated >= GROUP {
                self.end_run();
            }
            (self.current, self.repeated) = (level, 1);
        }
        self.buffered |= u8::from(level) << self.buffered_count;
        self.buffered_count += 1;
        if self.buffered_count < GROUP {
            return;
        }
        if self.repeated >= GROUP {
            // They begin a run.
            (self.buffered, self.buffered_count) = (0, 0);
            self.end_packed();
        } else {
            self.pack();
            self.repeated = 0;
        }
    }

    fn pack(&mut self) {
        let (at, groups) = self.packed.take().unwrap_or_else(|| {
            self.bytes.push(0);
            (self.bytes.len() - 1, 0)
        });
        self.bytes.push(self.buffered);
        (self.buffered, self.buffered_count) = (0, 0);
        self.packed = Some((at, groups + 1));
        if groups + 1 >= MOST_GROUPS {
            self.end_packed();
        }
    }

    fn end_packed(&mut self) {
        if let Some((at, groups)) = self.packed.take() {
            self.bytes[at] = (groups << 1 | 1) as u8;
        }
    }

    fn end_run(&mut self) {
        put_unsigned(&mut self.bytes, (self.repeated as u64) << 1);
        self.bytes.push(u8::from(self.current));
        (self.buffered, self.buffered_count, self.repeated) = (0, 0, 0);
    }

    /// Appends all levels to `page`; there are none afterwards.
    pub(super) fn end(&mut self, page: &mut Vec<u8>) {
        let all_equal =
            self.packed.is_none() && (self.repeated == self.buffered_count || self.buffered_count == 0);
        if self.repeated > 0 && all_equal {
            self.end_run();
        } else {
            if self.buffered_count > 0 {
                self.pack();
            }
            self.end_packed();
        }
        let length = (self.bytes.len() - LENGTH) as u32;
        self.bytes[..LENGTH].copy_from_slice(&length.to_le_bytes());
        page.extend_from_slice(&self.bytes);
        self.bytes.truncate(LENGTH);
        (self.buffered, self.buffered_count, self.current, self.repeated) = (0, 0, false, 0);
    }
}

/// Appends a number seven bits at a time, the lowest first.
pub(super) fn put_unsigned(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

//! [`Sieve`]: the first pass: which buckets of rows differ, and which of them there is memory for.

use super::Which;
use super::projection::fields_of;
use super::source::RowSink;
use crate::codec::CodecError;
use crate::codec::rowset::RowHasher;

/// Buckets at most, as a power of two: 28 bytes each.
const MOST: u32 = 20;
/// And at least.
const LEAST: u32 = 8;
/// Times that the buckets which differ may be cut into finer ones: 60 of 128 bits of the hash.
const LEVELS: usize = 3;
/// Rows held at most of both sides together; beyond, the counts are at-least and say so.
const HELD: u64 = 500_000;
/// And bytes of those that are given back; the rows of one bucket are held whatever their size.
const HELD_BYTES: u64 = 64 << 20;

/// Hashes of a row: of its key, which says where it belongs, and of all of it.
pub(super) struct KeyedHasher {
    hasher: RowHasher,
    keyed_by: Vec<usize>,
    room: Vec<u8>,
}

impl KeyedHasher {
    /// The hashes of a projected tuple. 128 bits of each are plenty to tell rows apart.
    pub(super) fn hash(&mut self, tuple: &[u8]) -> Result<(u128, u128), CodecError> {
        let row = half(&self.hasher.hash(tuple));
        if self.keyed_by.is_empty() {
            return Ok((row, row));
        }
        let spans = fields_of(tuple)?;
        self.room.clear();
        for span in self.keyed_by.iter().filter_map(|place| spans.get(*place)) {
            self.room.extend_from_slice(&tuple[span.start..span.end]);
        }
        Ok((half(&self.hasher.hash(&self.room)), row))
    }
}

fn half(hash: &[u8; 32]) -> u128 {
    hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

/// Buckets that were chosen: those of one level within those of the levels before.
#[derive(Default)]
pub(super) struct Chosen {
    bits: u32,
    levels: Vec<Vec<bool>>,
}

impl Chosen {
    fn takes(&self, key: u128) -> bool {
        self.levels.iter().enumerate().all(|(number, level)| level[self.bucket(key, number)])
    }

    /// Each level has its own bits of the hash.
    fn bucket(&self, key: u128, level: usize) -> usize {
        (key >> (level as u32 * MOST)) as usize & ((1 << self.bits) - 1)
    }
}

/// What the rows of the second pass are judged by.
#[derive(Default)]
pub(super) struct Wanted {
    /// Buckets whose rows are counted.
    counted: Chosen,
    /// Buckets of those whose rows can be given back.
    shown: Vec<bool>,
    /// Every bucket that differs is counted.
    pub(super) complete: bool,
}

impl Wanted {
    pub(super) fn is_empty(&self) -> bool {
        !self.counted.levels.last().is_some_and(|last| last.contains(&true))
    }

    /// Whether a row is counted, and if so, whether it can be shown.
    pub(super) fn takes(&self, key: u128) -> Option<bool> {
        let last = self.counted.levels.len().checked_sub(1)?;
        let bucket = self.counted.bucket(key, last);
        self.counted.takes(key).then(|| self.shown[bucket])
    }
}

/// What comes after a pass.
pub(super) enum Plan {
    /// Another one with finer buckets, of those that differ.
    Refine(Sieve),
    /// The rows themselves.
    Collect(KeyedHasher, Wanted),
}

/// Sums of the rows of each bucket.
pub(super) struct Sieve {
    hasher: KeyedHasher,
    passed: Chosen,
    /// Of all rows of A, less all of B: nothing where they are the same.
    sums: Vec<u128>,
    rows: Vec<u32>,
    bytes: Vec<u64>,
}

impl Sieve {
    /// Buckets for about so many rows.
    pub(super) fn new(key: &[u8; 32], keyed_by: &[usize], rows: u64) -> Self {
        let bits = rows.max(1).ilog2().clamp(LEAST, MOST);
        let hasher =
            KeyedHasher { hasher: RowHasher::new(key), keyed_by: keyed_by.to_vec(), room: Vec::new() };
        Self::within(hasher, Chosen { bits, levels: Vec::new() })
    }

    fn within(hasher: KeyedHasher, passed: Chosen) -> Self {
        let size = 1 << passed.bits;
        Self { hasher, passed, sums: vec![0; size], rows: vec![0; size], bytes: vec![0; size] }
    }

    /// What comes next.
    pub(super) fn plan(mut self) -> Plan {
        let differing: Vec<bool> = self.sums.iter().map(|sum| *sum != 0).collect();
        let of_differing = |(bucket, rows): (usize, &u32)| differing[bucket].then_some(u64::from(*rows));
        let rows: u64 = self.rows.iter().enumerate().filter_map(of_differing).sum();
        // Where most of them differ, finer ones do too.
        let helps = differing.iter().filter(|differs| **differs).count() * 2 < differing.len();
        if rows > HELD && helps && self.passed.levels.len() + 1 < LEVELS {
            self.passed.levels.push(differing);
            return Plan::Refine(Self::within(self.hasher, self.passed));
        }
        let (counted, complete) = prefix(&differing, HELD, |bucket| u64::from(self.rows[bucket]));
        let (shown, _) = prefix(&counted, HELD_BYTES, |bucket| self.bytes[bucket]);
        self.passed.levels.push(counted);
        Plan::Collect(self.hasher, Wanted { counted: self.passed, shown, complete })
    }
}

impl RowSink for Sieve {
    fn row(&mut self, side: Which, tuple: &[u8]) -> Result<(), CodecError> {
        let (key, row) = self.hasher.hash(tuple)?;
        if !self.passed.takes(key) {
            return Ok(());
        }
        let bucket = self.passed.bucket(key, self.passed.levels.len());
        let sum = &mut self.sums[bucket];
        *sum = match side {
            Which::A => sum.wrapping_add(row),
            Which::B => sum.wrapping_sub(row),
        };
        self.rows[bucket] = self.rows[bucket].saturating_add(1);
        self.bytes[bucket] += tuple.len() as u64;
        Ok(())
    }
}

/// The first of the chosen buckets, at least one, whose weights are together no more than `bound`; and whether that is all.
fn prefix(chosen: &[bool], bound: u64, weight: impl Fn(usize) -> u64) -> (Vec<bool>, bool) {
    let mut total = 0u64;
    let mut first = vec![false; chosen.len()];
    for bucket in (0..chosen.len()).filter(|bucket| chosen[*bucket]) {
        let with = total.saturating_add(weight(bucket));
        if total > 0 && with > bound {
            return (first, false);
        }
        total = with;
        first[bucket] = true;
    }
    (first, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, value: u8) -> Vec<u8> {
        let mut tuple = vec![0, 2, 0, 0, 0, 8];
        tuple.extend_from_slice(&number.to_be_bytes());
        tuple.extend_from_slice(&[0, 0, 0, 1, value]);
        tuple
    }

    fn sieve(a: &[(u64, u8)], b: &[(u64, u8)], rows: u64) -> Sieve {
        let mut sieve = Sieve::new(&[1; 32], &[0], rows);
        for (side, all) in [(Which::A, a), (Which::B, b)] {
            all.iter().for_each(|(number, value)| sieve.row(side, &row(*number, *value)).unwrap());
        }
        sieve
    }

    fn wanted(sieve: Sieve, key: u64) -> Option<bool> {
        let Plan::Collect(mut hasher, wanted) = sieve.plan() else {
            panic!("few rows need no finer buckets")
        };
        wanted.takes(hasher.hash(&row(key, 0)).unwrap().0)
    }

    #[test]
    fn only_rows_of_keys_that_differ_are_wanted_and_order_does_not_matter() {
        let a: Vec<(u64, u8)> = (0..1000).map(|number| (number, 1)).collect();
        let mut b: Vec<(u64, u8)> = a.iter().rev().copied().collect();
        let Plan::Collect(_, none) = sieve(&a, &b, 2000).plan() else { panic!("nothing to refine") };
        assert!(none.is_empty() && none.complete);
        b[0].1 = 2;
        assert_eq!(wanted(sieve(&a, &b, 2000), b[0].0), Some(true));
        let others = (0..1000).filter(|key| wanted(sieve(&a, &b, 2000), *key).is_some()).count();
        assert!((1..20).contains(&others), "{others} of 1000 share its bucket");
    }

    #[test]
    fn what_there_is_no_memory_for_is_left_out_and_said() {
        assert_eq!(prefix(&[true, false, true, true], 5, |_| 2), (vec![true, false, true, false], false));
        assert_eq!(prefix(&[true, false, true, true], 6, |_| 2), (vec![true, false, true, true], true));
        // The first one always is held.
        assert_eq!(prefix(&[false, true, true], 5, |_| 9), (vec![false, true, false], false));
    }

    #[test]
    fn many_rows_in_few_buckets_are_cut_finer() {
        let mut coarse = Sieve::new(&[1; 32], &[0], 1);
        let key = |number| row(number, 0);
        (0..1000).for_each(|number| coarse.row(Which::A, &key(number)).unwrap());
        (1..1000).for_each(|number| coarse.row(Which::B, &key(number)).unwrap());
        // As if each row stood for thousands.
        coarse.rows.iter_mut().for_each(|rows| *rows *= 1_000_000);
        let Plan::Refine(mut finer) = coarse.plan() else { panic!("too many rows in one bucket") };
        (0..1000).for_each(|number| finer.row(Which::A, &key(number)).unwrap());
        (1..1000).for_each(|number| finer.row(Which::B, &key(number)).unwrap());
        let Plan::Collect(mut hasher, wanted) = finer.plan() else { panic!("one row is few enough") };
        let left: Vec<u64> = (0..1000)
            .filter(|number| wanted.takes(hasher.hash(&key(*number)).unwrap().0).is_some())
            .collect();
        assert_eq!(left, [0]);
    }
}

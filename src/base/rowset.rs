//! [`RowsetDigest`]: the pair (n, S) that stands for a set of rows, and the arithmetic that makes it independent of order.
//!
//! How one row becomes a 256-bit number is the codec's business (`codec::rowset`); here are only the sums.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::Digest;

/// The sum of row hashes modulo 2^256: four 64-bit limbs, least significant first.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct RowsetSum([u64; 4]);

impl RowsetSum {
    /// Adds one row's hash, read as a little-endian 256-bit integer, modulo 2^256.
    #[inline]
    pub fn add(&mut self, row: &[u8; 32]) {
        let mut limbs = [0u64; 4];
        for (limb, bytes) in limbs.iter_mut().zip(row.chunks_exact(8)) {
            *limb = bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        }
        self.add_limbs(limbs);
    }

    #[inline]
    fn add_limbs(&mut self, limbs: [u64; 4]) {
        let mut carry = false;
        for (mine, theirs) in self.0.iter_mut().zip(limbs) {
            let (sum, first) = mine.overflowing_add(theirs);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *mine = sum;
            carry = first | second;
        }
    }

    /// The sum as 32 little-endian bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut sum = Self::default();
        sum.add(bytes);
        sum
    }
}

/// The rowset digest of a set of rows: how many there are, and the sum of their keyed hashes.
///
/// Two sets of rows, hashed under the same key, are the same multiset of rows exactly if their digests are equal (up to
/// the strength argued in `docs/rowset.md`). Order, slicing into pieces and compression do not matter; digests of
/// disjoint parts add up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct RowsetDigest {
    /// Number of rows, n.
    pub rows: u64,
    /// Sum of the row hashes modulo 2^256, S.
    pub sum: RowsetSum,
}

impl RowsetDigest {
    /// Adds one row by its hash.
    #[inline]
    pub fn add_row(&mut self, row: &[u8; 32]) {
        self.rows += 1;
        self.sum.add(row);
    }
}

impl AddAssign for RowsetDigest {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum.add_limbs(other.sum.0);
    }
}

impl std::iter::Sum for RowsetDigest {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut total, part| {
            total += part;
            total
        })
    }
}

impl fmt::Debug for RowsetSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest::from_bytes(self.to_bytes()).fmt(f)
    }
}

impl fmt::Debug for RowsetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} rows, {:?})", self.rows, self.sum)
    }
}

/// How a rowset digest stands in JSON: the count as a decimal string, S as hex of its little-endian bytes.
#[derive(Serialize, Deserialize)]
struct Stored {
    n: String,
    s: Digest,
}

impl From<RowsetDigest> for Stored {
    fn from(digest: RowsetDigest) -> Self {
        Self { n: digest.rows.to_string(), s: Digest::from_bytes(digest.sum.to_bytes()) }
    }
}

impl TryFrom<Stored> for RowsetDigest {
    type Error = std::num::ParseIntError;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        Ok(Self { rows: stored.n.parse()?, sum: RowsetSum::from_bytes(stored.s.as_bytes()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_run_through_all_limbs_and_fall_off_the_end() {
        let mut sum = RowsetSum::default();
        sum.add(&[0xff; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        sum.add(&one);
        assert_eq!(sum, RowsetSum::default());
    }

    #[test]
    fn a_digest_survives_json() {
        let mut digest = RowsetDigest::default();
        digest.add_row(&[7; 32]);
        let text = serde_json::to_string(&digest).unwrap();
        assert!(text.contains("\"n\":\"1\""), "{text}");
        assert_eq!(serde_json::from_str::<RowsetDigest>(&text).unwrap(), digest);
    }
}

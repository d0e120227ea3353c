//! [`RowHasher`]: the hash of one row, of which the rowset digest is the sum ("rs1", `docs/rowset.md`).
//!
//! It takes a tuple's canonical bytes as they are; that they are canonical, and which columns are in them, is the
//! business of `column` and `file`. The sums are `base::RowsetDigest`.

pub use crate::manifest::ROWSET_ALG;

/// Separates the row key from every other use of a vault's secret.
const CONTEXT: &str = "barkeep rowset v1";

/// blake3 compresses blocks of 64 bytes; rows are padded to whole blocks.
const BLOCK: usize = 64;

/// Rows up to here are padded on the stack and hashed in one call, which costs half of two `update`s.
const ON_STACK: usize = 1024;

/// Hashes rows under a key derived from the vault's secret.
#[derive(Clone)]
pub struct RowHasher {
    key: [u8; 32],
}

impl RowHasher {
    /// A hasher for one vault.
    pub fn new(vault_secret: &[u8; 32]) -> Self {
        Self { key: blake3::derive_key(CONTEXT, vault_secret) }
    }

    /// The hash of one canonical tuple: `keyed_hash(K, tuple ‖ 0x80 ‖ 0…)`, padded to a multiple of 64 bytes.
    #[inline]
    pub fn hash(&self, canonical_tuple: &[u8]) -> [u8; 32] {
        let length = canonical_tuple.len();
        let padded = (length / BLOCK + 1) * BLOCK;
        // Rows of bars have 100 bytes; clearing the larger buffer costs them a tenth of their hash.
        if padded <= 2 * BLOCK {
            return self.hash_padded::<{ 2 * BLOCK }>(canonical_tuple, padded);
        }
        if padded <= ON_STACK {
            return self.hash_padded::<ON_STACK>(canonical_tuple, padded);
        }
        let mut padding = [0u8; BLOCK];
        padding[0] = 0x80;
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(canonical_tuple);
        hasher.update(&padding[..padded - length]);
        *hasher.finalize().as_bytes()
    }

    #[inline]
    fn hash_padded<const ROOM: usize>(&self, canonical_tuple: &[u8], padded: usize) -> [u8; 32] {
        let mut row = [0u8; ROOM];
        row[..canonical_tuple.len()].copy_from_slice(canonical_tuple);
        row[canonical_tuple.len()] = 0x80;
        *blake3::keyed_hash(&self.key, &row[..padded]).as_bytes()
    }
}

impl std::fmt::Debug for RowHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowHasher(***)")
    }
}

#[cfg(test)]
mod tests;

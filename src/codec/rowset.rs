//! The rowset digest "rs1" (`docs/rowset.md`): [`RowHasher`] hashes one row, [`RowSummer`] many and adds them up.
//!
//! They take a tuple's canonical bytes as they are; that they are canonical, and which columns are in them, is the
//! business of `column` and `file`. The sums are `base::RowsetDigest`.

use blake3::platform::Platform;

use crate::base::RowsetDigest;
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

/// Rows that are compressed side by side, where the processor can do as many.
const SIDE_BY_SIDE: usize = 16;

/// Blocks of a chunk of blake3, beyond which it works as a tree.
const CHUNK: usize = 16;

/// The longest row, in padded blocks, that waits for others: two chunks, whose hashes are hashed together.
const LONGEST: usize = 2 * CHUNK;

/// Flags of blake3's compression; the golden vectors hold them.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// Sums the hashes of many rows. Those of equal padded length wait for one another and are hashed side by side, at a
/// quarter of what one by one costs; the order in which hashes are added does not matter.
#[derive(Clone)]
pub struct RowSummer {
    hasher: RowHasher,
    /// The key as blake3's compression takes it.
    words: [u32; 8],
    platform: Platform,
    /// Padded rows that wait, by their number of blocks less one.
    waiting: Vec<Waiting>,
    digest: RowsetDigest,
}

/// Up to [`SIDE_BY_SIDE`] rows of the same number of blocks.
#[derive(Clone, Default)]
struct Waiting {
    /// The first chunks of those that have two.
    first: Vec<u8>,
    /// Their last chunks, padded to whole blocks.
    last: Vec<u8>,
    count: usize,
}

/// What one call of [`RowSummer::compress`] gives.
type Hashes = [u8; SIDE_BY_SIDE * 32];

impl RowSummer {
    /// Nothing yet, under one vault's key.
    pub fn new(vault_secret: &[u8; 32]) -> Self {
        Self::of(RowHasher::new(vault_secret))
    }

    /// Nothing yet, under a hasher's key.
    pub fn of(hasher: RowHasher) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(hasher.key.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let waiting = vec![Waiting::default(); LONGEST];
        Self { hasher, words, platform: Platform::detect(), waiting, digest: RowsetDigest::default() }
    }

    /// Adds the canonical tuple of `columns` columns whose fields are `fields`.
    #[inline]
    pub fn add(&mut self, columns: u16, fields: &[u8]) {
        let length = 2 + fields.len();
        let blocks = length / BLOCK + 1;
        let Some(waiting) = self.waiting.get_mut(blocks - 1) else {
            return self.add_long(columns, fields);
        };
        let columns = columns.to_be_bytes();
        let (mut head, mut fields, mut blocks_left) = (&columns[..], fields, blocks);
        if blocks > CHUNK {
            let (first, rest) = fields.split_at(CHUNK * BLOCK - head.len());
            waiting.first.extend_from_slice(head);
            waiting.first.extend_from_slice(first);
            (head, fields, blocks_left) = (&[], rest, blocks - CHUNK);
        }
        // Allocated with the first row of this length, and kept.
        waiting.last.resize(SIDE_BY_SIDE * blocks_left * BLOCK, 0);
        let at = waiting.count * blocks_left * BLOCK;
        let row = &mut waiting.last[at..at + blocks_left * BLOCK];
        let length = head.len() + fields.len();
        row[..head.len()].copy_from_slice(head);
        row[head.len()..length].copy_from_slice(fields);
        row[length] = 0x80;
        row[length + 1..].fill(0);
        waiting.count += 1;
        if waiting.count == SIDE_BY_SIDE {
            self.sum_waiting(blocks);
        }
    }

    /// Adds a whole canonical tuple, its count of columns included.
    #[inline]
    pub fn add_tuple(&mut self, tuple: &[u8]) {
        match tuple.split_first_chunk() {
            Some((columns, fields)) => self.add(u16::from_be_bytes(*columns), fields),
            None => self.digest.add_row(&self.hasher.hash(tuple)),
        }
    }

    #[inline(never)]
    fn add_long(&mut self, columns: u16, fields: &[u8]) {
        let mut padding = [0u8; BLOCK];
        padding[0] = 0x80;
        let length = 2 + fields.len();
        let mut hasher = blake3::Hasher::new_keyed(&self.hasher.key);
        hasher.update(&columns.to_be_bytes()).update(fields);
        hasher.update(&padding[..(length / BLOCK + 1) * BLOCK - length]);
        self.digest.add_row(hasher.finalize().as_bytes());
    }

    /// Adds up the rows of so many blocks that wait.
    fn sum_waiting(&mut self, blocks: usize) {
        // Blocks of the last chunk.
        match (blocks - 1) % CHUNK + 1 {
            1 => self.sum_of::<{ BLOCK }>(blocks),
            2 => self.sum_of::<{ 2 * BLOCK }>(blocks),
            3 => self.sum_of::<{ 3 * BLOCK }>(blocks),
            4 => self.sum_of::<{ 4 * BLOCK }>(blocks),
            5 => self.sum_of::<{ 5 * BLOCK }>(blocks),
            6 => self.sum_of::<{ 6 * BLOCK }>(blocks),
            7 => self.sum_of::<{ 7 * BLOCK }>(blocks),
            8 => self.sum_of::<{ 8 * BLOCK }>(blocks),
            9 => self.sum_of::<{ 9 * BLOCK }>(blocks),
            10 => self.sum_of::<{ 10 * BLOCK }>(blocks),
            11 => self.sum_of::<{ 11 * BLOCK }>(blocks),
            12 => self.sum_of::<{ 12 * BLOCK }>(blocks),
            13 => self.sum_of::<{ 13 * BLOCK }>(blocks),
            14 => self.sum_of::<{ 14 * BLOCK }>(blocks),
            15 => self.sum_of::<{ 15 * BLOCK }>(blocks),
            _ => self.sum_of::<{ CHUNK * BLOCK }>(blocks),
        }
    }

    /// The same, where the last chunk has `N` bytes.
    fn sum_of<const N: usize>(&mut self, blocks: usize) {
        let waiting = &self.waiting[blocks - 1];
        let count = waiting.count;
        if count == 0 {
            return;
        }
        let last = &waiting.last.as_chunks::<N>().0[..count];
        let mut hashes = [0; SIDE_BY_SIDE * 32];
        if blocks <= CHUNK {
            self.compress(last, 0, (KEYED_HASH, CHUNK_START, CHUNK_END | ROOT), &mut hashes);
        } else {
            let (mut first, mut parents) = (hashes, [0; SIDE_BY_SIDE * BLOCK]);
            let chunk = (KEYED_HASH, CHUNK_START, CHUNK_END);
            self.compress(waiting.first.as_chunks::<{ CHUNK * BLOCK }>().0, 0, chunk, &mut first);
            self.compress(last, 1, chunk, &mut hashes);
            let (parents, _) = parents.as_chunks_mut::<BLOCK>();
            for (at, parent) in parents.iter_mut().enumerate() {
                let (left, right) = parent.split_at_mut(32);
                left.copy_from_slice(&first[32 * at..32 * (at + 1)]);
                right.copy_from_slice(&hashes[32 * at..32 * (at + 1)]);
            }
            self.compress(&parents[..count], 0, (KEYED_HASH | PARENT, 0, ROOT), &mut hashes);
        }
        let (hashes, _) = hashes.as_chunks::<32>();
        hashes[..count].iter().for_each(|hash| self.digest.add_row(hash));
        let waiting = &mut self.waiting[blocks - 1];
        waiting.first.clear();
        waiting.count = 0;
    }

    /// Compresses one or more inputs of the same length side by side. The flags: of all their blocks, of the first, of the last.
    fn compress<const N: usize>(
        &self,
        inputs: &[[u8; N]],
        counter: u64,
        (flags, first, last): (u8, u8, u8),
        hashes: &mut Hashes,
    ) {
        let all: [&[u8; N]; SIDE_BY_SIDE] = std::array::from_fn(|at| &inputs[at.min(inputs.len() - 1)]);
        let increment = blake3::IncrementCounter::No;
        let inputs = &all[..inputs.len()];
        self.platform.hash_many(inputs, &self.words, counter, increment, flags, first, last, hashes);
    }

    /// The digest of all rows so far.
    pub fn digest(&mut self) -> RowsetDigest {
        (1..=LONGEST).for_each(|blocks| self.sum_waiting(blocks));
        self.digest
    }
}

impl std::fmt::Debug for RowSummer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowSummer(***)")
    }
}

impl std::fmt::Debug for RowHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowHasher(***)")
    }
}

#[cfg(test)]
mod tests;

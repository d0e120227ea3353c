//! What the fuzz targets share: where an input's bytes go, the first inputs, and the slow readers that they are held against.
//!
//! A slow reader is written from the format's description, over the whole input at once, and shares no code with barkeep.

pub mod law;
pub mod messages;
pub mod numbers;
pub mod tuples;

use std::fs;
use std::path::Path;

/// The first bytes of an input, which say how the rest is used.
pub struct Dials<'a>(pub &'a [u8]);

impl<'a> Dials<'a> {
    /// The next byte, 0 where there is none.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Sizes of blocks, in a circle: none is 0, and one in sixteen is large.
    pub fn sizes(&mut self) -> Vec<usize> {
        let count = usize::from(self.byte() % 5) + 1;
        let size = |byte: u8| match byte {
            240.. => usize::from(byte - 239) << 13,
            small => usize::from(small) + 1,
        };
        (0..count).map(|_| size(self.byte())).collect()
    }

    /// So many bytes, or what is left.
    pub fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Cuts bytes into blocks of these sizes, in a circle.
pub fn cut<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut blocks = Vec::new();
    let mut sizes = sizes.iter().cycle();
    while !bytes.is_empty() {
        let size = sizes.next().copied().unwrap_or(usize::MAX).clamp(1, bytes.len());
        let (block, rest) = bytes.split_at(size);
        blocks.push(block);
        bytes = rest;
    }
    blocks
}

/// Writes a target's first inputs into its corpus: one file each, rewritten with the same bytes at every start.
pub fn seed(target: &str, inputs: impl IntoIterator<Item = Vec<u8>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder for the corpus");
    for (at, input) in inputs.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{at:04}")), input).expect("a file in the corpus");
    }
}

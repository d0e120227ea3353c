//! [`HashingSink`]: hashes and counts a file's bytes on their way to the real sink, as a whole and by segments.

use std::io::{self, Write};

use crate::base::Digest;

pub(super) struct HashingSink<W> {
    inner: W,
    whole: blake3::Hasher,
    segment: blake3::Hasher,
    segment_start: u64,
    written: u64,
}

impl<W> HashingSink<W> {
    pub(super) fn new(inner: W) -> Self {
        let (whole, segment) = (blake3::Hasher::new(), blake3::Hasher::new());
        Self { inner, whole, segment, segment_start: 0, written: 0 }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Ends a segment: where it started, its length and hash.
    pub(super) fn cut(&mut self) -> (u64, u64, Digest) {
        let start = std::mem::replace(&mut self.segment_start, self.written);
        let digest = Digest::from(self.segment.finalize());
        self.segment.reset();
        (start, self.written - start, digest)
    }

    /// The sink, the bytes written and their hash.
    pub(super) fn finish(self) -> (W, u64, Digest) {
        (self.inner, self.written, Digest::from(self.whole.finalize()))
    }
}

impl<W: Write> Write for HashingSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.whole.update(&bytes[..written]);
        self.segment.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

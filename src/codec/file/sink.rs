//! [`HashingSink`]: hashes and counts a file's bytes on their way to the real sink, as a whole and by segments.

use std::io::{self, Write};

use crate::base::Digest;

/// Bytes that are hashed and handed on at once. The Parquet writer brings 8 KiB, of which blake3 would hash half as many side by
/// side as the processor can.
const TOGETHER: usize = 128 << 10;

pub(super) struct HashingSink<W> {
    inner: W,
    /// Not hashed and not handed on yet.
    pending: Vec<u8>,
    whole: blake3::Hasher,
    segment: blake3::Hasher,
    segment_start: u64,
    /// Pending bytes included.
    written: u64,
}

impl<W: Write> HashingSink<W> {
    pub(super) fn new(inner: W) -> Self {
        let (whole, segment) = (blake3::Hasher::new(), blake3::Hasher::new());
        Self { inner, pending: Vec::new(), whole, segment, segment_start: 0, written: 0 }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Ends a segment: where it started, its length and hash.
    pub(super) fn cut(&mut self) -> io::Result<(u64, u64, Digest)> {
        self.hand_on()?;
        let start = std::mem::replace(&mut self.segment_start, self.written);
        let digest = Digest::from(self.segment.finalize());
        self.segment.reset();
        Ok((start, self.written - start, digest))
    }

    /// The sink, the bytes written and their hash.
    pub(super) fn finish(mut self) -> io::Result<(W, u64, Digest)> {
        self.hand_on()?;
        Ok((self.inner, self.written, Digest::from(self.whole.finalize())))
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        self.take(&pending)?;
        pending.clear();
        self.pending = pending;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.whole.update(bytes);
        self.segment.update(bytes);
        Ok(())
    }
}

impl<W: Write> Write for HashingSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() + bytes.len() > TOGETHER {
            self.hand_on()?;
        }
        if bytes.len() < TOGETHER {
            self.pending.extend_from_slice(bytes);
        } else {
            self.take(bytes)?;
        }
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()?;
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes a call, up to a limit.
    struct Small {
        taken: Vec<u8>,
        limit: usize,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.taken.len() + bytes.len() > self.limit {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let some = &bytes[..bytes.len().min(1000)];
            self.taken.extend_from_slice(some);
            Ok(some.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_and_hashes_do_not_depend_on_how_they_come() {
        let bytes: Vec<u8> = (0..3 * TOGETHER + 77).map(|at| ((at * at) >> 3) as u8).collect();
        for piece in [1000, 8 << 10, TOGETHER - 1, TOGETHER, TOGETHER + 1, 2 * TOGETHER + 5] {
            let mut sink = HashingSink::new(Small { taken: Vec::new(), limit: usize::MAX });
            let (first, second) = bytes.split_at(TOGETHER + 9);
            first.chunks(piece).for_each(|piece| sink.write_all(piece).unwrap());
            let cut = sink.cut().unwrap();
            assert_eq!(cut, (0, first.len() as u64, Digest::from(blake3::hash(first))));
            second.chunks(piece).for_each(|piece| sink.write_all(piece).unwrap());
            let cut = sink.cut().unwrap();
            assert_eq!(cut, (first.len() as u64, second.len() as u64, Digest::from(blake3::hash(second))));
            let (inner, written, digest) = sink.finish().unwrap();
            assert_eq!((inner.taken == bytes, written), (true, bytes.len() as u64), "pieces of {piece}");
            assert_eq!(digest, Digest::from(blake3::hash(&bytes)));
        }
    }

    #[test]
    fn a_full_disk_is_an_error_at_the_latest_when_the_file_ends() {
        let mut sink = HashingSink::new(Small { taken: Vec::new(), limit: 10 });
        sink.write_all(&[7; 11]).unwrap();
        assert!(sink.cut().is_err());
        let mut sink = HashingSink::new(Small { taken: Vec::new(), limit: 10 });
        sink.write_all(&[7; 11]).unwrap();
        assert!(sink.finish().is_err());
        let mut sink = HashingSink::new(Small { taken: Vec::new(), limit: 10 });
        assert!(sink.write_all(&[7; TOGETHER]).is_err());
    }
}

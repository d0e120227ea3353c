//! [`Segments`]: the bytes of a column chunk while it grows.
//!
//! A buffer that doubles copies all it has each time, into pages that the kernel must clear first: of all pages that a dump of
//! orders touched for the first time, two thirds were for that.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// The largest room that is taken before it is known what it is for.
const MOST: usize = 512 << 10;

/// Bytes that stay where they were written.
#[derive(Default)]
pub(super) struct Segments {
    full: Vec<Bytes>,
    open: Vec<u8>,
    bytes: usize,
}

impl Write for Segments {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.open.capacity() - self.open.len() {
            // As much as there is already: few segments for long chunks, little room for short ones.
            let room = bytes.len().max(self.bytes.min(MOST));
            let full = std::mem::replace(&mut self.open, Vec::with_capacity(room));
            self.full.push(full.into());
        }
        self.open.extend_from_slice(bytes);
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was written, complete.
pub(super) struct Complete(Vec<Bytes>);

impl Segments {
    /// Nothing more will come.
    pub(super) fn complete(mut self) -> Complete {
        self.full.push(self.open.into());
        Complete(self.full)
    }
}

impl Length for Complete {
    fn len(&self) -> u64 {
        self.0.iter().map(|segment| segment.len() as u64).sum()
    }
}

impl ChunkReader for Complete {
    type T = Rest;

    fn get_read(&self, start: u64) -> Result<Rest> {
        let (mut skipped, mut rest) = (start, VecDeque::with_capacity(self.0.len()));
        for segment in &self.0 {
            let skip = skipped.min(segment.len() as u64);
            skipped -= skip;
            rest.push_back(segment.slice(skip as usize..));
        }
        match skipped {
            0 => Ok(Rest(rest)),
            _ => Err(ParquetError::EOF(format!("a chunk of {} bytes has none at {start}", self.len()))),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// All bytes from one on.
pub(super) struct Rest(VecDeque<Bytes>);

impl Read for Rest {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(segment) = self.0.front_mut() {
            if segment.is_empty() {
                self.0.pop_front();
                continue;
            }
            let some = segment.split_to(segment.len().min(into.len()));
            into[..some.len()].copy_from_slice(&some);
            return Ok(some.len());
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(lengths in prop::collection::vec(0_usize..5000, 0..40), start in 0_usize..50_000, some in 0_usize..3000) {
            let all: Vec<u8> = (0..lengths.iter().sum()).map(|at: usize| (at * 31 % 251) as u8).collect();
            let (mut segments, mut at) = (Segments::default(), 0);
            for length in lengths {
                segments.write_all(&all[at..at + length]).unwrap();
                at += length;
            }
            let complete = segments.complete();
            prop_assert_eq!(complete.len(), all.len() as u64);
            let mut read = Vec::new();
            let found = complete.get_read(start as u64).map(|mut rest| rest.read_to_end(&mut read));
            prop_assert_eq!(found.is_ok(), start <= all.len());
            prop_assert_eq!(&read[..], all.get(start..).unwrap_or_default());
            let bytes = complete.get_bytes(start as u64, some).ok();
            prop_assert_eq!(bytes.as_deref(), all.get(start..start + some));
        }
    }

    #[test]
    fn what_was_written_stays_where_it_is() {
        let mut segments = Segments::default();
        segments.write_all(&[1; 100]).unwrap();
        segments.write_all(&[2; 50]).unwrap();
        let place = segments.open.as_ptr();
        segments.write_all(&[3; 200]).unwrap();
        assert!(segments.full.iter().any(|segment| segment.as_ptr() == place));
    }
}

//! [`Groups`]: batches into row groups of one file, and [`Encoder`]: the same beside the thread that decodes the next batch.
//!
//! Encoding and compressing take longer than decoding; done beside it, one lane keeps up with the server where rows are
//! wide. The file does not depend on it: where a row group ends is decided here, by the batches alone.

use std::io::Write;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use arrow_array::RecordBatch;
use parquet::file::metadata::KeyValue;

use super::columns::Crew;
use super::output::Output;
use super::writer::{PieceLimits, RowGroupDigest};
use crate::base::Digest;
use crate::codec::CodecError;

pub(super) struct Groups<W: Write + Send> {
    output: Output<W>,
    limits: PieceLimits,
    /// Rows of the open group.
    rows: usize,
    digests: Vec<RowGroupDigest>,
}

impl<W: Write + Send> Groups<W> {
    pub(super) fn new(output: Output<W>, limits: PieceLimits) -> Self {
        Self { output, limits, rows: 0, digests: Vec::new() }
    }

    /// Writes a batch, alone or with a crew; a row group that is full closes. `last`: no other will follow.
    fn write(&mut self, batch: &RecordBatch, last: bool, crew: Option<&Crew>) -> Result<(), CodecError> {
        let mut at = 0;
        while at < batch.num_rows() {
            let rows = (batch.num_rows() - at).min(self.limits.group_rows.saturating_sub(self.rows).max(1));
            self.output.write(&batch.slice(at, rows), last, crew)?;
            self.rows += rows;
            at += rows;
            if self.rows >= self.limits.group_rows || self.output.memory() >= self.limits.group_bytes {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Closes the open row group, if there is one.
    pub(super) fn close(&mut self) -> Result<(), CodecError> {
        if self.rows == 0 {
            return Ok(());
        }
        let (offset, length, blake3) = self.output.end_group()?;
        let rows = std::mem::take(&mut self.rows) as u64;
        self.digests.push(RowGroupDigest { offset, length, rows, blake3 });
        Ok(())
    }

    /// Ends the file with one more note in its footer: the sink, its bytes and their hash, and its row groups.
    pub(super) fn finish(
        mut self,
        note: KeyValue,
    ) -> Result<(W, u64, Digest, Vec<RowGroupDigest>), CodecError> {
        self.close()?;
        let (sink, bytes, blake3) = self.output.finish(note)?;
        Ok((sink, bytes, blake3, self.digests))
    }
}

/// Row groups, here or on the thread that encodes a batch right now.
pub(super) struct Encoder<W: Write + Send> {
    groups: Place<W>,
    crew: Option<Crew>,
    /// Bytes of the file and of the open row group, as of the last batch that was waited for.
    bytes: u64,
}

/// The row groups with a batch more, or why not.
type Written<W> = (Box<Groups<W>>, Result<(), CodecError>);

enum Place<W: Write + Send> {
    Here(Box<Groups<W>>),
    Beside(Receiver<Written<W>>),
    /// After an error.
    Nowhere,
}

impl<W: Write + Send + 'static> Encoder<W> {
    pub(super) fn new(groups: Groups<W>) -> Self {
        Self { groups: Place::Here(Box::new(groups)), crew: None, bytes: 0 }
    }

    /// From now on batches that others follow are encoded by a crew.
    pub(super) fn use_crew(&mut self, crew: Crew) {
        self.crew = Some(crew);
    }

    /// Waits for the batch before, then encodes this one: beside the caller if more will follow. Only where the batch before
    /// kept it waiting all of the crew takes part: else they would but take the processors from the server.
    pub(super) fn write(&mut self, batch: RecordBatch, last: bool) -> Result<(), CodecError> {
        let (mut groups, waited) = self.take()?;
        self.bytes = groups.output.bytes() as u64;
        match &self.crew {
            Some(crew) if !last => {
                let (done, groups_back) = mpsc::channel();
                let all = waited.then(|| crew.clone());
                (crew.beside)(Box::new(move || {
                    let written = groups.write(&batch, false, all.as_ref());
                    drop(batch);
                    // Nobody listens where the dump was given up.
                    let _ = done.send((groups, written));
                }));
                self.groups = Place::Beside(groups_back);
            }
            _ => {
                groups.write(&batch, last, None)?;
                self.groups = Place::Here(groups);
            }
        }
        Ok(())
    }

    /// The row groups, when no batch is under way.
    pub(super) fn wait(&mut self) -> Result<&mut Groups<W>, CodecError> {
        let (groups, _) = self.take()?;
        self.groups = Place::Here(groups);
        match &mut self.groups {
            Place::Here(groups) => Ok(groups),
            _ => Err(ended()),
        }
    }

    /// Bytes of the file so far, but for the batch that was handed over last. The same for the same rows, whichever thread
    /// encodes them: where a piece ends depends on it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(
        mut self,
        note: KeyValue,
    ) -> Result<(W, u64, Digest, Vec<RowGroupDigest>), CodecError> {
        let (groups, _) = self.take()?;
        groups.finish(note)
    }

    /// The row groups, and whether they had to be waited for.
    fn take(&mut self) -> Result<(Box<Groups<W>>, bool), CodecError> {
        match std::mem::replace(&mut self.groups, Place::Nowhere) {
            Place::Here(groups) => Ok((groups, false)),
            Place::Beside(done) => {
                let (answer, waited) = match done.try_recv() {
                    Err(TryRecvError::Empty) => (done.recv().map_err(|_| ended()), true),
                    answer => (answer.map_err(|_| ended()), false),
                };
                let (groups, written) = answer?;
                written.map(|()| (groups, waited))
            }
            Place::Nowhere => Err(ended()),
        }
    }
}

fn ended() -> CodecError {
    CodecError::Piece("its encoder ended before".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, Int32Array, StringArray};

    use super::super::columns::Beside;
    use super::*;
    use crate::codec::shape::{ColumnShape, PieceShape};
    use crate::manifest::Mapping;

    /// Takes the first bytes, then none.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn encoder(beside: Beside) -> (Encoder<Full>, RecordBatch) {
        let column = ColumnShape { name: "c".into(), mapping: Mapping::Int32, derived: false };
        let shape = PieceShape { columns: vec![column], metadata: String::new() };
        let limits = PieceLimits { group_rows: 2, ..PieceLimits::default() };
        let output = Output::new(Full(16), &shape, limits);
        let schema = output.schema().clone();
        let mut encoder = Encoder::new(Groups::new(output, limits));
        encoder.use_crew(Crew { beside, encoders: 2 });
        let values = Arc::new(Int32Array::from(vec![1, 2, 3]));
        (encoder, RecordBatch::try_new(schema, vec![values]).unwrap())
    }

    #[test]
    fn an_error_on_the_other_thread_ends_the_file() {
        let (mut encoder, batch) = encoder(Arc::new(|job| drop(std::thread::spawn(job))));
        encoder.write(batch.clone(), false).unwrap();
        let error = encoder.write(batch.clone(), false).unwrap_err().to_string();
        assert!(!error.contains("ended"), "the disk's own error comes first: {error}");
        assert!(encoder.write(batch, false).is_err());
    }

    #[test]
    fn a_crew_writes_what_one_writes_alone() {
        let column = |name: &str, mapping| ColumnShape { name: name.into(), mapping, derived: false };
        let columns = vec![
            column("a", Mapping::Int32),
            column("b", Mapping::Utf8),
            column("c", Mapping::Float64),
            column("d", Mapping::Utf8),
        ];
        let shape = PieceShape { columns, metadata: String::new() };
        let limits = PieceLimits { group_rows: 5000, ..PieceLimits::default() };
        let texts = |length: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..3000).map(|row| format!("{row:0length$}"))))
        };
        let numbers = Arc::new(Int32Array::from_iter_values(0..3000));
        let floats = Arc::new(Float64Array::from_iter_values((0..3000).map(f64::from)));
        let written = |beside: Option<Beside>| {
            let output = Output::new(Vec::new(), &shape, limits);
            let arrays: Vec<ArrayRef> = vec![numbers.clone(), texts(9), floats.clone(), texts(90)];
            let batch = RecordBatch::try_new(output.schema().clone(), arrays).unwrap();
            let mut groups = Groups::new(output, limits);
            let crew = beside.map(|beside| Crew { beside, encoders: 3 });
            (0..4).for_each(|_| groups.write(&batch, false, crew.as_ref()).unwrap());
            let (file, _, digest, groups) = groups.finish(KeyValue::new("k".into(), "v".to_owned())).unwrap();
            assert_eq!((digest, groups.len()), (Digest::of(&file), 3));
            file
        };
        let alone = written(None);
        assert!(alone == written(Some(Arc::new(|job| drop(std::thread::spawn(job))))));
        assert!(alone == written(Some(Arc::new(drop))), "helpers that never come are not waited for");
        assert!(alone == written(Some(Arc::new(|job| job()))), "one helper does it all");
    }

    #[test]
    fn a_thread_that_never_answers_is_an_error() {
        let (mut encoder, batch) = encoder(Arc::new(drop));
        encoder.write(batch, false).unwrap();
        assert!(encoder.wait().is_err());
    }
}

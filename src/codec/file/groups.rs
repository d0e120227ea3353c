//! [`Groups`]: batches into row groups of one file, and [`Encoder`]: the same beside the thread that decodes the next batch.
//!
//! Encoding and compressing take longer than decoding; done beside it, one lane keeps up with the server where rows are
//! wide. The file does not depend on it: where a row group ends is decided here, by the batches alone.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use arrow_array::RecordBatch;
use parquet::file::metadata::KeyValue;

use super::cluster::{self, Cluster};
use super::output::Output;
use super::writer::{PieceLimits, RowGroupDigest};
use crate::base::Digest;
use crate::codec::CodecError;

/// Runs a job on another thread.
pub type Beside = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// Some rows on their way into a row group.
pub(super) struct Batch {
    pub(super) rows: RecordBatch,
    /// No other will follow.
    pub(super) last: bool,
    /// They stay where they are: the sidecar names some of them by their place.
    pub(super) placed: bool,
}

/// What is known of a file when it ends.
pub(super) struct Ended<W> {
    pub(super) sink: W,
    pub(super) bytes: u64,
    pub(super) blake3: Digest,
    pub(super) row_groups: Vec<RowGroupDigest>,
    /// Rows that were put in order.
    pub(super) clustered: u64,
}

pub(super) struct Groups<W: Write + Send> {
    output: Output<W>,
    limits: PieceLimits,
    /// Rows of the open group.
    rows: usize,
    digests: Vec<RowGroupDigest>,
    /// Those of them that wait to be put in order, where rows are.
    cluster: Option<Cluster>,
    clustered: u64,
}

impl<W: Write + Send> Groups<W> {
    /// `by`: columns in whose order the rows of a group stand; none for the server's.
    pub(super) fn new(output: Output<W>, limits: PieceLimits, by: &[usize]) -> Self {
        let cluster = (!by.is_empty()).then(|| Cluster::new(by.to_vec()));
        Self { output, limits, rows: 0, digests: Vec::new(), cluster, clustered: 0 }
    }

    /// Writes a batch; a row group that is full closes.
    fn write(&mut self, batch: &Batch) -> Result<(), CodecError> {
        let (mut at, all) = (0, batch.rows.num_rows());
        while at < all {
            let rows = (all - at).min(self.limits.group_rows.saturating_sub(self.rows).max(1));
            let slice = batch.rows.slice(at, rows);
            match &mut self.cluster {
                Some(cluster) if !batch.placed && cluster.takes(&slice) => {
                    cluster.push(slice);
                }
                _ => {
                    self.release(self.limits.group_rows)?;
                    self.output.write(&slice, if batch.last { rows } else { self.limits.group_rows })?;
                }
            }
            self.rows += rows;
            at += rows;
            let held = self.cluster.as_ref().map_or(0, Cluster::bytes);
            if self.rows >= self.limits.group_rows || self.output.memory() + held >= self.limits.group_bytes {
                self.close()?;
            } else if held >= cluster::RUN {
                self.release(self.limits.group_rows)?;
            }
        }
        Ok(())
    }

    /// Writes what waits to be put in order, into a group that will have so many rows.
    fn release(&mut self, group_rows: usize) -> Result<(), CodecError> {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        self.clustered += cluster.rows() as u64;
        cluster.take(|batch| self.output.write(batch, group_rows))
    }

    /// Closes the open row group, if there is one.
    pub(super) fn close(&mut self) -> Result<(), CodecError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.release(self.rows)?;
        let (offset, length, blake3) = self.output.end_group()?;
        let rows = std::mem::take(&mut self.rows) as u64;
        self.digests.push(RowGroupDigest { offset, length, rows, blake3 });
        Ok(())
    }

    /// Ends the file with one more note in its footer.
    fn finish(mut self, note: KeyValue) -> Result<Ended<W>, CodecError> {
        self.close()?;
        let (sink, bytes, blake3) = self.output.finish(note)?;
        Ok(Ended { sink, bytes, blake3, row_groups: self.digests, clustered: self.clustered })
    }
}

/// Row groups, here or on the thread that encodes a batch right now.
pub(super) struct Encoder<W: Write + Send> {
    groups: Place<W>,
    beside: Option<Beside>,
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
        Self { groups: Place::Here(Box::new(groups)), beside: None, bytes: 0 }
    }

    /// From now on batches that others follow are encoded by `beside`.
    pub(super) fn use_threads(&mut self, beside: Beside) {
        self.beside = Some(beside);
    }

    /// Waits for the batch before, then encodes this one: beside the caller if more will follow.
    pub(super) fn write(&mut self, batch: Batch) -> Result<(), CodecError> {
        let mut groups = self.take()?;
        self.bytes = groups.output.bytes() as u64;
        match &self.beside {
            Some(beside) if !batch.last => {
                let (done, groups_back) = mpsc::channel();
                beside(Box::new(move || {
                    let written = groups.write(&batch);
                    drop(batch);
                    // Nobody listens where the dump was given up.
                    let _ = done.send((groups, written));
                }));
                self.groups = Place::Beside(groups_back);
            }
            _ => {
                groups.write(&batch)?;
                self.groups = Place::Here(groups);
            }
        }
        Ok(())
    }

    /// The row groups, when no batch is under way.
    pub(super) fn wait(&mut self) -> Result<&mut Groups<W>, CodecError> {
        let groups = self.take()?;
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

    pub(super) fn finish(mut self, note: KeyValue) -> Result<Ended<W>, CodecError> {
        self.take()?.finish(note)
    }

    fn take(&mut self) -> Result<Box<Groups<W>>, CodecError> {
        match std::mem::replace(&mut self.groups, Place::Nowhere) {
            Place::Here(groups) => Ok(groups),
            Place::Beside(done) => {
                let (groups, written) = done.recv().map_err(|_| ended())?;
                written.map(|()| groups)
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

    use arrow_array::Int32Array;

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

    fn encoder(beside: Beside) -> (Encoder<Full>, impl Fn() -> Batch) {
        let column = ColumnShape { name: "c".into(), mapping: Mapping::Int32, derived: false };
        let shape = PieceShape { columns: vec![column], metadata: String::new(), clustered_by: Vec::new() };
        let limits = PieceLimits { group_rows: 2, ..PieceLimits::default() };
        let output = Output::new(Full(16), &shape, limits);
        let schema = output.schema().clone();
        let mut encoder = Encoder::new(Groups::new(output, limits, &[]));
        encoder.use_threads(beside);
        let values = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let rows = RecordBatch::try_new(schema, vec![values]).unwrap();
        (encoder, move || Batch { rows: rows.clone(), last: false, placed: false })
    }

    #[test]
    fn an_error_on_the_other_thread_ends_the_file() {
        let (mut encoder, batch) = encoder(Arc::new(|job| drop(std::thread::spawn(job))));
        encoder.write(batch()).unwrap();
        let error = encoder.write(batch()).unwrap_err().to_string();
        assert!(!error.contains("ended"), "the disk's own error comes first: {error}");
        assert!(encoder.write(batch()).is_err());
    }

    #[test]
    fn a_thread_that_never_answers_is_an_error() {
        let (mut encoder, batch) = encoder(Arc::new(drop));
        encoder.write(batch()).unwrap();
        assert!(encoder.wait().is_err());
    }
}

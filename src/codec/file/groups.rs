//! [`Groups`]: batches into row groups of one file, and [`Encoder`]: the same beside the thread that decodes the next batches.
//!
//! Encoding and compressing take longer than decoding; done beside it, one lane keeps up with the server where rows are
//! wide. The file does not depend on it: where a row group ends is decided here, by the batches alone.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use arrow_array::RecordBatch;
use parquet::file::metadata::KeyValue;

use super::cluster::{self, Cluster};
use super::columns::Crew;
use super::output::Output;
use super::precedent::Precedent;
use super::writer::{PieceLimits, RowGroupDigest};
use crate::base::Digest;
use crate::codec::CodecError;

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

    /// Writes a batch, alone or with a crew; a row group that is full closes.
    fn write(&mut self, batch: &Batch, crew: Option<&Crew>) -> Result<(), CodecError> {
        let (mut at, all) = (0, batch.rows.num_rows());
        while at < all {
            let rows = (all - at).min(self.limits.group_rows.saturating_sub(self.rows).max(1));
            let slice = batch.rows.slice(at, rows);
            match &mut self.cluster {
                Some(cluster) if !batch.placed && cluster.takes(&slice) => {
                    cluster.push(slice);
                }
                _ => {
                    self.release(self.limits.group_rows, crew)?;
                    self.output.write(
                        &slice,
                        if batch.last { rows } else { self.limits.group_rows },
                        crew,
                    )?;
                }
            }
            self.rows += rows;
            at += rows;
            let held = self.cluster.as_ref().map_or(0, Cluster::bytes);
            if self.rows >= self.limits.group_rows || self.output.memory() + held >= self.limits.group_bytes {
                self.close()?;
            } else if held >= cluster::RUN {
                self.release(self.limits.group_rows, crew)?;
            }
        }
        Ok(())
    }

    /// Writes what waits to be put in order, into a group that will have so many rows.
    fn release(&mut self, group_rows: usize, crew: Option<&Crew>) -> Result<(), CodecError> {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        self.clustered += cluster.rows() as u64;
        cluster.take(|batch| self.output.write(batch, group_rows, crew))
    }

    /// Closes the open row group, if there is one.
    pub(super) fn close(&mut self) -> Result<(), CodecError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.release(self.rows, None)?;
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

/// Batches that may be on their way before the oldest must be encoded: a row group that closes, or the choice of encodings, takes
/// as long as several of them, and meanwhile rows should go on coming.
const AHEAD: usize = 4;

/// Bytes that they may have; a batch that is larger waits for all before it.
const AHEAD_BYTES: usize = 32 << 20;

/// Row groups, here or on the thread that encodes batches right now.
pub(super) struct Encoder<W: Write + Send> {
    groups: Place<W>,
    crew: Option<Crew>,
    /// Bytes of the file and of the open row group after each of the last batches that are encoded, oldest first.
    sizes: VecDeque<u64>,
    /// Bytes as of the batch that was handed over [`AHEAD`] batches ago.
    bytes: u64,
}

enum Place<W: Write + Send> {
    Here(Box<Groups<W>>),
    Beside(Working<W>),
    /// After an error.
    Nowhere,
}

/// A thread that encodes batches until there are no more.
struct Working<W: Write + Send> {
    batches: Sender<Batch>,
    encoded: Receiver<Encoded<W>>,
    /// Bytes of the batches that are on their way.
    under_way: VecDeque<usize>,
}

/// What a thread that encodes has to say.
enum Encoded<W: Write + Send> {
    /// A batch more, and how large the file is with it.
    Batch(u64),
    /// No batch came any more, or one could not be written.
    Ended(Box<Groups<W>>, Result<(), CodecError>),
}

impl<W: Write + Send + 'static> Encoder<W> {
    pub(super) fn new(groups: Groups<W>) -> Self {
        Self { groups: Place::Here(Box::new(groups)), crew: None, sizes: VecDeque::new(), bytes: 0 }
    }

    /// From now on batches that others follow are encoded by a crew.
    pub(super) fn use_crew(&mut self, crew: Crew) {
        self.crew = Some(crew);
    }

    /// To be called before the first batch; see [`Output::heed`].
    pub(super) fn heed(&mut self, precedent: Precedent) {
        if let Place::Here(groups) = &mut self.groups {
            groups.output.heed(precedent);
        }
    }

    /// Encodes a batch: beside the caller if more will follow, and when there is room for it.
    pub(super) fn write(&mut self, batch: Batch) -> Result<(), CodecError> {
        match self.crew.clone() {
            Some(crew) if !batch.last => self.hand_over(batch, crew)?,
            _ => {
                let mut groups = self.take()?;
                groups.write(&batch, None)?;
                self.sizes.push_back(groups.output.bytes() as u64);
                self.groups = Place::Here(groups);
            }
        }
        while self.sizes.len() + self.under_way() > AHEAD {
            match self.sizes.pop_front() {
                Some(bytes) => self.bytes = bytes,
                None => self.wait_for_one()?,
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, batch: Batch, crew: Crew) -> Result<(), CodecError> {
        let bytes = batch.rows.get_array_memory_size();
        while let Place::Beside(working) = &self.groups
            && !working.under_way.is_empty()
            && working.under_way.iter().sum::<usize>() + bytes > AHEAD_BYTES
        {
            self.wait_for_one()?;
        }
        if !matches!(self.groups, Place::Beside(_)) {
            self.groups = Place::Beside(Working::begin(self.take()?, crew));
        }
        let Place::Beside(working) = &mut self.groups else { return Err(ended()) };
        working.under_way.push_back(bytes);
        // A thread that has ended said why, which is heard where it is waited for.
        match working.batches.send(batch) {
            Ok(()) => Ok(()),
            Err(_) => self.take().and(Err(ended())),
        }
    }

    fn under_way(&self) -> usize {
        if let Place::Beside(working) = &self.groups { working.under_way.len() } else { 0 }
    }

    /// Waits until the oldest batch that is on its way is encoded.
    fn wait_for_one(&mut self) -> Result<(), CodecError> {
        let Place::Beside(working) = &mut self.groups else { return Err(ended()) };
        match working.encoded.recv() {
            Ok(Encoded::Batch(bytes)) => {
                working.under_way.pop_front();
                self.sizes.push_back(bytes);
                Ok(())
            }
            Ok(Encoded::Ended(_, written)) => {
                self.groups = Place::Nowhere;
                written.and(Err(ended()))
            }
            Err(_) => {
                self.groups = Place::Nowhere;
                Err(ended())
            }
        }
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

    /// Bytes of the file so far, but for the batches that were handed over last. The same for the same rows, whichever thread
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
            Place::Beside(Working { batches, encoded, .. }) => {
                drop(batches);
                loop {
                    match encoded.recv().map_err(|_| ended())? {
                        Encoded::Batch(bytes) => self.sizes.push_back(bytes),
                        Encoded::Ended(groups, written) => return written.map(|()| groups),
                    }
                }
            }
            Place::Nowhere => Err(ended()),
        }
    }
}

impl<W: Write + Send + 'static> Working<W> {
    fn begin(mut groups: Box<Groups<W>>, crew: Crew) -> Self {
        let (batches, coming) = mpsc::channel::<Batch>();
        let (say, encoded) = mpsc::channel();
        let beside = Arc::clone(&crew.beside);
        beside(Box::new(move || {
            let mut written = Ok(());
            let mut ahead = None;
            while let Some(batch) = ahead.take().or_else(|| coming.recv().ok()) {
                ahead = coming.try_recv().ok();
                // Only what one thread is behind with takes all of the crew: else they would but take the processors from the
                // server.
                written = groups.write(&batch, ahead.is_some().then_some(&crew));
                drop(batch);
                // Nobody listens where the dump was given up.
                if written.is_err() || say.send(Encoded::Batch(groups.output.bytes() as u64)).is_err() {
                    break;
                }
            }
            let _ = say.send(Encoded::Ended(groups, written));
        }));
        Self { batches, encoded, under_way: VecDeque::new() }
    }
}

fn ended() -> CodecError {
    CodecError::Piece("its encoder ended before".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io;

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

    fn encoder(beside: Beside) -> (Encoder<Full>, impl Fn() -> Batch) {
        let column = ColumnShape { name: "c".into(), mapping: Mapping::Int32, derived: false };
        let shape = PieceShape { columns: vec![column], metadata: String::new(), clustered_by: Vec::new() };
        let limits = PieceLimits { group_rows: 2, ..PieceLimits::default() };
        let output = Output::new(Full(16), &shape, limits);
        let schema = output.schema().clone();
        let mut encoder = Encoder::new(Groups::new(output, limits, &[]));
        encoder.use_crew(Crew { beside, encoders: 2 });
        let values = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let rows = RecordBatch::try_new(schema, vec![values]).unwrap();
        (encoder, move || Batch { rows: rows.clone(), last: false, placed: false })
    }

    #[test]
    fn an_error_on_the_other_thread_ends_the_file() {
        let (mut encoder, batch) = encoder(Arc::new(|job| drop(std::thread::spawn(job))));
        let failed = (0..AHEAD + 2).find_map(|_| encoder.write(batch()).err());
        let error = failed.expect("the disk is full").to_string();
        assert!(!error.contains("ended"), "the disk's own error comes first: {error}");
        assert!(encoder.write(batch()).is_err());
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
        let shape = PieceShape { columns, metadata: String::new(), clustered_by: Vec::new() };
        let limits = PieceLimits { group_rows: 5000, ..PieceLimits::default() };
        let texts = |length: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..3000).map(|row| format!("{row:0length$}"))))
        };
        let numbers = Arc::new(Int32Array::from_iter_values(0..3000));
        let floats = Arc::new(Float64Array::from_iter_values((0..3000).map(f64::from)));
        let written = |beside: Option<Beside>| {
            let output = Output::new(Vec::new(), &shape, limits);
            let arrays: Vec<ArrayRef> = vec![numbers.clone(), texts(9), floats.clone(), texts(90)];
            let rows = RecordBatch::try_new(output.schema().clone(), arrays).unwrap();
            let batch = Batch { rows, last: false, placed: false };
            let mut groups = Groups::new(output, limits, &[]);
            let crew = beside.map(|beside| Crew { beside, encoders: 3 });
            (0..4).for_each(|_| groups.write(&batch, crew.as_ref()).unwrap());
            let ended = groups.finish(KeyValue::new("k".into(), "v".to_owned())).unwrap();
            assert_eq!((ended.blake3, ended.row_groups.len()), (Digest::of(&ended.sink), 3));
            ended.sink
        };
        let alone = written(None);
        assert!(alone == written(Some(Arc::new(|job| drop(std::thread::spawn(job))))));
        assert!(alone == written(Some(Arc::new(drop))), "helpers that never come are not waited for");
        assert!(alone == written(Some(Arc::new(|job| job()))), "one helper does it all");
    }

    #[test]
    fn a_thread_that_never_answers_is_an_error() {
        let (mut encoder, batch) = encoder(Arc::new(drop));
        assert!(encoder.write(batch()).is_err());
        assert!(encoder.wait().is_err());
    }
}

//! [`partitions`]: the pieces of some tables, spread over so many streams of batches.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;

use super::QueryError;
use crate::base::{Digest, chain};
use crate::codec::CodecError;
use crate::codec::file::{BatchReader, PieceBounds, ViewColumn};
use crate::manifest::{Manifest, Piece, Table};
use crate::plan::copy::piece_shape;
use crate::store::{StoreError, Vault};

/// Batches that wait between reading and the query.
const WAITING: usize = 2;

/// What reading failed at. DataFusion shares errors between the parts of a plan, and gives none of them back whole.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<QueryError>>>);

impl Failure {
    fn note(&self, error: QueryError) -> DataFusionError {
        let text = chain(&error);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        DataFusionError::Execution(text)
    }

    /// The first one since this was asked before.
    pub(super) fn take(&self) -> Option<QueryError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The files of one backup. Each is held against its digest once, before it is read.
pub(super) struct Files {
    pub(super) vault: Vault,
    pub(super) manifest: Manifest,
    failure: Failure,
    sound: Mutex<BTreeMap<String, Arc<Mutex<bool>>>>,
}

impl fmt::Debug for Files {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Files({})", self.manifest.head.id)
    }
}

impl Files {
    pub(super) fn new(vault: Vault, manifest: Manifest, failure: &Failure) -> Self {
        Self { vault, manifest, failure: failure.clone(), sound: Mutex::default() }
    }

    fn open(&self, path: &str, bytes: u64, blake3: Digest) -> Result<File, QueryError> {
        let sound = self
            .sound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(path.to_owned())
            .or_default()
            .clone();
        let mut sound = sound.lock().unwrap_or_else(PoisonError::into_inner);
        if !*sound {
            self.vault.check_digest(path, bytes, blake3)?;
            *sound = true;
        }
        let place = self.vault.place(path);
        File::open(&place).map_err(|error| StoreError::io("read", &place)(error).into())
    }
}

/// One piece, or some of its row groups.
struct Job {
    table: usize,
    piece: usize,
    groups: Option<Range<usize>>,
    rows: u64,
    columns: Arc<Vec<ViewColumn>>,
}

/// Streams that together give all rows of `leaves` (index of a table, and columns of it in the order of `schema`).
pub(super) fn partitions(
    files: &Arc<Files>,
    leaves: Vec<(usize, Vec<ViewColumn>)>,
    schema: &SchemaRef,
    width: usize,
) -> Result<Vec<Arc<dyn PartitionStream>>, QueryError> {
    let mut jobs = Vec::new();
    for (table, columns) in leaves {
        let columns = Arc::new(columns);
        for piece in files.manifest.body.tables[table].units.iter().flat_map(|unit| &unit.pieces) {
            let found = files.manifest.head.pieces.get(*piece);
            let found = found.ok_or_else(|| {
                QueryError::Refused("the manifest names a piece that it does not have".to_owned())
            })?;
            jobs.extend(split(found, width, &columns).map(|(groups, rows)| Job {
                table,
                piece: *piece,
                groups,
                rows,
                columns: columns.clone(),
            }));
        }
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.rows));
    let mut streams: Vec<(u64, Vec<Job>)> =
        (0..width.clamp(1, jobs.len().max(1))).map(|_| (0, Vec::new())).collect();
    for job in jobs {
        if let Some(least) = streams.iter_mut().min_by_key(|(rows, _)| *rows) {
            least.0 += job.rows;
            least.1.push(job);
        }
    }
    let stream = |(_, jobs)| -> Arc<dyn PartitionStream> {
        Arc::new(Stream { files: files.clone(), schema: schema.clone(), jobs: Arc::new(jobs) })
    };
    Ok(streams.into_iter().map(stream).collect())
}

/// The row groups of a piece in `width` ranges; the piece whole where its sidecar has to be read along with it.
fn split(
    piece: &Piece,
    width: usize,
    columns: &[ViewColumn],
) -> impl Iterator<Item = (Option<Range<usize>>, u64)> {
    let groups = piece.row_groups.len();
    let whole = groups < 2 || columns.iter().any(|column| column.as_text);
    let parts = if whole { 1 } else { width.clamp(1, groups) };
    let ranges: Vec<_> = (0..parts)
        .map(|part| part * groups / parts..(part + 1) * groups / parts)
        .map(|range| {
            let rows = piece.row_groups[range.clone()].iter().map(|group| group.rows).sum();
            (if whole { None } else { Some(range) }, rows)
        })
        .collect();
    ranges.into_iter()
}

struct Stream {
    files: Arc<Files>,
    schema: SchemaRef,
    jobs: Arc<Vec<Job>>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} pieces of {:?}", self.jobs.len(), self.files)
    }
}

impl PartitionStream for Stream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(self.schema.clone(), WAITING);
        let sender = builder.tx();
        let (files, schema, jobs) = (self.files.clone(), self.schema.clone(), self.jobs.clone());
        builder.spawn_blocking(move || {
            for job in jobs.iter() {
                // Whoever no longer listens has all he wants.
                let mut send = |batch| sender.blocking_send(Ok(batch)).is_ok();
                read(&files, &schema, job, &mut send).map_err(|error| files.failure.note(error))?;
            }
            Ok(())
        });
        builder.build()
    }
}

fn read(
    files: &Files,
    schema: &SchemaRef,
    job: &Job,
    send: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<(), QueryError> {
    let (table, piece): (&Table, &Piece) =
        (&files.manifest.body.tables[job.table], &files.manifest.head.pieces[job.piece]);
    let rows_error = |source: CodecError| match source.is_unprintable() {
        // Nothing is damaged: the query asks for what it cannot be given.
        true => QueryError::Refused(format!(
            "{}: {}; leave the column out, or restore the table",
            table.name,
            chain(&source)
        )),
        false => QueryError::Rows { table: table.name.clone(), source: source.in_file(&piece.path) },
    };
    let file = files.open(&piece.path, piece.bytes, piece.blake3)?;
    let sidecar = match &piece.exceptions {
        Some(sidecar) => Some(files.open(&sidecar.path, sidecar.bytes, sidecar.blake3)?),
        None => None,
    };
    let bounds = PieceBounds { rows: piece.rowset.rows, copy_bytes: piece.copy_bytes };
    // A piece gives its columns in their own order, a query wants them in its.
    let mut ascending = job.columns.to_vec();
    ascending.sort_by_key(|column| column.index);
    ascending.dedup();
    let order: Vec<usize> =
        job.columns.iter().filter_map(|column| ascending.iter().position(|other| other == column)).collect();
    let shape = piece_shape(table);
    let mut reader = BatchReader::open(file, sidecar, &shape, bounds, &ascending, job.groups.clone())
        .map_err(rows_error)?;
    while let Some(batch) = reader.next_batch().map_err(rows_error)? {
        let arrays: Vec<ArrayRef> = order.iter().map(|at| batch.column(*at).clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
            .map_err(|error| rows_error(error.into()))?;
        if !send(batch) {
            break;
        }
    }
    Ok(())
}

//! [`PieceWriter`]: tuples → one Parquet file.
//!
//! Strips of them are made canonical, decoded column by column, noted in the sidecar where a value does not fit, and hashed.
//! Memory is bounded by [`PieceLimits`]. It does not know when a piece is large enough; the caller asks
//! [`PieceWriter::bytes_written`] and starts another one.

use std::io::{self, Write};
use std::ops::Range;

use arrow_array::builder::BooleanBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use parquet::file::metadata::KeyValue;

use super::columns::Crew;
use super::exceptions::{Exceptions, FinishedExceptions};
use super::groups::{Batch, Encoder, Ended, Groups};
use super::output::Output;
use super::precedent::Precedent;
use super::schema::EXCEPTIONS_KEY;
use crate::base::{Digest, RowsetDigest};
use crate::codec::CodecError;
use crate::codec::column::{ColumnBuilder, Pushed, STRIP, Strip};
use crate::codec::rowset::{RowHasher, RowSummer};
use crate::codec::shape::{ColumnShape, PieceShape};
use crate::manifest::Mapping;

/// A tuple from this size on is encoded alone and at once: of a hundred megabytes every further copy counts.
pub const LARGE_TUPLE: usize = 16 << 20;

/// When a piece writer lets go of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceLimits {
    /// Rows after which a row group closes.
    pub group_rows: usize,
    /// Bytes in memory (column vectors and encoded pages) after which a row group closes.
    pub group_bytes: usize,
    /// Rows that are collected before they are encoded.
    pub batch_rows: usize,
    /// Bytes that are collected before they are encoded.
    pub batch_bytes: usize,
    /// The zstd level of all columns.
    pub zstd_level: i32,
    /// No dictionaries and no statistics, for which the Parquet writer copies values whole.
    pub plain: bool,
}

impl Default for PieceLimits {
    /// 1 Mi rows (smaller groups repeat dictionaries), 48 MiB, and batches that stay in the processor's caches. A lane may hold
    /// two row groups, one of which is being written: with 64 MiB two million orders took 201 MiB on a busy machine, above what
    /// is promised.
    fn default() -> Self {
        Self {
            group_rows: 1 << 20,
            group_bytes: 48 << 20,
            batch_rows: 16_384,
            batch_bytes: 8 << 20,
            zstd_level: 3,
            plain: false,
        }
    }
}

/// One row group, which can be fetched and proven by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroupDigest {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Rows.
    pub rows: u64,
    /// blake3 of these bytes.
    pub blake3: Digest,
}

/// What the manifest needs to know of a finished piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedPiece {
    /// Rows in it.
    pub rows: u64,
    /// Their rowset digest; derived columns are outside it.
    pub digest: RowsetDigest,
    /// Bytes of the file.
    pub bytes: u64,
    /// blake3 of the whole file.
    pub blake3: Digest,
    /// Row groups in order. Their offsets begin behind the file's magic bytes.
    pub row_groups: Vec<RowGroupDigest>,
    /// The sidecar, if one was opened.
    pub exceptions: Option<FinishedExceptions>,
    /// Values of each column that did not fit its type. Display scales are not counted.
    pub exception_counts: Vec<u64>,
    /// Bytes of all tuples as they were pushed, derived columns included.
    pub copy_bytes: u64,
    /// Rows in the order of the shape's columns to cluster by.
    pub clustered: u64,
}

/// The sinks of a finished piece, complete but not made durable.
#[derive(Debug)]
pub struct FinishedSinks<W> {
    /// The Parquet file.
    pub piece: W,
    /// The sidecar, if there is one.
    pub sidecar: Option<W>,
}

/// One column of a piece.
struct Column {
    builder: ColumnBuilder,
    /// Values may have to be made canonical.
    canonicalised: bool,
}

impl Column {
    fn new(shape: &ColumnShape) -> Self {
        let builder = ColumnBuilder::new(&shape.mapping);
        Self { builder, canonicalised: shape.mapping.needs_canonicalising() }
    }

    /// Makes its value in each row canonical in place and takes it.
    #[inline]
    fn push(
        &mut self,
        mapping: &Mapping,
        strip: &mut Strip<'_>,
        quiet: bool,
        told: impl FnMut(usize, Pushed, &[u8]),
    ) -> Result<(), CodecError> {
        if self.canonicalised {
            strip.canonicalise(mapping)?;
        }
        self.builder.push_strip(strip, quiet, told)
    }
}

/// Writes one piece.
pub struct PieceWriter<W: Write + Send + 'static> {
    shape: PieceShape,
    kept: usize,
    summer: RowSummer,
    limits: PieceLimits,
    columns: Vec<Column>,
    schema: SchemaRef,
    encoder: Encoder<W>,
    exceptions: Exceptions<W>,
    exception_counts: Vec<u64>,
    rows: u64,
    copy_bytes: u64,
    batch_rows: usize,
    /// Wire bytes of the batch: a cheap measure of what the builders hold.
    batch_bytes: usize,
    /// A large tuple stands in the columns and waits to be encoded.
    due: bool,
}

impl<W: Write + Send + 'static> PieceWriter<W> {
    /// Starts a piece on `sink`. `open_sidecar` is called at most once, when the first exception has to be written.
    pub fn new(
        sink: W,
        shape: &PieceShape,
        hasher: RowHasher,
        limits: PieceLimits,
        open_sidecar: Box<dyn FnMut() -> io::Result<W> + Send>,
    ) -> Result<Self, CodecError> {
        if !shape.is_ordered() {
            return Err(CodecError::Piece("a derived column stands before others".to_owned()));
        }
        let columns = shape.columns.len();
        let output = Output::new(sink, shape, limits);
        Ok(Self {
            kept: shape.kept(),
            summer: RowSummer::of(hasher),
            limits,
            columns: shape.columns.iter().map(Column::new).collect(),
            schema: output.schema().clone(),
            encoder: Encoder::new(Groups::new(output, limits, &shape.clustered_by)),
            exceptions: Exceptions::new(columns, limits.zstd_level, open_sidecar),
            exception_counts: vec![0; columns],
            rows: 0,
            copy_bytes: 0,
            batch_rows: 0,
            batch_bytes: 0,
            due: false,
            shape: shape.clone(),
        })
    }

    /// Batches are encoded by a crew while the next ones are decoded. What is written stays the same.
    #[must_use]
    pub fn with_crew(mut self, crew: Crew) -> Self {
        self.encoder.use_crew(crew);
        self
    }

    /// Columns are encoded as in other files of the table, where they are like theirs.
    #[must_use]
    pub fn with_precedent(mut self, precedent: Precedent) -> Self {
        self.encoder.heed(precedent);
        self
    }

    /// Adds the first of these tuples, which `TupleStream` has found in `block`; gives how many. They are made canonical in place.
    /// After an error the piece is useless.
    pub fn push(&mut self, block: &mut [u8], tuples: &[Range<usize>]) -> Result<usize, CodecError> {
        self.settle()?;
        let (rows, bytes) = self.next_strip(tuples);
        let tuples = &tuples[..rows];
        if tuples.first().is_some_and(|tuple| tuple.len() >= LARGE_TUPLE) {
            self.encode_batch(false)?;
            self.close_group()?;
            self.due = true;
        }
        self.decode(Strip::new(block, tuples, self.columns.len())?)?;
        self.rows += rows as u64;
        self.copy_bytes += bytes as u64;
        self.batch_rows += rows;
        self.batch_bytes += bytes;
        if !self.due {
            self.encode_what_is_full()?;
        }
        Ok(rows)
    }

    /// How many of these tuples are decoded together, and their bytes. A strip ends where the batch is full, so that what a piece
    /// looks like does not depend on how its rows came, and where it is asked whether it has grown or is large enough.
    fn next_strip(&self, tuples: &[Range<usize>]) -> (usize, usize) {
        let begun = (self.batch_rows % STRIP).max((self.rows % STRIP as u64) as usize);
        let most = (STRIP - begun).min(self.limits.batch_rows.saturating_sub(self.batch_rows).max(1));
        let (mut rows, mut bytes) = (0, 0);
        for tuple in tuples.iter().take(most) {
            let large = tuple.len() >= LARGE_TUPLE;
            if large && rows > 0 {
                break;
            }
            rows += 1;
            bytes += tuple.len();
            if large || self.batch_bytes + bytes >= self.limits.batch_bytes {
                break;
            }
        }
        (rows, bytes)
    }

    /// Takes the rows' fields into the columns and their hashes into the digest.
    fn decode(&mut self, mut strip: Strip<'_>) -> Result<(), CodecError> {
        let kept = self.kept as u16;
        for (index, (column, shape)) in self.columns.iter_mut().zip(&self.shape.columns).enumerate() {
            // Derived columns stand behind the others and are outside the digest.
            if index == self.kept {
                strip.taken(|fields| self.summer.add(kept, fields));
            }
            let (exceptions, count) = (&mut self.exceptions, &mut self.exception_counts[index]);
            let quiet = exceptions.is_quiet(index);
            let told = |row: usize, pushed: Pushed, wire: &[u8]| {
                let row = self.rows + row as u64;
                match pushed {
                    Pushed::Natural => exceptions.natural(index),
                    Pushed::DisplayScale(dscale) => exceptions.display_scale(index, row, dscale),
                    Pushed::Exception => {
                        *count += 1;
                        exceptions.raw(index, row, wire);
                    }
                }
            };
            let pushed = column.push(&shape.mapping, &mut strip, quiet, told);
            pushed.map_err(|error| error.in_column(&shape.name))?;
        }
        strip.end()?;
        if self.kept == self.columns.len() {
            strip.taken(|fields| self.summer.add(kept, fields));
        }
        Ok(())
    }

    /// Encodes a large tuple, which [`Self::push`] puts off until the caller has let go of it.
    pub fn settle(&mut self) -> Result<(), CodecError> {
        if std::mem::take(&mut self.due) {
            self.encode_batch(false)?;
            self.close_group()?;
        }
        Ok(())
    }

    #[inline]
    fn encode_what_is_full(&mut self) -> Result<(), CodecError> {
        let full = self.batch_rows >= self.limits.batch_rows || self.batch_bytes >= self.limits.batch_bytes;
        if full || self.has_grown() { self.encode_batch(false) } else { Ok(()) }
    }

    /// Whether the columns hold much more than the wire bytes they came from: a numeric of ten bytes may have a text of
    /// 131 072 digits. Asked once in a while only, because it visits every column.
    #[inline]
    fn has_grown(&self) -> bool {
        self.batch_rows.is_multiple_of(STRIP) && self.decoded_bytes() >= 4 * self.limits.batch_bytes
    }

    fn decoded_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.builder.bytes()).sum()
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// About how large the file would be if it ended here, but for the last batches.
    pub fn bytes_written(&self) -> u64 {
        self.encoder.bytes()
    }

    /// `last`: no row will follow.
    fn encode_batch(&mut self, last: bool) -> Result<(), CodecError> {
        if self.batch_rows == 0 {
            return Ok(());
        }
        let mut arrays: Vec<ArrayRef> =
            self.columns.iter_mut().map(|column| column.builder.finish()).collect::<Result<_, _>>()?;
        if arrays.is_empty() {
            let mut placeholder = BooleanBuilder::new();
            placeholder.append_nulls(self.batch_rows);
            arrays.push(std::sync::Arc::new(placeholder.finish()));
        }
        let rows = RecordBatch::try_new(self.schema.clone(), arrays)?;
        let placed = self.exceptions.end_batch()?;
        self.encoder.write(Batch { rows, last, placed })?;
        (self.batch_rows, self.batch_bytes) = (0, 0);
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), CodecError> {
        self.encoder.wait()?.close()
    }

    /// Ends the piece: what the manifest needs, and the sinks for the caller to make durable.
    pub fn finish(mut self) -> Result<(FinishedPiece, FinishedSinks<W>), CodecError> {
        self.encode_batch(true)?;
        let entries = self.exceptions.entries();
        let note = KeyValue::new(EXCEPTIONS_KEY.to_owned(), entries.to_string());
        let sidecar = self.exceptions.finish()?;
        let Ended { sink: piece, bytes, blake3, row_groups, clustered } = self.encoder.finish(note)?;
        let (exceptions, sidecar) = sidecar.unzip();
        let finished = FinishedPiece {
            rows: self.rows,
            digest: self.summer.digest(),
            bytes,
            blake3,
            row_groups,
            exceptions,
            exception_counts: self.exception_counts,
            copy_bytes: self.copy_bytes,
            clustered,
        };
        Ok((finished, FinishedSinks { piece, sidecar }))
    }
}

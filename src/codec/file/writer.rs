//! [`PieceWriter`]: tuples, one by one → one Parquet file.
//!
//! Each tuple is made canonical, hashed, decoded into columns and, where a value does not fit, noted in the sidecar.
//! Memory is bounded by [`PieceLimits`]. It does not know when a piece is large enough; the caller asks
//! [`PieceWriter::bytes_written`] and starts another one.

use std::io::{self, Write};

use arrow_array::builder::BooleanBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use parquet::file::metadata::KeyValue;

use super::columns::Crew;
use super::exceptions::{Exceptions, FinishedExceptions};
use super::groups::{Batch, Encoder, Ended, Groups};
use super::output::Output;
use super::schema::EXCEPTIONS_KEY;
use crate::base::{Digest, RowsetDigest};
use crate::codec::CodecError;
use crate::codec::column::{ColumnBuilder, Pushed, canonicalise};
use crate::codec::rowset::{RowHasher, RowSummer};
use crate::codec::shape::{ColumnShape, PieceShape};
use crate::codec::wire::Wire;
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

    /// Makes the value in the first `length` bytes canonical in place and takes it.
    #[inline]
    fn push(&mut self, mapping: &Mapping, bytes: &mut [u8], length: usize) -> Result<Pushed, CodecError> {
        if self.canonicalised {
            canonicalise(mapping, &mut bytes[..length])?;
        }
        self.builder.push_first(bytes, length)
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

    /// Adds one tuple as `TupleStream` gives it. It is made canonical in place. After an error the piece is useless.
    pub fn push(&mut self, tuple: &mut [u8]) -> Result<(), CodecError> {
        let columns = self.columns.len();
        let found = Wire::new(tuple).u16()?;
        if usize::from(found) != columns {
            return Err(CodecError::FieldCount { expected: columns, found: i32::from(found) });
        }
        self.settle()?;
        if tuple.len() >= LARGE_TUPLE {
            self.encode_batch(false)?;
            self.close_group()?;
            self.due = true;
        }
        let kept_end = self.decode(tuple)?;
        // Derived columns stand behind the others and are outside the digest.
        self.summer.add(self.kept as u16, &tuple[2..kept_end]);
        self.rows += 1;
        self.copy_bytes += tuple.len() as u64;
        self.batch_rows += 1;
        self.batch_bytes += tuple.len();
        if self.due { Ok(()) } else { self.encode_what_is_full() }
    }

    /// Takes a tuple's fields into the columns; gives where those that are not derived end.
    #[inline]
    fn decode(&mut self, tuple: &mut [u8]) -> Result<usize, CodecError> {
        let (mut at, mut kept_end) = (2, 2);
        for (index, column) in self.columns.iter_mut().enumerate() {
            let length = Wire::new(&tuple[at..]).field()?.map(<[u8]>::len);
            at += 4;
            if let Some(length) = length {
                let field = &mut tuple[at..];
                at += length;
                let shape = &self.shape.columns[index];
                let pushed = column.push(&shape.mapping, field, length);
                match pushed.map_err(|error| error.in_column(&shape.name))? {
                    Pushed::Natural => self.exceptions.natural(index),
                    Pushed::DisplayScale(dscale) => self.exceptions.display_scale(index, self.rows, dscale),
                    Pushed::Exception => {
                        self.exception_counts[index] += 1;
                        self.exceptions.raw(index, self.rows, &field[..length]);
                    }
                }
            } else {
                column.builder.push(None)?;
            }
            if index < self.kept {
                kept_end = at;
            }
        }
        if at == tuple.len() {
            return Ok(kept_end);
        }
        Err(CodecError::malformed("bytes after the last field", at))
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
        self.batch_rows.is_multiple_of(64) && self.decoded_bytes() >= 4 * self.limits.batch_bytes
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

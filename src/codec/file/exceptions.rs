//! [`Exceptions`]: the sidecar with what a piece's natural columns can't hold, written only if there is something.
//!
//! Itself a Parquet file: (col, row, run, kind, raw, dscale), sorted by row and column. `raw` entries keep the
//! canonical wire bytes of one value; `dscale` entries keep the display scale of a run of rows. Runs end where a batch of the
//! piece ends, so that entries can be sorted and written without waiting for the end of the piece.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Int32Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Encoding;

use super::schema::writer_properties;
use super::sink::HashingSink;
use crate::base::Digest;
use crate::codec::CodecError;

pub(super) const RAW: &str = "raw";
pub(super) const DSCALE: &str = "dscale";

/// Entries are written in batches of about so many, or when their raw bytes reach [`BATCH_BYTES`].
const BATCH_ENTRIES: usize = 65_536;
const BATCH_BYTES: usize = 8 << 20;

/// A finished sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedExceptions {
    /// Bytes of the file.
    pub bytes: u64,
    /// blake3 of the whole file.
    pub blake3: Digest,
    /// Entries in it.
    pub entries: u64,
}

/// Opens the sink of the sidecar when its first entry is written.
pub(super) type OpenSidecar<W> = Box<dyn FnMut() -> io::Result<W> + Send>;

struct Entry {
    column: i32,
    row: i64,
    run: i32,
    what: What,
}

enum What {
    Raw(Vec<u8>),
    DisplayScale(u16),
}

struct Run {
    first: u64,
    last: u64,
    dscale: u16,
}

pub(super) struct Exceptions<W: Write + Send> {
    open: OpenSidecar<W>,
    writer: Option<ArrowWriter<HashingSink<W>>>,
    runs: Vec<Option<Run>>,
    /// How many of them there are: mostly none, which is seen without looking at each.
    open_runs: usize,
    entries: Vec<Entry>,
    /// Those of them that are of earlier batches.
    earlier: usize,
    bytes: usize,
    written: u64,
    zstd_level: i32,
}

pub(super) fn sidecar_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("col", DataType::Int32, false),
        Field::new("row", DataType::Int64, false),
        Field::new("run", DataType::Int32, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("raw", DataType::Binary, true),
        Field::new("dscale", DataType::Int32, true),
    ]))
}

impl<W: Write + Send> Exceptions<W> {
    pub(super) fn new(columns: usize, zstd_level: i32, open: OpenSidecar<W>) -> Self {
        let runs = (0..columns).map(|_| None).collect();
        Self {
            open,
            writer: None,
            runs,
            open_runs: 0,
            entries: Vec::new(),
            earlier: 0,
            bytes: 0,
            written: 0,
            zstd_level,
        }
    }

    pub(super) fn raw(&mut self, column: usize, row: u64, wire: &[u8]) {
        self.natural(column);
        self.bytes += wire.len() + 64;
        let what = What::Raw(wire.to_vec());
        self.entries.push(Entry { column: column as i32, row: row as i64, run: 1, what });
    }

    pub(super) fn display_scale(&mut self, column: usize, row: u64, dscale: u16) {
        match &mut self.runs[column] {
            // A run may pass over NULLs, which have no display scale.
            Some(run) if run.dscale == dscale => run.last = row,
            _ => {
                self.natural(column);
                self.open_runs += 1;
                self.runs[column] = Some(Run { first: row, last: row, dscale });
            }
        }
    }

    /// Whether the column has no run that a row with a value of its own would end.
    pub(super) fn is_quiet(&self, column: usize) -> bool {
        self.runs[column].is_none()
    }

    /// Ends the column's run: this row has a value of its own.
    #[inline]
    pub(super) fn natural(&mut self, column: usize) {
        if self.open_runs > 0 {
            self.end_run(column);
        }
    }

    #[inline(never)]
    fn end_run(&mut self, column: usize) {
        if let Some(run) = self.runs[column].take() {
            self.open_runs -= 1;
            self.bytes += 64;
            self.entries.push(Entry {
                column: column as i32,
                row: run.first as i64,
                run: (run.last - run.first + 1) as i32,
                what: What::DisplayScale(run.dscale),
            });
        }
    }

    /// The piece's batch ends here: no later entry has an earlier row. Whether any entry is about the batch.
    pub(super) fn end_batch(&mut self) -> Result<bool, CodecError> {
        (0..self.runs.len()).for_each(|column| self.natural(column));
        self.entries.sort_by_key(|entry| (entry.row, entry.column));
        let any = self.entries.len() > self.earlier;
        if self.entries.len() >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES {
            self.write()?;
        }
        self.earlier = self.entries.len();
        Ok(any)
    }

    fn write(&mut self) -> Result<(), CodecError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        if self.writer.is_none() {
            let schema = sidecar_schema();
            let parquet = ArrowSchemaConverter::new().convert(&schema)?;
            // Without a dictionary the footer tells how large the values are, so that a reader can plan its batches.
            let properties = writer_properties(&parquet, self.zstd_level, false, None, &[])?
                .into_builder()
                .set_column_dictionary_enabled("raw".into(), false)
                // Rows rise: as distinct numbers in a dictionary they were four fifths of a sidecar.
                .set_column_dictionary_enabled("row".into(), false)
                .set_column_encoding("row".into(), Encoding::DELTA_BINARY_PACKED)
                .build();
            let options =
                ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
            let sink = HashingSink::new((self.open)()?);
            self.writer = Some(ArrowWriter::try_new_with_options(sink, schema, options)?);
        }
        let entries = std::mem::take(&mut self.entries);
        self.bytes = 0;
        self.written += entries.len() as u64;
        // One row group a batch bounds what a reader has to hold.
        if let Some(writer) = &mut self.writer {
            writer.write(&batch_of(&entries)?)?;
            writer.flush()?;
        }
        Ok(())
    }

    /// Entries so far, those not yet written included. Call after `end_batch`.
    pub(super) fn entries(&self) -> u64 {
        self.written + self.entries.len() as u64
    }

    /// Ends the sidecar, if there is one.
    pub(super) fn finish(mut self) -> Result<Option<(FinishedExceptions, W)>, CodecError> {
        self.end_batch()?;
        self.write()?;
        let Some(writer) = self.writer else { return Ok(None) };
        let (sink, bytes, blake3) = writer.into_inner()?.finish()?;
        Ok(Some((FinishedExceptions { bytes, blake3, entries: self.written }, sink)))
    }
}

fn batch_of(entries: &[Entry]) -> Result<RecordBatch, CodecError> {
    let (mut columns, mut rows, mut runs) = (Int32Builder::new(), Int64Builder::new(), Int32Builder::new());
    let (mut kinds, mut raws, mut dscales) =
        (StringBuilder::new(), BinaryBuilder::new(), Int32Builder::new());
    for entry in entries {
        columns.append_value(entry.column);
        rows.append_value(entry.row);
        runs.append_value(entry.run);
        match &entry.what {
            What::Raw(wire) => {
                kinds.append_value(RAW);
                raws.append_value(wire);
                dscales.append_null();
            }
            What::DisplayScale(dscale) => {
                kinds.append_value(DSCALE);
                raws.append_null();
                dscales.append_value(i32::from(*dscale));
            }
        }
    }
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(columns.finish()),
        Arc::new(rows.finish()),
        Arc::new(runs.finish()),
        Arc::new(kinds.finish()),
        Arc::new(raws.finish()),
        Arc::new(dscales.finish()),
    ];
    Ok(RecordBatch::try_new(sidecar_schema(), arrays)?)
}

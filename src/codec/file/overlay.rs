//! [`Overlay`]: the sidecar read alongside its piece, entry by entry in order of rows.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, RecordBatch};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::ChunkReader;

use super::exceptions::{DSCALE, RAW, sidecar_schema};
use super::footer::bound_footer;
use super::guard::guarded;
use super::limits::Limits;
use super::pages::bound_pages;
use super::reader::{BATCH_ROWS, batch_rows, bound_size};
use crate::codec::CodecError;

/// What the sidecar says of one column from now on.
#[derive(Default)]
struct Column {
    /// Values by row, in order.
    raw: VecDeque<(u64, Vec<u8>)>,
    /// Display scales by rows (first, last), in order.
    runs: VecDeque<(u64, u64, u16)>,
}

pub(super) struct Overlay {
    reader: Option<ParquetRecordBatchReader>,
    batch: Option<(RecordBatch, usize)>,
    columns: Vec<Column>,
    wanted: Option<Vec<bool>>,
    rows: u64,
    last_row: u64,
    entries: u64,
    taken: u64,
}

fn wrong(what: &str) -> CodecError {
    CodecError::Piece(format!("its exceptions sidecar {what}"))
}

impl Overlay {
    /// The overlay of a piece without exceptions.
    pub(super) fn none() -> Self {
        Self {
            reader: None,
            batch: None,
            columns: Vec::new(),
            wanted: None,
            rows: 0,
            last_row: 0,
            entries: 0,
            taken: 0,
        }
    }

    /// Opens a sidecar with exactly `entries` entries for a piece of so many columns and rows; `limits` are what it may
    /// ask for.
    pub(super) fn open<R: ChunkReader + 'static>(
        sidecar: R,
        entries: u64,
        columns: usize,
        rows: u64,
        limits: Limits,
    ) -> Result<Self, CodecError> {
        guarded(|| {
            let options = ArrowReaderOptions::new().with_schema(sidecar_schema());
            let schema = ArrowSchemaConverter::new().convert(&sidecar_schema())?;
            bound_footer(&sidecar, schema.root_schema())?;
            let metadata = Arc::new(ParquetMetaDataReader::new().parse_and_finish(&sidecar)?);
            if u64::try_from(metadata.file_metadata().num_rows()).ok() != Some(entries) {
                return Err(wrong("has another number of entries"));
            }
            bound_size(&metadata, limits.uncompressed)?;
            let dictionary = bound_pages(&sidecar, &metadata, limits)?;
            let entries_at_once = batch_rows(&metadata, 0, dictionary, BATCH_ROWS);
            let arrow = ArrowReaderMetadata::try_new(metadata, options)?;
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(sidecar, arrow);
            let reader = builder.with_batch_size(entries_at_once).build()?;
            let columns = (0..columns).map(|_| Column::default()).collect();
            let (reader, wanted) = (Some(reader), None);
            Ok(Self { reader, batch: None, columns, wanted, rows, last_row: 0, entries, taken: 0 })
        })
    }

    /// Keeps nothing of columns that nobody will ask for.
    pub(super) fn only(mut self, columns: &[usize]) -> Self {
        self.wanted = Some((0..self.columns.len()).map(|column| columns.contains(&column)).collect());
        self
    }

    /// Takes in all entries that concern rows before `end`; whether there are any left to apply.
    pub(super) fn advance(&mut self, end: u64) -> Result<bool, CodecError> {
        while self.reader.is_some() && self.last_row < end {
            if let Some((batch, at)) = self.batch.take() {
                self.take_in(&batch, at, end)?;
                if self.batch.is_some() {
                    break;
                }
            }
            let Some(reader) = &mut self.reader else { break };
            match guarded(|| Ok(reader.next().transpose()?))? {
                Some(batch) => self.batch = Some((batch, 0)),
                None => self.reader = None,
            }
        }
        Ok(self.columns.iter().any(|column| !column.raw.is_empty() || !column.runs.is_empty()))
    }

    fn take_in(&mut self, batch: &RecordBatch, from: usize, end: u64) -> Result<(), CodecError> {
        let columns = batch.column(0).as_primitive::<Int32Type>();
        let rows = batch.column(1).as_primitive::<Int64Type>();
        let runs = batch.column(2).as_primitive::<Int32Type>();
        let kinds = batch.column(3).as_string::<i32>();
        let raws = batch.column(4).as_binary::<i32>();
        let dscales = batch.column(5).as_primitive::<Int32Type>();
        for at in from..batch.num_rows() {
            let row = u64::try_from(rows.value(at)).map_err(|_| wrong("has a negative row"))?;
            let run = u64::try_from(runs.value(at)).ok().filter(|run| *run > 0);
            let run = run.ok_or_else(|| wrong("has an empty run"))?;
            let last = row.saturating_add(run - 1);
            if row < self.last_row || last >= self.rows {
                return Err(wrong("is out of order or beyond the piece"));
            }
            if row >= end {
                self.batch = Some((batch.clone(), at));
                return Ok(());
            }
            self.last_row = row;
            let index = usize::try_from(columns.value(at)).ok();
            let column = index.and_then(|index| self.columns.get_mut(index));
            let column = column.ok_or_else(|| wrong("names a column that the piece has not"))?;
            self.taken += 1;
            if self.wanted.as_ref().zip(index).is_some_and(|(wanted, index)| !wanted[index]) {
                continue;
            }
            match (kinds.value(at), raws.is_valid(at), dscales.is_valid(at)) {
                (RAW, true, false) if run == 1 => column.raw.push_back((row, raws.value(at).to_vec())),
                (DSCALE, false, true) => {
                    let dscale =
                        u16::try_from(dscales.value(at)).map_err(|_| wrong("has a bad display scale"))?;
                    column.runs.push_back((row, last, dscale));
                }
                _ => return Err(wrong("has an entry of an unknown kind")),
            }
        }
        Ok(())
    }

    /// The wire bytes that stand in place of the column's NULL at `row`.
    pub(super) fn raw(&mut self, column: usize, row: u64) -> Option<Vec<u8>> {
        let raw = &mut self.columns.get_mut(column)?.raw;
        if raw.front()?.0 == row { raw.pop_front().map(|(_, wire)| wire) } else { None }
    }

    /// The display scale of the column's value at `row`, if it has one of its own.
    pub(super) fn display_scale(&mut self, column: usize, row: u64) -> Option<u16> {
        let runs = &mut self.columns.get_mut(column)?.runs;
        while runs.front()?.1 < row {
            runs.pop_front();
        }
        let (first, _, dscale) = *runs.front()?;
        (first <= row).then_some(dscale)
    }

    /// Every entry was taken in and every raw value was used.
    pub(super) fn finish(&mut self) -> Result<(), CodecError> {
        self.advance(u64::MAX)?;
        if self.taken != self.entries || self.columns.iter().any(|column| !column.raw.is_empty()) {
            return Err(wrong("has entries for values that the piece has itself"));
        }
        Ok(())
    }
}

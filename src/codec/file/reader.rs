//! [`PieceReader`]: one Parquet file and its sidecar → the canonical tuples that were written.
//!
//! Nothing in the file is believed: its schema must be the shape's, its counts the manifest's, its sizes below what the
//! manifest's byte count allows, and a panic of the Parquet reader is an error. It does not hash; the caller compares.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;

use super::footer::bound_footer;
use super::guard::guarded;
use super::limits::Limits;
use super::overlay::Overlay;
use super::pages::bound_pages;
use super::schema::{EXCEPTIONS_KEY, SCHEMA_KEY, parquet_schema};
use crate::codec::CodecError;
use crate::codec::column::ColumnEncoder;
use crate::codec::copy::MAX_TUPLE;
use crate::codec::shape::PieceShape;

/// What the manifest says of a piece, and what its size is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceBounds {
    /// Rows; the file must have exactly as many.
    pub rows: u64,
    /// Bytes of its tuples when it was written.
    pub copy_bytes: u64,
}

impl PieceBounds {
    /// Refuses what no rows can have, whoever says so.
    pub fn check(&self) -> Result<(), CodecError> {
        if self.copy_bytes <= self.rows.saturating_mul(MAX_TUPLE as u64) {
            return Ok(());
        }
        let what = format!("{} bytes are more than {} rows can have", self.copy_bytes, self.rows);
        Err(CodecError::Piece(what))
    }
}

/// Decoded bytes that one batch aims at.
const BATCH_BYTES: u64 = 16 << 20;

/// Rows of one batch at most.
pub(super) const BATCH_ROWS: u64 = 1024;

/// What a column that repeats the largest value of its dictionary may decode to in one batch: half of what 32-bit offsets
/// reach. A dictionary of ours ends at about 1 MiB, so only a larger one makes batches smaller.
const REPEATED_BYTES: u64 = 1 << 30;

/// Reads one piece.
pub struct PieceReader {
    shape: PieceShape,
    kept: usize,
    reader: ParquetRecordBatchReader,
    overlay: Overlay,
    rows: u64,
    row: u64,
    /// Bytes of canonical tuples that may still come.
    budget: u64,
}

impl PieceReader {
    /// Opens a piece and checks all that its footer says.
    pub fn open<R: ChunkReader + 'static>(
        file: R,
        sidecar: Option<R>,
        shape: &PieceShape,
        bounds: PieceBounds,
    ) -> Result<Self, CodecError> {
        if !shape.is_ordered() {
            return Err(CodecError::Piece("a derived column stands before others".to_owned()));
        }
        bounds.check()?;
        let limits = Limits::of_piece(shape, bounds);
        let (reader, entries) = guarded(|| {
            let (builder, entries) = open_file(file, shape, shape.arrow_schema(), bounds, BATCH_ROWS)?;
            Ok((builder.build()?, entries))
        })?;
        let overlay = match (entries, sidecar) {
            (0, None) => Overlay::none(),
            (0, Some(_)) => return Err(CodecError::Piece("it has a sidecar but no exceptions".to_owned())),
            (_, None) => {
                return Err(CodecError::Piece(format!("its sidecar of {entries} exceptions is missing")));
            }
            (_, Some(sidecar)) => {
                Overlay::open(sidecar, entries, shape.columns.len(), bounds.rows, limits.of_sidecar())?
            }
        };
        let (kept, rows) = (shape.kept(), bounds.rows);
        Ok(Self { shape: shape.clone(), kept, reader, overlay, rows, row: 0, budget: bounds.copy_bytes })
    }

    /// Appends the canonical tuples of some more rows to `tuples` (no header, no trailer, no derived columns) and where
    /// each ends to `ends`. False when there are no more, and only then everything was checked.
    pub fn next_batch(&mut self, tuples: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<bool, CodecError> {
        let reader = &mut self.reader;
        let Some(batch) = guarded(|| Ok(reader.next().transpose()?))? else {
            if self.row != self.rows {
                return Err(CodecError::Piece(format!("it has {} rows, not {}", self.row, self.rows)));
            }
            self.overlay.finish()?;
            return Ok(false);
        };
        if self.row + batch.num_rows() as u64 > self.rows {
            return Err(CodecError::Piece("it has more rows than its footer says".to_owned()));
        }
        let before = tuples.len();
        guarded(|| self.encode(&batch, tuples, ends))?;
        let bytes = (tuples.len() - before) as u64;
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| {
            CodecError::Piece("its rows have more bytes than those that were dumped".to_owned())
        })?;
        Ok(true)
    }

    fn encode(
        &mut self,
        batch: &RecordBatch,
        tuples: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<(), CodecError> {
        let columns = &self.shape.columns;
        let encoders = columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| {
                ColumnEncoder::bind(&column.mapping, &**array as &dyn Array)
                    .map_err(|error| error.in_column(&column.name))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let rows = batch.num_rows();
        let overlaid = self.overlay.advance(self.row + rows as u64)?;
        // A bomb is noticed within a batch, not after it.
        let limit = tuples.len() as u64 + self.budget;
        for at in 0..rows {
            let row = self.row + at as u64;
            tuples.extend_from_slice(&(self.kept as u16).to_be_bytes());
            for (index, encoder) in encoders.iter().enumerate() {
                if overlaid
                    && put_overlaid(&mut self.overlay, encoder, (index, self.kept), (at, row), tuples)?
                {
                    continue;
                }
                if index < self.kept {
                    encoder.put(at, None, tuples).map_err(|error| error.in_column(&columns[index].name))?;
                }
            }
            if tuples.len() as u64 > limit {
                let what = "the rows of a piece";
                return Err(CodecError::TooLarge { what, bytes: tuples.len() as u64, bound: limit });
            }
            ends.push(tuples.len());
        }
        self.row += rows as u64;
        Ok(())
    }
}

/// Writes the field from the sidecar if that has a say in it. Entries of derived columns are consumed, not written.
fn put_overlaid(
    overlay: &mut Overlay,
    encoder: &ColumnEncoder<'_>,
    (column, kept): (usize, usize),
    (at, row): (usize, u64),
    tuples: &mut Vec<u8>,
) -> Result<bool, CodecError> {
    if encoder.is_null(at) {
        let Some(wire) = overlay.raw(column, row) else { return Ok(false) };
        if column < kept {
            tuples.extend_from_slice(&(wire.len() as u32).to_be_bytes());
            tuples.extend_from_slice(&wire);
        }
        return Ok(true);
    }
    let Some(dscale) = overlay.display_scale(column, row) else { return Ok(false) };
    if column < kept {
        encoder.put(at, Some(dscale), tuples)?;
    }
    Ok(true)
}

/// Judges a piece by its footer; gives a builder of readers that give columns of the types of `wanted` in batches of so many
/// rows at most, and the number of entries in its sidecar.
pub(super) fn open_file<R: ChunkReader + 'static>(
    file: R,
    shape: &PieceShape,
    wanted: SchemaRef,
    bounds: PieceBounds,
    most_rows: u64,
) -> Result<(ParquetRecordBatchReaderBuilder<R>, u64), CodecError> {
    let limits = Limits::of_piece(shape, bounds);
    let schema = parquet_schema(shape)?;
    bound_footer(&file, schema.root_schema())?;
    // The metadata is judged before the schema in it is used to build a reader.
    let metadata = Arc::new(ParquetMetaDataReader::new().parse_and_finish(&file)?);
    let footer = metadata.file_metadata();
    if footer.schema_descr().root_schema() != schema.root_schema() {
        return Err(CodecError::Piece("its columns are not those of the table".to_owned()));
    }
    let groups: i64 = metadata.row_groups().iter().map(|group| group.num_rows()).fold(0, i64::saturating_add);
    let found = footer.num_rows();
    if u64::try_from(found).ok() != Some(bounds.rows) || groups != found {
        return Err(CodecError::Piece(format!("it has {found} rows, not {}", bounds.rows)));
    }
    bound_size(&metadata, limits.uncompressed)?;
    let dictionary = bound_pages(&file, &metadata, limits)?;
    let value = |key: &str| {
        let entries = footer.key_value_metadata()?;
        entries.iter().find(|entry| entry.key == key)?.value.as_deref()
    };
    if value(SCHEMA_KEY) != Some(&shape.metadata) {
        return Err(CodecError::Piece(format!("its {SCHEMA_KEY} is not that of the table")));
    }
    let entries = value(EXCEPTIONS_KEY).and_then(|text| text.parse().ok());
    let entries = entries.ok_or_else(|| CodecError::Piece(format!("it has no {EXCEPTIONS_KEY}")))?;
    let options = ArrowReaderOptions::new().with_schema(wanted);
    let arrow = ArrowReaderMetadata::try_new(metadata, options)?;
    let average = bounds.copy_bytes / bounds.rows.max(1);
    let rows = batch_rows(arrow.metadata(), average, dictionary, most_rows);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, arrow);
    Ok((builder.with_batch_size(rows), entries))
}

/// How many rows to decode at once: those of the row group with the widest rows still make a modest batch, and so does the
/// largest value of the largest dictionary in every one of them.
pub(super) fn batch_rows(metadata: &ParquetMetaData, average: u64, dictionary: u64, most: u64) -> usize {
    let width = |bytes: i64, rows: i64| (bytes.max(0) / rows.max(1)) as u64;
    let groups = metadata.row_groups().iter().map(|group| {
        let bytes =
            group.columns().iter().map(|column| column.uncompressed_size()).fold(0, i64::saturating_add);
        width(bytes, group.num_rows())
    });
    let widest = groups.fold(average, u64::max).max(1);
    (BATCH_BYTES / widest).min(REPEATED_BYTES / dictionary.max(1)).clamp(1, most) as usize
}

/// Refuses a file whose columns say that they are larger than `limit` uncompressed, or negative.
pub(super) fn bound_size(metadata: &ParquetMetaData, limit: u64) -> Result<(), CodecError> {
    let mut total = 0u64;
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let sizes = (u64::try_from(column.uncompressed_size()), u64::try_from(column.compressed_size()));
        let (Ok(uncompressed), Ok(_)) = sizes else {
            return Err(CodecError::Piece("a column has a negative size".to_owned()));
        };
        total = total.saturating_add(uncompressed);
    }
    if total > limit {
        return Err(CodecError::TooLarge { what: "the uncompressed piece", bytes: total, bound: limit });
    }
    Ok(())
}

//! [`BatchReader`]: some columns of one Parquet file, with its sidecar laid over them → Arrow batches for a query.
//!
//! A column whose values do not all fit its natural type is given as text, where text can say them all: a query must not
//! take a NaN for a NULL. The file is believed as little as by `PieceReader`.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::file::reader::ChunkReader;

use super::guard::guarded;
use super::limits::Limits;
use super::overlay::Overlay;
use super::reader::{PieceBounds, open_file};
use crate::codec::CodecError;
use crate::codec::column::{ColumnEncoder, arrow_type, text_of, uuid};
use crate::codec::shape::PieceShape;
use crate::manifest::Mapping;

/// Rows of one batch at most: what the operators of a query like best.
const QUERY_ROWS: u64 = 8192;

/// A column that a query wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewColumn {
    /// Its place in the piece's shape.
    pub index: usize,
    /// Its values, exceptions among them, as text.
    pub as_text: bool,
}

/// The Arrow type in which a query sees values of a mapping: decimals have 128 bits, a UUID is its text.
pub fn view_type(mapping: &Mapping, as_text: bool) -> DataType {
    match mapping {
        _ if as_text => DataType::Utf8,
        Mapping::Uuid => DataType::Utf8,
        other => wide(arrow_type(other)),
    }
}

/// Decimals of 64 bits are rare in engines.
fn wide(natural: DataType) -> DataType {
    let field = |field: &FieldRef| -> FieldRef {
        Arc::new(Field::new(field.name(), wide(field.data_type().clone()), field.is_nullable()))
    };
    match natural {
        DataType::Decimal64(precision, scale) => DataType::Decimal128(precision, scale),
        DataType::List(element) => DataType::List(field(&element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect::<Fields>()),
        other => other,
    }
}

/// Reads some columns of a piece, or of some of its row groups.
pub struct BatchReader {
    shape: PieceShape,
    columns: Vec<ViewColumn>,
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
    overlay: Overlay,
    row: u64,
    end: u64,
}

impl BatchReader {
    /// Opens a piece. Columns come in ascending order of their places; `groups` leaves out other row groups, and cannot be
    /// had together with a column as text.
    pub fn open<R: ChunkReader + 'static>(
        file: R,
        sidecar: Option<R>,
        shape: &PieceShape,
        bounds: PieceBounds,
        columns: &[ViewColumn],
        groups: Option<Range<usize>>,
    ) -> Result<Self, CodecError> {
        bounds.check()?;
        let texts: Vec<usize> =
            columns.iter().filter(|column| column.as_text).map(|column| column.index).collect();
        let places: Vec<usize> = columns.iter().map(|column| column.index).collect();
        let (reader, entries, end) = guarded(|| {
            let read_as = read_schema(shape, &texts);
            let (builder, entries) = open_file(file, shape, read_as, bounds, QUERY_ROWS)?;
            let mask = ProjectionMask::roots(builder.parquet_schema(), places.iter().copied());
            let all = 0..builder.metadata().num_row_groups();
            let groups = groups.filter(|_| texts.is_empty()).unwrap_or(all);
            let rows = |at: usize| builder.metadata().row_group(at).num_rows().max(0) as u64;
            let end = groups.clone().map(rows).sum();
            let builder = builder.with_projection(mask).with_row_groups(groups.collect());
            Ok((builder.build()?, entries, end))
        })?;
        let overlay = match sidecar {
            Some(sidecar) if !texts.is_empty() && entries > 0 => {
                let limits = Limits::of_piece(shape, bounds).of_sidecar();
                Overlay::open(sidecar, entries, shape.columns.len(), bounds.rows, limits)?.only(&texts)
            }
            None if entries > 0 => {
                return Err(CodecError::Piece(format!("its sidecar of {entries} exceptions is missing")));
            }
            _ => Overlay::none(),
        };
        let field = |column: &ViewColumn| {
            let shape = &shape.columns[column.index];
            Field::new(&shape.name, view_type(&shape.mapping, column.as_text), true)
        };
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        Ok(Self { shape: shape.clone(), columns: columns.to_vec(), schema, reader, overlay, row: 0, end })
    }

    /// The next rows; none when all were read and everything was checked.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, CodecError> {
        let reader = &mut self.reader;
        let Some(batch) = guarded(|| Ok(reader.next().transpose()?))? else {
            if self.row != self.end {
                return Err(CodecError::Piece(format!("it has {} rows, not {}", self.row, self.end)));
            }
            self.overlay.finish()?;
            return Ok(None);
        };
        let after = self.row + batch.num_rows() as u64;
        if after > self.end {
            return Err(CodecError::Piece("it has more rows than its footer says".to_owned()));
        }
        self.overlay.advance(after)?;
        let arrays = guarded(|| self.arrays(&batch))?;
        self.row = after;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(Some(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?))
    }

    fn arrays(&mut self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, CodecError> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, array) in self.columns.iter().zip(batch.columns()) {
            let shape = &self.shape.columns[column.index];
            arrays.push(if column.as_text {
                let texts = texts(&shape.mapping, array, &mut self.overlay, (column.index, self.row));
                Arc::new(texts.map_err(|error| error.in_column(&shape.name))?)
            } else if shape.mapping == Mapping::Uuid {
                Arc::new(uuids(array.as_fixed_size_binary()))
            } else {
                array.clone()
            });
        }
        Ok(arrays)
    }
}

/// The types that the Parquet reader gives: what becomes text is encoded first, from the very types that were written.
fn read_schema(shape: &PieceShape, texts: &[usize]) -> SchemaRef {
    let natural = shape.arrow_schema();
    let fields = natural.fields().iter().enumerate().map(|(index, field)| match texts.contains(&index) {
        true => field.clone(),
        false => Arc::new(Field::new(field.name(), wide(field.data_type().clone()), true)),
    });
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

fn texts(
    mapping: &Mapping,
    array: &ArrayRef,
    overlay: &mut Overlay,
    (column, first): (usize, u64),
) -> Result<StringArray, CodecError> {
    let encoder = ColumnEncoder::bind(mapping, &**array as &dyn Array)?;
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut field = Vec::new();
    for at in 0..array.len() {
        let row = first + at as u64;
        field.clear();
        if encoder.is_null(at) {
            match overlay.raw(column, row) {
                Some(wire) => texts.append_value(exact_text(mapping, &wire)?),
                None => texts.append_null(),
            }
        } else {
            encoder.put(at, overlay.display_scale(column, row), &mut field)?;
            // The first four bytes are the field's length.
            texts.append_value(exact_text(mapping, &field[4..])?);
        }
    }
    Ok(texts.finish())
}

fn exact_text(mapping: &Mapping, wire: &[u8]) -> Result<String, CodecError> {
    text_of(mapping, wire)?.ok_or(CodecError::Unprintable)
}

fn uuids(array: &FixedSizeBinaryArray) -> StringArray {
    array.iter().map(|value| value.map(uuid)).collect()
}

//! [`Columns`]: the columns of an open row group, and [`Crew`]: the threads that encode them side by side.
//!
//! Encoding takes most of a dump's time, and each column's own: text takes many times as long as a number. So threads take
//! one column after the other, the largest first. The file does not depend on who encodes what.

use std::io::Write;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::flat::FlatColumn;
use super::segments::Complete;
use crate::codec::CodecError;

/// Decimal digits of a number that Parquet stores in 32 bits.
const DIGITS_32: u8 = 9;

/// Runs a job on another thread.
pub type Beside = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// Threads beside the one that decodes.
#[derive(Clone)]
pub struct Crew {
    /// How a job gets to one of them.
    pub beside: Beside,
    /// How many encode one batch together.
    pub encoders: usize,
}

/// One column of a table.
struct Column {
    field: FieldRef,
    chunks: Chunks,
}

/// What writes a column's chunks.
enum Chunks {
    /// The Parquet crate; nested types lie in several chunks.
    Arrow(Vec<ArrowColumnWriter>),
    Flat(Box<FlatColumn>),
}

/// A column chunk that is complete.
pub(super) enum Chunk {
    Arrow(ArrowColumnChunk),
    Flat(Complete, ColumnCloseResult),
}

impl Chunk {
    pub(super) fn append_to<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), CodecError> {
        match self {
            Self::Arrow(chunk) => chunk.append_to_row_group(group)?,
            Self::Flat(bytes, close) => group.append_column(&bytes, close)?,
        }
        Ok(())
    }
}

impl Column {
    /// Decimals become the 64-bit integers that Parquet stores: its writer would copy each value to do so.
    fn new(field: &FieldRef) -> Self {
        let field = match field.data_type() {
            DataType::Decimal64(precision, _) if *precision > DIGITS_32 => {
                Arc::new(field.as_ref().clone().with_data_type(DataType::Int64))
            }
            _ => field.clone(),
        };
        Self { field, chunks: Chunks::Arrow(Vec::new()) }
    }

    /// Has a chunk written by `arrow`, unless it is one that we write ourselves.
    fn add_chunk(
        &mut self,
        description: ColumnDescPtr,
        properties: &WriterProperties,
        arrow: ArrowColumnWriter,
    ) -> Result<(), CodecError> {
        if let Some(flat) = FlatColumn::begin(description, self.field.data_type(), properties)? {
            self.chunks = Chunks::Flat(Box::new(flat));
        } else if let Chunks::Arrow(writers) = &mut self.chunks {
            writers.push(arrow);
        }
        Ok(())
    }

    fn write(&mut self, array: &ArrayRef) -> Result<(), CodecError> {
        let array = self.as_stored(array);
        let writers = match &mut self.chunks {
            Chunks::Flat(column) => return column.write(&array),
            Chunks::Arrow(writers) => writers,
        };
        let leaves = compute_leaves(&self.field, &array)?;
        if leaves.len() != writers.len() {
            return Err(CodecError::Piece(format!("{} has other leaves than its values", self.field.name())));
        }
        writers.iter_mut().zip(&leaves).try_for_each(|(writer, leaf)| Ok(writer.write(leaf)?))
    }

    fn memory(&self) -> usize {
        match &self.chunks {
            Chunks::Arrow(writers) => writers.iter().map(ArrowColumnWriter::memory_size).sum(),
            Chunks::Flat(column) => column.memory(),
        }
    }

    fn bytes(&self) -> usize {
        match &self.chunks {
            Chunks::Arrow(writers) => writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum(),
            Chunks::Flat(column) => column.bytes(),
        }
    }

    fn close(self) -> Result<Vec<Chunk>, CodecError> {
        match self.chunks {
            Chunks::Arrow(writers) => {
                writers.into_iter().map(|writer| Ok(Chunk::Arrow(writer.close()?))).collect()
            }
            Chunks::Flat(column) => {
                let (bytes, close) = column.close()?;
                Ok(vec![Chunk::Flat(bytes, close)])
            }
        }
    }

    fn as_stored(&self, array: &ArrayRef) -> ArrayRef {
        match (self.field.data_type(), array.as_primitive_opt::<Decimal64Type>()) {
            (DataType::Int64, Some(decimals)) => Arc::new(decimals.reinterpret_cast::<Int64Type>()),
            _ => array.clone(),
        }
    }
}

/// An array as the only chunk of its column: what a row group would know of it.
pub(super) fn alone(
    array: &ArrayRef,
    properties: WriterProperties,
) -> Result<ColumnChunkMetaData, CodecError> {
    let field = Arc::new(Field::new("c", array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let column = Column::new(&field);
    let parquet = ArrowSchemaConverter::new().convert(&schema)?;
    if let Some(mut flat) = FlatColumn::begin(parquet.column(0), column.field.data_type(), &properties)? {
        flat.write(&column.as_stored(array))?;
        return Ok(flat.close()?.1.metadata);
    }
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(std::io::sink(), schema.clone(), options)?;
    writer.write(&RecordBatch::try_new(schema, vec![array.clone()])?)?;
    let metadata = writer.close()?;
    let chunk = metadata.row_groups().first().and_then(|group| group.columns().first());
    chunk.cloned().ok_or_else(|| CodecError::Piece("nothing was written of it".to_owned()))
}

/// A column with the values to be written next, and its place among the others.
struct Task {
    place: usize,
    column: Column,
    array: ArrayRef,
}

/// A column with these values in it, or why not.
type Done = (usize, Column, Result<(), CodecError>);

/// All columns of a row group; none before its first batch.
#[derive(Default)]
pub(super) struct Columns(Vec<Column>);

impl Columns {
    /// Begins a row group, the file's `number`th.
    pub(super) fn begin(
        &mut self,
        factory: &ArrowRowGroupWriterFactory,
        schema: &SchemaRef,
        (parquet, properties): (&SchemaDescriptor, &WriterProperties),
        number: usize,
    ) -> Result<(), CodecError> {
        let fields = schema.fields().iter();
        self.0 = fields.map(Column::new).collect();
        for (leaf, writer) in factory.create_column_writers(number)?.into_iter().enumerate() {
            let column = &mut self.0[parquet.get_column_root_idx(leaf)];
            column.add_chunk(parquet.column(leaf), properties, writer)?;
        }
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Bytes that are held in memory.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(Column::memory).sum()
    }

    /// About how many bytes the row group would take if it ended here.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Column::bytes).sum()
    }

    /// Encodes a batch, alone or with a crew.
    pub(super) fn write(&mut self, batch: &RecordBatch, crew: Option<&Crew>) -> Result<(), CodecError> {
        match crew.filter(|crew| crew.encoders > 1 && self.0.len() > 1) {
            Some(crew) => self.write_together(batch, crew),
            None => {
                self.0.iter_mut().zip(batch.columns()).try_for_each(|(column, array)| column.write(array))
            }
        }
    }

    fn write_together(&mut self, batch: &RecordBatch, crew: &Crew) -> Result<(), CodecError> {
        let columns = std::mem::take(&mut self.0).into_iter().enumerate().zip(batch.columns());
        let mut tasks: Vec<Task> =
            columns.map(|((place, column), array)| Task { place, column, array: array.clone() }).collect();
        let (all, helpers) = (tasks.len(), crew.encoders.min(tasks.len()) - 1);
        // They are taken from the end.
        tasks.sort_by_cached_key(|task| task.array.get_buffer_memory_size());
        let tasks = Arc::new(Mutex::new(tasks));
        let (done, columns) = mpsc::channel();
        for _ in 0..helpers {
            let (tasks, done) = (Arc::clone(&tasks), done.clone());
            (crew.beside)(Box::new(move || shift(&tasks, &done)));
        }
        shift(&tasks, &done);
        // A helper that dies takes its sender along, and with it the hope for its column.
        drop(done);
        let mut columns: Vec<Done> = columns.iter().take(all).collect();
        if columns.len() < all {
            return Err(CodecError::Piece("one of its encoders ended before".to_owned()));
        }
        columns.sort_by_key(|(place, ..)| *place);
        columns.into_iter().try_for_each(|(_, column, written)| {
            self.0.push(column);
            written
        })
    }

    /// Ends the row group.
    pub(super) fn end(&mut self) -> Result<Vec<Chunk>, CodecError> {
        let columns = std::mem::take(&mut self.0).into_iter();
        let chunks: Vec<Vec<Chunk>> = columns.map(Column::close).collect::<Result<_, _>>()?;
        Ok(chunks.into_iter().flatten().collect())
    }
}

/// Takes tasks as long as there are any.
fn shift(tasks: &Mutex<Vec<Task>>, done: &Sender<Done>) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(Task { place, mut column, array }) = task else { return };
        let written = column.write(&array);
        drop(array);
        // Nobody listens where another column has failed.
        let _ = done.send((place, column, written));
    }
}

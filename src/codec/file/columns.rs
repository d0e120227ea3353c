//! [`Columns`]: the columns of an open row group, and [`Crew`]: the threads that encode them side by side.
//!
//! Encoding takes most of a dump's time, and each column's own: text takes many times as long as a number. So threads take
//! one column after the other, the largest first. The file does not depend on who encodes what.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, FieldRef, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::schema::types::SchemaDescriptor;

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

/// One column of a table, which nested types lay out in several leaves.
struct Column {
    field: FieldRef,
    leaves: Vec<ArrowColumnWriter>,
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
        Self { field, leaves: Vec::new() }
    }

    fn write(&mut self, array: &ArrayRef) -> Result<(), CodecError> {
        let leaves = compute_leaves(&self.field, &self.as_stored(array))?;
        if leaves.len() != self.leaves.len() {
            return Err(CodecError::Piece(format!("{} has other leaves than its values", self.field.name())));
        }
        self.leaves.iter_mut().zip(&leaves).try_for_each(|(writer, leaf)| Ok(writer.write(leaf)?))
    }

    fn as_stored(&self, array: &ArrayRef) -> ArrayRef {
        match (self.field.data_type(), array.as_primitive_opt::<Decimal64Type>()) {
            (DataType::Int64, Some(decimals)) => Arc::new(decimals.reinterpret_cast::<Int64Type>()),
            _ => array.clone(),
        }
    }
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
        parquet: &SchemaDescriptor,
        number: usize,
    ) -> Result<(), CodecError> {
        let fields = schema.fields().iter();
        self.0 = fields.map(Column::new).collect();
        for (leaf, writer) in factory.create_column_writers(number)?.into_iter().enumerate() {
            self.0[parquet.get_column_root_idx(leaf)].leaves.push(writer);
        }
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Bytes that are held in memory.
    pub(super) fn memory(&self) -> usize {
        self.leaves().map(ArrowColumnWriter::memory_size).sum()
    }

    /// About how many bytes the row group would take if it ended here.
    pub(super) fn bytes(&self) -> usize {
        self.leaves().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    fn leaves(&self) -> impl Iterator<Item = &ArrowColumnWriter> {
        self.0.iter().flat_map(|column| &column.leaves)
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
    pub(super) fn end(&mut self) -> Result<Vec<ArrowColumnChunk>, CodecError> {
        let leaves = std::mem::take(&mut self.0).into_iter().flat_map(|column| column.leaves);
        Ok(leaves.map(ArrowColumnWriter::close).collect::<Result<_, _>>()?)
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

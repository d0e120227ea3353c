//! [`Output`]: the Parquet file of a piece while it is written. It is begun with the first batch, because that decides how
//! columns are encoded.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions};
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::auction::{self, Choice, Terms, Won};
use super::columns::{Columns, Crew};
use super::precedent::Precedent;
use super::schema::{has_room_for_dictionaries, parquet_schema, writer_properties};
use super::sink::HashingSink;
use super::writer::PieceLimits;
use crate::base::Digest;
use crate::codec::CodecError;
use crate::codec::shape::PieceShape;

pub(super) struct Output<W: Write + Send> {
    shape: PieceShape,
    schema: SchemaRef,
    limits: PieceLimits,
    precedent: Precedent,
    /// Until the first batch.
    sink: Option<HashingSink<W>>,
    /// From the first batch on.
    file: Option<File<W>>,
    /// The open row group.
    columns: Columns,
}

/// What is written, and what begins its row groups.
struct File<W: Write + Send> {
    writer: SerializedFileWriter<HashingSink<W>>,
    factory: ArrowRowGroupWriterFactory,
}

impl<W: Write + Send> Output<W> {
    pub(super) fn new(sink: W, shape: &PieceShape, limits: PieceLimits) -> Self {
        let (sink, schema) = (Some(HashingSink::new(sink)), shape.arrow_schema());
        let (precedent, columns) = (Precedent::default(), Columns::default());
        Self { shape: shape.clone(), schema, limits, precedent, sink, file: None, columns }
    }

    /// Goes by the auctions of other files, or sets them.
    pub(super) fn heed(&mut self, precedent: Precedent) {
        self.precedent = precedent;
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Writes a batch of a row group that will have `group_rows`, if memory lasts; alone or with a crew.
    pub(super) fn write(
        &mut self,
        batch: &RecordBatch,
        group_rows: usize,
        crew: Option<&Crew>,
    ) -> Result<(), CodecError> {
        if self.file.is_none() {
            let parquet = parquet_schema(&self.shape)?;
            let choices = self.choose(batch, group_rows, has_room_for_dictionaries(&parquet))?;
            self.begin(parquet, &choices)?;
        }
        if !self.columns.is_open()
            && let Some(File { writer, factory }) = &self.file
        {
            let number = writer.flushed_row_groups().len();
            let parquet = (writer.schema_descr(), writer.properties().as_ref());
            self.columns.begin(factory, &self.schema, parquet, number)?;
        }
        self.columns.write(batch, crew)
    }

    /// What is best for each column, by the first batch.
    fn choose(
        &self,
        batch: &RecordBatch,
        group_rows: usize,
        dictionaries: bool,
    ) -> Result<Vec<(ColumnPath, Choice)>, CodecError> {
        if self.limits.plain {
            return Ok(Vec::new());
        }
        let rows = batch.num_rows();
        let by_bytes = self.limits.group_bytes.saturating_mul(rows) / batch.get_array_memory_size().max(1);
        let group_rows = group_rows.min(by_bytes.max(rows));
        let terms = Terms { group_rows, level: self.limits.zstd_level, dictionaries };
        let columns = batch.columns().iter().enumerate();
        let won: Vec<Option<Won>> = columns
            .map(|(index, array)| auction::choose(array, terms, self.precedent.of(index, group_rows)))
            .collect::<Result<_, _>>()?;
        let named = self.schema.fields().iter().zip(&won);
        let choices = named
            .filter_map(|(field, won)| Some((ColumnPath::new(vec![field.name().clone()]), (*won)?.choice)))
            .collect();
        self.precedent.note(group_rows, won);
        Ok(choices)
    }

    fn begin(
        &mut self,
        parquet: SchemaDescriptor,
        choices: &[(ColumnPath, Choice)],
    ) -> Result<(), CodecError> {
        let Some(sink) = self.sink.take() else { return Ok(()) };
        let PieceLimits { zstd_level, plain, .. } = self.limits;
        let metadata = Some(self.shape.metadata.as_str());
        let properties = writer_properties(&parquet, zstd_level, plain, metadata, choices)?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true)
            .with_parquet_schema(parquet);
        let writer = ArrowWriter::try_new_with_options(sink, self.schema.clone(), options)?;
        let (writer, factory) = writer.into_serialized_writer()?;
        self.file = Some(File { writer, factory });
        // The first segment is the magic bytes, so that the next one starts with the first row group.
        self.cut()?;
        Ok(())
    }

    fn open(&mut self) -> Result<&mut SerializedFileWriter<HashingSink<W>>, CodecError> {
        if self.file.is_none() {
            self.begin(parquet_schema(&self.shape)?, &[])?;
        }
        let file =
            self.file.as_mut().ok_or_else(|| CodecError::Piece("its file was ended before".to_owned()))?;
        Ok(&mut file.writer)
    }

    /// Bytes that are held in memory.
    pub(super) fn memory(&self) -> usize {
        self.columns.memory()
    }

    /// Bytes that are written, and what the open row group will take.
    pub(super) fn bytes(&self) -> usize {
        self.file.as_ref().map_or(0, |file| file.writer.bytes_written() + self.columns.bytes())
    }

    /// Ends the row group: where its bytes are, and their hash.
    pub(super) fn end_group(&mut self) -> Result<(u64, u64, Digest), CodecError> {
        let chunks = self.columns.end()?;
        let mut group = self.open()?.next_row_group()?;
        for chunk in chunks {
            chunk.append_to(&mut group)?;
        }
        group.close()?;
        self.cut()
    }

    /// Ends a segment of the file. The Parquet writer's own buffer is emptied first, or the segment would lack its
    /// tail.
    fn cut(&mut self) -> Result<(u64, u64, Digest), CodecError> {
        let writer = self.open()?;
        writer.flush()?;
        debug_assert_eq!(writer.bytes_written() as u64, writer.inner().written());
        Ok(writer.inner_mut().cut()?)
    }

    /// Ends the file with one more note in its footer: the sink, its bytes and their hash.
    pub(super) fn finish(mut self, note: KeyValue) -> Result<(W, u64, Digest), CodecError> {
        self.open()?.append_key_value_metadata(note);
        let file = self.file.ok_or_else(|| CodecError::Piece("its file was not begun".to_owned()))?;
        Ok(file.writer.into_inner()?.finish()?)
    }
}

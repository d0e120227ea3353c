//! [`Parquet`]: an answer as one Parquet file.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::Output;
use crate::codec::CodecError;
use crate::ops::OpsError;

pub(super) struct Parquet {
    out: Option<Box<dyn Write + Send>>,
    writer: Option<ArrowWriter<Box<dyn Write + Send>>>,
}

impl Parquet {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out: Some(out), writer: None }
    }
}

fn failed(error: parquet::errors::ParquetError) -> OpsError {
    OpsError::Output(std::io::Error::other(CodecError::from(error)))
}

impl Output for Parquet {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), OpsError> {
        // A NaN has no place in a minimum or maximum: readers drop its row.
        let properties = WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        if let Some(out) = self.out.take() {
            self.writer = Some(ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(failed)?);
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), OpsError> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write(batch).map_err(failed))
    }

    fn end(&mut self) -> Result<(), OpsError> {
        let out = self.writer.take().map(ArrowWriter::into_inner).transpose().map_err(failed)?;
        out.map_or(Ok(()), |mut out| out.flush().map_err(super::unwritten))
    }
}

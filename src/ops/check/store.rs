//! The findings of a check as a Parquet file, every value as the text that it was printed as.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;

use crate::codec::CodecError;
use crate::ops::OpsError;
use crate::pg::workbench::TextTable;

/// Writes `table` as `DIR/name`.
pub(super) fn store(folder: &Path, name: &str, table: &TextTable) -> Result<(), OpsError> {
    std::fs::create_dir_all(folder).map_err(OpsError::Output)?;
    write(&folder.join(name), table).map_err(|error| OpsError::Output(std::io::Error::other(error)))
}

fn write(path: &Path, table: &TextTable) -> Result<(), CodecError> {
    let fields = table.columns.iter().map(|name| Field::new(name, DataType::Utf8, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let column = |at: usize| -> ArrayRef {
        let mut values = StringBuilder::new();
        table.rows.iter().for_each(|row| values.append_option(row[at].as_deref()));
        Arc::new(values.finish())
    };
    let columns = (0..table.columns.len()).map(column).collect();
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema.clone(), None)?;
    writer.write(&RecordBatch::try_new(schema, columns)?)?;
    writer.close()?;
    Ok(())
}

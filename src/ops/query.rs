//! `query`: SQL on the files of a backup, the answer as a table, CSV, JSON or Parquet.

mod csv;
mod json;
mod parquet;
mod table;

use std::io::Write;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures_util::TryStreamExt as _;
use serde::Serialize;

use super::OpsError;
use crate::base::{BackupId, TableName, Timestamp};
use crate::query::Session;
use crate::store::{BackupChoice, Vault};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// RFC 4180; NULL is an empty field, an empty text is `""`.
    Csv,
    /// One array of objects; what JSON numbers cannot hold exactly is text.
    Json,
    /// One Parquet file.
    Parquet,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueryReport {
    /// Which backup was asked.
    pub backup: BackupId,
    /// The time of its snapshot.
    pub snapshot_time: Timestamp,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// How many rows the answer has.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A backup that can be asked many times.
pub struct Questions {
    session: Session,
    backup: BackupId,
    snapshot_time: Timestamp,
}

/// A table of the backup, and its columns as `name type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownTable {
    /// Its name.
    pub table: TableName,
    /// Names and types of its columns; those that a query sees as text say so.
    pub columns: Vec<(String, String)>,
}

/// Writes an answer as it comes.
trait Output {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), OpsError>;
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), OpsError>;
    fn end(&mut self) -> Result<(), OpsError>;
}

impl Questions {
    /// Opens a backup.
    pub fn open(vault: &Vault, choice: &BackupChoice) -> Result<Self, OpsError> {
        let manifest = choice.find(vault)?.manifest;
        let (backup, snapshot_time) = (manifest.head.id.clone(), manifest.head.snapshot_time);
        Ok(Self { session: Session::open(vault, manifest)?, backup, snapshot_time })
    }

    /// Which backup it is.
    pub fn backup(&self) -> (&BackupId, Timestamp) {
        (&self.backup, self.snapshot_time)
    }

    /// What can be asked about.
    pub fn tables(&self) -> Vec<KnownTable> {
        let table = |(table, columns): (TableName, &[crate::query::Carried])| KnownTable {
            table,
            columns: columns
                .iter()
                .map(|column| {
                    let note = if column.is_text() { ", as text: it has values beyond its type" } else { "" };
                    (column.name.clone(), format!("{}{note}", column.type_sql))
                })
                .collect(),
        };
        self.session.tables_under("").map(table).collect()
    }

    /// Asks, and writes the answer to `out`.
    pub async fn ask(
        &self,
        sql: &str,
        format: Format,
        out: Box<dyn Write + Send>,
    ) -> Result<QueryReport, OpsError> {
        let began = Instant::now();
        let mut output: Box<dyn Output> = match format {
            Format::Table => Box::new(table::Table::new(out)),
            Format::Csv => Box::new(csv::Csv::new(out)),
            Format::Json => Box::new(json::Json::new(out)),
            Format::Parquet => Box::new(parquet::Parquet::new(out)),
        };
        let mut stream = self.session.stream(sql).await?;
        let schema = stream.schema();
        let mut rows = 0;
        output.begin(&schema)?;
        while let Some(batch) = stream.try_next().await.map_err(|error| self.session.why(error))? {
            rows += batch.num_rows() as u64;
            output.batch(&batch)?;
        }
        output.end()?;
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        let (backup, snapshot_time) = (self.backup.clone(), self.snapshot_time);
        Ok(QueryReport { backup, snapshot_time, columns, rows, seconds: began.elapsed().as_secs_f64() })
    }
}

/// A sink that refuses: a full disk, or a reader that has gone.
fn unwritten(error: std::io::Error) -> OpsError {
    OpsError::Output(error)
}

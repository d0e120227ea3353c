//! `query`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::base::Timestamp;
use crate::store::BackupChoice;

/// `query`.
#[derive(Debug, clap::Args)]
pub struct QueryArgs {
    /// A backup (as for every command) if two words are given, then the SQL; `-` reads it from standard input; none: a
    /// prompt on a terminal
    #[arg(value_name = "[BACKUP] SQL", num_args = 0..=2)]
    pub words: Vec<String>,
    /// Which backup: `latest`, an id, the beginning of an id, or a tag
    #[arg(long, value_name = "BACKUP")]
    pub backup: Option<String>,
    /// The newest backup not later than this (2026-11-20T02:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub before: Option<Timestamp>,
    /// How the answer is written
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: QueryFormat,
    /// Where to [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// For people
    Table,
    /// With a header; NULL is an empty field
    Csv,
    /// One array of objects
    Json,
    /// A Parquet file
    Parquet,
}

impl QueryArgs {
    /// Which backup, and the SQL if it was given.
    pub fn meant(&self) -> Result<(BackupChoice, Option<&str>), String> {
        let (backup, sql) = match self.words.as_slice() {
            [] => (None, None),
            [sql] => (None, Some(sql.as_str())),
            [backup, sql, ..] => (Some(backup), Some(sql.as_str())),
        };
        if backup.is_some() && self.backup.is_some() {
            return Err("name the backup once: before the SQL, or with --backup".to_owned());
        }
        Ok((BackupChoice { name: backup.or(self.backup.as_ref()).cloned(), before: self.before }, sql))
    }
}

//! `check`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::BackupArgs;

/// `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Which backup.
    #[command(flatten)]
    pub backup: BackupArgs,
    /// Check a database instead of the files of a backup [without a value: from configuration and PG* variables]
    #[arg(long = "db", value_name = "DB", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["backup", "before"])]
    pub database: Option<String>,
    /// Only this pack: trading, balance, market, audit, structure (more than once for several)
    #[arg(long, value_name = "PACK")]
    pub pack: Vec<String>,
    /// Only this check, by id or name (more than once for several)
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// Findings to show of each check
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub sample: u64,
    /// How the report is written
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: CheckFormat,
    /// Where to [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write all findings into this folder, a Parquet file for each check
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Show which tables and columns are taken for what, and why, and a configuration to start from; check nothing
    #[arg(long)]
    pub explain: bool,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For a terminal
    Table,
    /// The document that the others are made of
    Json,
    /// For CI
    Junit,
    /// One page that needs nothing else, with charts
    Html,
}

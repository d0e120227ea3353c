//! `verify` and `compare`: the two proofs.

use clap::ValueEnum;

use super::BackupArgs;

/// `verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Which backup.
    #[command(flatten)]
    pub backup: BackupArgs,
    /// How deep to look
    #[arg(long, value_name = "LEVEL", default_value = "hash")]
    pub level: VerifyLevel,
}

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyLevel {
    /// Every file is there and has its length
    Exist,
    /// Every byte of every file has the digest of the manifest
    Hash,
    /// Every row is decoded again, and the rows give the rowset digest of the dump
    Decode,
}

/// `compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Which backup.
    #[command(flatten)]
    pub backup: BackupArgs,
    /// The database to compare with [default: from configuration and PG* variables]
    #[arg(long = "db", value_name = "DB")]
    pub database: Option<String>,
    /// Print the rows that differ
    #[arg(long)]
    pub rows: bool,
    /// Differing rows to print for each table
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

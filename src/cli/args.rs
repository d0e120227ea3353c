//! What can be typed, and nothing about what it means: clap's types, one for each command, with examples in every help.

mod check;
mod compare;
mod diff;
mod drill;
pub(super) mod dump;
mod examples;
#[cfg(feature = "query")]
mod query;
mod restore;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub use check::{CheckArgs, CheckFormat};
pub use compare::{CompareArgs, VerifyArgs, VerifyLevel};
pub use diff::DiffArgs;
pub use drill::{DrillArgs, PolicyChoice, TargetChoice};
pub use dump::DumpArgs;
#[cfg(feature = "query")]
pub use query::{QueryArgs, QueryFormat};
pub use restore::{RestoreArgs, RestoreMode, RolesChoice, TimescaleChoice};

use crate::base::Timestamp;
use crate::store::BackupChoice;

/// Dumps PostgreSQL tables to Parquet, restores them, and proves that what was restored is what was dumped
#[derive(Debug, Parser)]
#[command(name = "barkeep", version, max_term_width = 100, after_help = examples::BARKEEP)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Args {
    /// For every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// Which command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Print exactly one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file [default: ./barkeep.toml, then ~/.config/barkeep/config.toml] [env: BARKEEP_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The vault: the directory where backups live [env: BARKEEP_VAULT]
    #[arg(long, global = true, value_name = "DIR")]
    pub vault: Option<PathBuf>,
    /// How progress is shown on standard error
    #[arg(long, global = true, value_name = "HOW")]
    pub progress: Option<ProgressMode>,
    /// Print only errors, and what was asked for
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Log more; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// Bars
    Bar,
    /// A line for each phase, and at most one every five seconds
    Plain,
    /// One JSON document a line
    Json,
    /// Nothing
    None,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show all of it on a throw-away server: dump, verify, restore, compare, and catch planted damage
    #[command(after_help = examples::DEMO)]
    Demo(DemoArgs),
    /// Take a backup of a database
    #[command(after_help = examples::DUMP)]
    Dump(Box<DumpArgs>),
    /// Bring back a backup, or a part of it, into a database
    #[command(after_help = examples::RESTORE)]
    Restore(Box<RestoreArgs>),
    /// Check the files of a backup against its manifest; needs no database
    #[command(after_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Check the rows in a database against a backup
    #[command(after_help = examples::COMPARE)]
    Compare(CompareArgs),
    /// Show what differs between two backups, or a backup and a database: tables, chunks, rows
    #[command(after_help = examples::DIFF)]
    Diff(DiffArgs),
    /// Ask whether the data in a database is right: trades, balances, bars, audit trails
    #[command(after_help = examples::CHECK)]
    Check(CheckArgs),
    /// Ask a backup in SQL, with no server
    #[cfg(feature = "query")]
    #[command(after_help = examples::QUERY)]
    Query(QueryArgs),
    /// Prove that a backup comes back: restore it elsewhere, compare every row, run the checks, plant damage, report
    #[command(after_help = examples::DRILL)]
    Drill(Box<DrillArgs>),
    /// List the backups of a vault, newest first
    #[command(after_help = examples::LIST)]
    List(ListArgs),
    /// Show one backup table by table, and everything that it left out
    #[command(after_help = examples::SHOW)]
    Show(ShowArgs),
    /// Print the Parquet files of one table, or a ready line for a reader
    #[command(after_help = examples::FILES)]
    Files(FilesArgs),
    /// Make a vault, and a configuration file that explains every setting
    #[command(after_help = examples::INIT)]
    Init(InitArgs),
    /// Check everything that can be known before the first byte: server, privileges, client tools, vault
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
}

impl Command {
    /// Its name, for JSON documents.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Dump(_) => "dump",
            Self::Restore(_) => "restore",
            Self::Verify(_) => "verify",
            Self::Compare(_) => "compare",
            Self::Diff(_) => "diff",
            Self::Check(_) => "check",
            #[cfg(feature = "query")]
            Self::Query(_) => "query",
            Self::Drill(_) => "drill",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Files(_) => "files",
            Self::Init(_) => "init",
            Self::Doctor(_) => "doctor",
        }
    }

    /// Whether a configuration file that is named has to be there.
    pub(super) fn needs_config(&self) -> bool {
        !matches!(self, Self::Init(_))
    }
}

/// Which backup.
#[derive(Debug, Clone, clap::Args)]
pub struct BackupArgs {
    /// `latest`, an id, the beginning of an id, or a tag [default: latest]
    #[arg(value_name = "BACKUP")]
    pub backup: Option<String>,
    /// The newest backup not later than this (2026-11-20T02:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub before: Option<Timestamp>,
}

impl BackupArgs {
    /// What that means in a vault.
    pub fn choice(&self) -> BackupChoice {
        BackupChoice { name: self.backup.clone(), before: self.before }
    }
}

/// `demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Use this server instead of a throw-away one; makes the databases barkeep_demo and barkeep_demo_restored there
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

/// `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {}

/// `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Which backup.
    #[command(flatten)]
    pub backup: BackupArgs,
    /// Show the columns of each table too
    #[arg(long)]
    pub columns: bool,
}

/// `files`.
#[derive(Debug, clap::Args)]
pub struct FilesArgs {
    /// Which backup.
    #[command(flatten)]
    pub backup: BackupArgs,
    /// The table
    #[arg(long, short, value_name = "TABLE")]
    pub table: String,
    /// Print a line for DuckDB
    #[arg(long, group = "reader")]
    pub duckdb: bool,
    /// Print a line for Polars
    #[arg(long, group = "reader")]
    pub polars: bool,
    /// Print a line for Spark
    #[arg(long, group = "reader")]
    pub spark: bool,
}

/// `init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {}

/// `doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// The database: a URI, a key=value string, a service, or a name [default: from configuration and PG* variables]
    #[arg(value_name = "DB")]
    pub database: Option<String>,
    /// Ask as well which of the server's settings would make a restore into it slow
    #[arg(long)]
    pub for_restore: bool,
}

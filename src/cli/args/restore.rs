//! `restore`: what, where to, under which names, and what happens to what is there.

use clap::ValueEnum;

use super::BackupArgs;
use super::dump::SelectionArgs;
use crate::ops::restore::Memory;

/// `restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// Which backup.
    #[command(flatten)]
    pub backup: BackupArgs,
    /// The database to restore into: a URI, a key=value string, a service, or a name
    #[arg(long, value_name = "DB")]
    pub to: String,
    /// Create the database first, as the source was
    #[arg(long)]
    pub create: bool,
    /// Which tables.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Restore the objects of schema OLD into schema NEW
    #[arg(long, value_name = "OLD=NEW", help_heading = "Names")]
    pub map_schema: Vec<String>,
    /// Restore table OLD under the name NEW
    #[arg(long, value_name = "OLD=NEW", help_heading = "Names")]
    pub rename: Vec<String>,
    /// What to do where a table is there already
    #[arg(long, value_name = "MODE", default_value = "fail")]
    pub mode: RestoreMode,
    /// Leave owners out
    #[arg(long)]
    pub no_owner: bool,
    /// Leave grants out
    #[arg(long)]
    pub no_privileges: bool,
    /// Put everything into the default tablespace
    #[arg(long)]
    pub no_tablespaces: bool,
    /// What to do about roles that the backup names and the server does not have
    #[arg(long, value_name = "WHAT", default_value = "require")]
    pub roles: RolesChoice,
    /// Let the target's own triggers fire while rows come in
    #[arg(long)]
    pub triggers: bool,
    /// Lanes: connections that write at the same time [default: one a processor, 2 to 8]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
    /// Memory of each lane for building indexes, at most (maintenance_work_mem) [default: shared_buffers divided by the lanes, up to 1GB, where that is more than the server's own]
    #[arg(long, value_name = "SIZE")]
    pub maintenance_work_mem: Option<Memory>,
    /// Restore these tables before all others
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    pub first: Vec<String>,
    /// How much of TimescaleDB has to come back
    #[arg(long, value_name = "HOW", default_value = "auto", help_heading = "TimescaleDB")]
    pub timescale: TimescaleChoice,
    /// Start the policies and jobs that ran in the source; they are restored paused
    #[arg(long, help_heading = "TimescaleDB")]
    pub enable_jobs: bool,
    /// Print the plan and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Do not compare afterwards what was restored with what was dumped
    #[arg(long)]
    pub no_compare: bool,
    /// Needed where the target is the very database that the backup came from
    #[arg(long)]
    pub yes_overwrite_source: bool,
}

/// What happens where a table is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RestoreMode {
    /// Refuse before the first statement
    Fail,
    /// Add the rows to those that are there
    Append,
    /// Add only rows whose primary key is not there
    OnlyMissing,
    /// Empty the table first
    Replace,
}

/// What to do about missing roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RolesChoice {
    /// Stop before the first statement and name them all
    Require,
    /// Make them, without login and password
    Create,
    /// Leave out what names them
    Skip,
}

/// How much of TimescaleDB has to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TimescaleChoice {
    /// All that the target offers; what it does not is listed
    Auto,
    /// Everything; refuse where anything would be lost
    Require,
    /// Nothing: ordinary and partitioned tables
    Plain,
}

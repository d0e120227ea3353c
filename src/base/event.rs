//! What happens while work goes on, as plain data: the library says it, the command line shows it.

use super::{BackupId, TableName};

/// One thing worth telling while a dump or a restore runs. Counts are totals so far for the named table, not increments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new phase has begun (`"survey"`, `"data"`, `"indexes"` …).
    Phase(&'static str),
    /// The work ahead, known once the plan stands.
    Planned {
        /// Tables with data.
        tables: u64,
        /// Units of work.
        units: u64,
        /// Estimated rows, where known.
        rows: u64,
        /// Estimated bytes on the wire, where known.
        bytes: u64,
    },
    /// More rows of a table have gone by.
    Progress {
        /// Which table.
        table: TableName,
        /// Rows since the last event of this unit.
        rows: u64,
        /// Bytes of COPY data since the last event of this unit.
        bytes: u64,
    },
    /// Everything of a table is done.
    TableDone {
        /// Which table.
        table: TableName,
        /// Rows in all.
        rows: u64,
    },
    /// One step of the schema, an index or a constraint is done.
    Step {
        /// What was done, for people.
        what: String,
    },
    /// Something a person should know; it also stands in the manifest or the report.
    Warning(String),
    /// The backup exists now.
    Committed(BackupId),
}

/// Where events go. Called from many threads; must not block for long.
pub trait Events: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Events for Silent {
    fn emit(&self, _event: Event) {}
}

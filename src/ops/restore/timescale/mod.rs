//! TimescaleDB's part of a restore: what comes back as it was, what becomes something else, and the steps for both.
//!
//! Everything is replayed through public functions, each step in a transaction of its own with its row of the journal.

mod aggregates;
mod compression;
mod decide;
mod fit;
mod hypertables;
mod jobs;
mod steps;

use serde::Serialize;

pub(super) use decide::Replay;
pub(super) use fit::{fit, parted, rows};
pub use jobs::{RestoredJob, start_jobs};

use super::Restore;
use crate::catalog::timescale::{Dimension, Range, Timescale};
use crate::manifest::Table;

/// How much of TimescaleDB has to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimescaleMode {
    /// All that the target offers.
    #[default]
    Auto,
    /// Everything; refuse where anything would be lost.
    Require,
    /// Nothing: tables of plain PostgreSQL, partitioned where that is worth it.
    Plain,
}

impl Restore<'_> {
    fn timescale(&self) -> Option<&Timescale> {
        self.sealed.manifest.body.timescale.as_ref()
    }

    /// The dimension of time of a chunked table, its function under the name that it has in the target.
    pub(super) fn time_of(&self, table: &Table) -> Option<Dimension> {
        let rows = self.timescale().and_then(|timescale| timescale.rows_of(&table.name));
        let time = rows.and_then(|rows| rows.time())?;
        let function = time.function.as_ref().map(|function| self.scope.routine(function));
        Some(Dimension { function, ..time.clone() })
    }

    /// The range of time that is wanted of a chunked table; none where all of it is.
    pub(super) fn slice_of(&self, table: &Table) -> Option<(Dimension, Range)> {
        let slice = &self.request.slice;
        if slice.is_everything() || !table.kind.is_chunked() {
            return None;
        }
        let time = self.time_of(table)?;
        let range = slice.on(&time)?;
        Some((time, range))
    }
}

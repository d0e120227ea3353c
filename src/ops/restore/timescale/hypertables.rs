//! Tables become hypertables again, before their rows; where the edition allows, with the very chunks they had.

use std::collections::BTreeSet;

use super::steps::Step;
use crate::base::TableName;
use crate::catalog::timescale::{Chunk, Hypertable, Range};
use crate::manifest::Table;
use crate::ops::OpsError;
use crate::ops::restore::{Restore, RestoreReport};
use crate::pg::PgError;
use crate::plan::timescale::calls;

/// Chunks made in one transaction: each holds a few locks until its end.
const BATCH: usize = 100;

/// No time that PostgreSQL can show is as late; the chunk that stands for tiered rows begins there.
const BEYOND: i64 = 9_200_000_000_000_000_000;

impl Restore<'_> {
    /// Makes the hypertables, and their chunks.
    pub(in crate::ops::restore) async fn hypertables(
        &self,
        report: &mut RestoreReport,
    ) -> Result<(), OpsError> {
        let replay = &self.scope.replay;
        let (Some(functions), false) = (&replay.functions, replay.hypertables.is_empty()) else {
            return Ok(());
        };
        self.phase("hypertables", report);
        let tablespaces = self.tablespaces().await?;
        let mut steps = Vec::new();
        for hypertable in &replay.hypertables {
            let name = self.scope.relation(&hypertable.name);
            let routine = |function: &TableName| self.scope.routine(function);
            let mut sql = calls::hypertable(functions, &name, hypertable, &routine);
            let wanted = hypertable.tablespaces.iter().filter(|one| tablespaces.contains(*one));
            sql.extend(wanted.map(|one| calls::tablespace(functions, &name, one)));
            steps.push(Step {
                key: format!("hypertable:{}", hypertable.name.sql()),
                label: format!("hypertable {name}"),
                sql,
                otherwise: Vec::new(),
            });
        }
        // One lane: hypertables that refer to each other's tables would wait for each other's locks.
        self.steps(steps, 1).await?;
        let mut chunks = Vec::new();
        for hypertable in &replay.hypertables {
            chunks.extend(self.chunk_steps(
                hypertable,
                &hypertable.name,
                &self.scope.relation(&hypertable.name),
            ));
        }
        self.steps(chunks, 1).await
    }

    /// Tablespaces of the server, where they are wanted.
    async fn tablespaces(&self) -> Result<BTreeSet<String>, OpsError> {
        if !self.request.tablespaces {
            return Ok(BTreeSet::new());
        }
        let sql = "SELECT spcname::text FROM pg_catalog.pg_tablespace";
        let rows = self.target.client().query(sql, &[]).await;
        let rows = rows.map_err(|error| PgError::query("listing tablespaces", error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Steps that make the chunks whose rows are wanted, in `rows`; none where the edition has no function for it.
    pub(super) fn chunk_steps(
        &self,
        hypertable: &Hypertable,
        table: &TableName,
        rows: &TableName,
    ) -> Vec<Step> {
        let replay = &self.scope.replay;
        let (Some(functions), true, false) = (&replay.functions, replay.full, self.request.schema_only)
        else {
            return Vec::new();
        };
        let chunks = self.wanted_chunks(hypertable, table);
        let batches = chunks.chunks(BATCH).enumerate();
        batches
            .map(|(number, batch)| Step {
                key: format!("chunks:{}:{number}", table.sql()),
                label: format!("{} chunks of {rows}", batch.len()),
                sql: batch.iter().map(|chunk| calls::create_chunk(functions, rows, chunk)).collect(),
                otherwise: Vec::new(),
            })
            .collect()
    }

    /// The chunks of a table with rows that are wanted.
    pub(super) fn wanted_chunks(&self, hypertable: &Hypertable, name: &TableName) -> Vec<&Chunk> {
        let Some(table) = self.wanted_table(name) else { return Vec::new() };
        let slice = self.slice_of(table);
        let time = hypertable.time().map(|time| &*time.column).unwrap_or_default();
        let range = |chunk: &Chunk| chunk.ranges.get(time).copied();
        let wanted = |chunk: &Chunk| {
            let tiered = hypertable.time().is_some_and(|time| time.is_time())
                && range(chunk).is_some_and(|range| range.from != Range::MIN && range.from > BEYOND);
            let outside = slice.as_ref().zip(range(chunk)).is_some_and(|((_, all), one)| !all.overlaps(one));
            !tiered && !outside
        };
        let chunks = table.units.iter().filter_map(|unit| unit.chunk.as_ref()).map(|unit| &unit.chunk);
        chunks.filter(|chunk| wanted(chunk)).collect()
    }

    /// The table, if its rows are restored.
    pub(super) fn wanted_table(&self, name: &TableName) -> Option<&Table> {
        let tables = &self.sealed.manifest.body.tables;
        self.scope.tables.iter().filter_map(|index| tables.get(*index)).find(|table| table.name == *name)
    }
}

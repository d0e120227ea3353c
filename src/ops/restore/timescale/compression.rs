//! Compression: the settings, then the chunks that were compressed, on all lanes. It comes after the constraints, which
//! cannot all be added to compressed tables.

use super::steps::Step;
use crate::base::{Event, TableName};
use crate::catalog::timescale::Hypertable;
use crate::ops::OpsError;
use crate::ops::restore::Restore;
use crate::plan::timescale::calls::{self, Functions};

impl Restore<'_> {
    /// Settings and chunks of hypertables.
    pub(in crate::ops::restore) async fn compression(&self) -> Result<(), OpsError> {
        let replay = &self.scope.replay;
        let (Some(functions), true) = (&replay.functions, replay.full) else { return Ok(()) };
        let has = |table: &&Hypertable| table.compression.is_some() || !table.skipping.is_empty();
        let tables: Vec<&Hypertable> = replay.hypertables.iter().filter(has).collect();
        if tables.is_empty() {
            return Ok(());
        }
        self.services.events.emit(Event::Phase("compression"));
        let mut settings = Vec::new();
        let mut chunks = Vec::new();
        for hypertable in tables {
            let name = self.scope.relation(&hypertable.name);
            settings.push(settings_step(functions, hypertable, &name));
            chunks.extend(self.compress_steps(functions, hypertable, &hypertable.name, &name));
        }
        self.steps(settings, 1).await?;
        self.steps(chunks, self.request.jobs).await
    }

    /// One step for every chunk that was compressed.
    pub(super) fn compress_steps(
        &self,
        functions: &Functions,
        hypertable: &Hypertable,
        table: &TableName,
        rows: &TableName,
    ) -> Vec<Step> {
        if self.request.schema_only {
            return Vec::new();
        }
        let chunks = self.wanted_chunks(hypertable, table);
        let compressed = chunks.into_iter().filter(|chunk| chunk.is_compressed());
        compressed
            .map(|chunk| Step {
                key: format!("compress:{}:{}", table.sql(), chunk.id),
                label: format!("compressed a chunk of {rows}"),
                sql: vec![calls::compress_chunk(functions, rows, chunk)],
            })
            .collect()
    }
}

fn settings_step(functions: &Functions, hypertable: &Hypertable, name: &TableName) -> Step {
    let settings = hypertable.compression.iter();
    let mut sql: Vec<String> = settings
        .map(|settings| {
            format!("ALTER TABLE {} SET ({})", name.sql(), calls::compression(functions, settings))
        })
        .collect();
    if !hypertable.skipping.is_empty() && functions.version >= calls::CHUNK_SKIPPING {
        sql.extend(calls::skipping(functions, name, &hypertable.skipping));
    }
    Step {
        key: format!("compression:{}", hypertable.name.sql()),
        label: format!("compression settings of {name}"),
        sql,
    }
}

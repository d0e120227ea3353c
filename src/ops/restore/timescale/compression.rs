//! Compression: the settings, then the chunks that were compressed, on all lanes. It comes after the constraints, which
//! cannot all be added to compressed tables.

use super::steps::Step;
use crate::base::TableName;
use crate::catalog::timescale::{Compression, Hypertable};
use crate::ops::OpsError;
use crate::ops::restore::{Restore, RestoreReport};
use crate::plan::timescale::calls::{self, Functions};

impl Restore<'_> {
    /// Settings and chunks of hypertables.
    pub(in crate::ops::restore) async fn compression(
        &self,
        report: &mut RestoreReport,
    ) -> Result<(), OpsError> {
        let replay = &self.scope.replay;
        let (Some(functions), true) = (&replay.functions, replay.full) else { return Ok(()) };
        let has = |table: &&Hypertable| table.compression.is_some() || !table.skipping.is_empty();
        let tables: Vec<&Hypertable> = replay.hypertables.iter().filter(has).collect();
        if tables.is_empty() {
            return Ok(());
        }
        self.phase("compression", report);
        let mut settings = Vec::new();
        let mut chunks = Vec::new();
        for hypertable in tables {
            let name = self.scope.relation(&hypertable.name);
            settings.push(settings_step(functions, hypertable, "TABLE", &name));
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
                otherwise: Vec::new(),
            })
            .collect()
    }
}

/// The settings of a hypertable, or of an aggregate's, which is altered by its view (`what`: `TABLE`, `MATERIALIZED VIEW`).
pub(super) fn settings_step(
    functions: &Functions,
    hypertable: &Hypertable,
    what: &str,
    name: &TableName,
) -> Step {
    let set = |settings: &Compression| {
        format!("ALTER {what} {} SET ({})", name.sql(), calls::compression(functions, settings))
    };
    let settings = hypertable.compression.as_ref();
    let mut sql: Vec<String> = settings.map(set).into_iter().collect();
    let mut otherwise: Vec<String> = settings.and_then(calls::decided).iter().map(set).collect();
    if !hypertable.skipping.is_empty() && functions.version >= calls::CHUNK_SKIPPING {
        let skipping = calls::skipping(functions, name, &hypertable.skipping);
        if !otherwise.is_empty() {
            otherwise.extend(skipping.iter().cloned());
        }
        sql.extend(skipping);
    }
    Step {
        key: format!("compression:{}", name.sql()),
        label: format!("compression settings of {name}"),
        sql,
        otherwise,
    }
}

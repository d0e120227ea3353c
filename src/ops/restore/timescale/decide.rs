//! [`Replay`]: what of TimescaleDB a restore brings back, and what it cannot, known before the first statement.

use std::collections::BTreeSet;

use super::TimescaleMode;
use crate::base::TableName;
use crate::catalog::ddl::{CONTINUOUS_AGGREGATE, SchemaDump, SchemaEntry};
use crate::catalog::timescale::EXTENSION;
use crate::catalog::timescale::{Aggregate, Chunk, Compression, Hypertable, Timescale, TimescaleJob};
use crate::manifest::{Manifest, Table, TableKind};
use crate::ops::restore::preflight::Ground;
use crate::ops::restore::{Mode, RestoreRequest};
use crate::pg::{NoOffer, Offer};
use crate::plan::ddl::Renames;
use crate::plan::timescale::calls::{CHUNK_SKIPPING, COMPRESS_INDEX, Functions};
use crate::plan::timescale::jobs::{Names, job};

/// What is brought back, by names in the backup.
#[derive(Debug, Default)]
pub(in crate::ops::restore) struct Replay {
    /// The target's functions; `None` where it has none, or nothing needs them.
    pub(in crate::ops::restore) functions: Option<Functions>,
    /// The target has everything, not only what stands under the Apache licence.
    pub(super) full: bool,
    /// Hypertables to be made.
    pub(super) hypertables: Vec<Hypertable>,
    /// Aggregates to be made.
    pub(in crate::ops::restore) aggregates: Vec<Aggregate>,
    /// Views of aggregates that become tables.
    pub(super) tables: BTreeSet<TableName>,
    /// Policies and jobs to be made.
    pub(super) jobs: Vec<TimescaleJob>,
    /// What will be missing or different.
    pub(in crate::ops::restore) losses: Vec<String>,
    /// What a person should know besides.
    pub(in crate::ops::restore) notes: Vec<String>,
    /// Why it cannot be.
    pub(in crate::ops::restore) problems: Vec<String>,
}

impl Replay {
    /// The rows of this table wait until its aggregate is there.
    pub(in crate::ops::restore) fn loads_later(&self, table: &Table) -> bool {
        table.kind == TableKind::ContinuousAggregate && self.aggregates.iter().any(|a| a.view == table.name)
    }

    /// The steps, for people.
    pub(in crate::ops::restore) fn plan(&self) -> Vec<String> {
        let hypertables = self.hypertables.iter().map(|table| format!("hypertable {}", table.name));
        let aggregates = self.aggregates.iter().map(|one| format!("continuous aggregate {}", one.view));
        let jobs = self.jobs.iter().map(|job| format!("job {}, paused", spoken(job)));
        let losses = self.losses.iter().map(|loss| format!("lost: {loss}"));
        hypertables.chain(aggregates).chain(jobs).chain(losses).collect()
    }
}

/// How a job is called in messages.
pub(super) fn spoken(job: &TimescaleJob) -> String {
    match &job.hypertable {
        Some(table) => format!("{} of {table}", job.procedure.name),
        None => format!("{} ({})", job.id, job.procedure),
    }
}

/// What a decision needs to look at.
pub(super) struct Question<'a> {
    pub(super) request: &'a RestoreRequest<'a>,
    pub(super) manifest: &'a Manifest,
    pub(super) ground: &'a Ground,
    pub(super) renames: &'a Renames,
    /// The entries that are wanted, under their names in the backup.
    pub(super) dump: &'a SchemaDump,
    /// Everything in the backup is wanted.
    pub(super) whole: bool,
}

impl Question<'_> {
    /// Whether an entry makes this relation.
    fn makes(&self, name: &TableName, kind: &str) -> bool {
        self.dump.entries.iter().any(|entry| entry.kind == kind && entry.relation().as_ref() == Some(name))
    }

    fn chunks(&self, name: &TableName) -> impl Iterator<Item = &Chunk> {
        let units = self.manifest.table(name).into_iter().flat_map(|table| &table.units);
        units.filter_map(|unit| unit.chunk.as_ref()).map(|unit| &unit.chunk)
    }

    /// Decides.
    pub(super) fn decide(&self, timescale: &Timescale) -> Replay {
        let hypertables: Vec<Hypertable> =
            timescale.hypertables.iter().filter(|table| self.makes(&table.name, "TABLE")).cloned().collect();
        let aggregates: Vec<&Aggregate> = timescale
            .aggregates
            .iter()
            .filter(|aggregate| self.makes(&aggregate.view, CONTINUOUS_AGGREGATE))
            .collect();
        let mut replay = Replay { hypertables, ..Replay::default() };
        let is_extension = |entry: &SchemaEntry| entry.kind == "EXTENSION" && entry.name == EXTENSION;
        let needed = !replay.hypertables.is_empty()
            || !aggregates.is_empty()
            || self.dump.entries.iter().any(is_extension);
        match &self.ground.timescale {
            Some(Ok(offer)) => self.offered(timescale, offer, &aggregates, &mut replay),
            Some(Err(why @ NoOffer::NotPermitted(_))) if needed => replay.problems.push(format!(
                "{why}: let a superuser create it, or say --timescale plain for tables without it"
            )),
            Some(Err(why)) => self.plain(&why.to_string(), timescale, &aggregates, &mut replay),
            None => self.plain("--timescale plain", timescale, &aggregates, &mut replay),
        }
        if self.request.timescale == TimescaleMode::Require {
            let lost = replay.losses.iter().map(|loss| format!("--timescale require: {loss}"));
            replay.problems.extend(lost.collect::<Vec<_>>());
        }
        replay
    }

    fn offered(&self, timescale: &Timescale, offer: &Offer, aggregates: &[&Aggregate], replay: &mut Replay) {
        let schema = offer.installed.clone().unwrap_or_else(|| timescale.schema.clone());
        let nothing = replay.hypertables.is_empty() && aggregates.is_empty();
        if schema != timescale.schema && !nothing {
            replay.problems.push(format!(
                "TimescaleDB is installed in the schema {schema}, and was in {} in the source, whose aggregates call \
                 it by that name: create the extension in that schema, or say --timescale plain",
                timescale.schema
            ));
        }
        if offer.restoring && !nothing {
            replay.problems.push(
                "timescaledb.restoring is on in the target, where rows of hypertables would be lost: end that restore \
                 with timescaledb_post_restore() first"
                    .to_owned(),
            );
        }
        replay.full = offer.full;
        let functions = Functions { schema, ..offer.functions.clone() };
        match offer.full {
            true => self.full(timescale, offer, &functions, aggregates, replay),
            false => self.apache(timescale, aggregates, replay),
        }
        replay.functions = Some(functions);
    }

    fn full(
        &self,
        timescale: &Timescale,
        offer: &Offer,
        functions: &Functions,
        aggregates: &[&Aggregate],
        replay: &mut Replay,
    ) {
        for aggregate in aggregates {
            let over = &aggregate.over;
            let target = self.renames.target(over);
            let made = replay.hypertables.iter().any(|table| table.name == *over)
                || replay.aggregates.iter().any(|other| other.view == *over);
            if made || offer.hypertables.contains(&target) || offer.aggregates.contains(&target) {
                replay.aggregates.push((*aggregate).clone());
            } else {
                replay.tables.insert(aggregate.view.clone());
                replay.losses.push(format!(
                    "the continuous aggregate {} becomes a table: {over}, which it aggregates, is not there",
                    aggregate.view
                ));
            }
        }
        let materialised: Vec<Hypertable> =
            replay.aggregates.iter().map(|aggregate| aggregate.hypertable.clone()).collect();
        for table in replay.hypertables.iter().chain(&materialised) {
            let index = table.compression.as_ref().is_some_and(|compression| compression.index.is_some());
            if index && functions.version < COMPRESS_INDEX {
                replay
                    .losses
                    .push(format!("{}: compress_index is not known to {}", table.name, offer.version));
            }
            if !table.skipping.is_empty() && functions.version < CHUNK_SKIPPING {
                replay
                    .losses
                    .push(format!("{}: chunk skipping is not known to {}", table.name, offer.version));
            }
        }
        self.states(replay);
        self.wanted_jobs(timescale, functions, replay);
    }

    /// States of chunks that do not come back, since they are no data.
    fn states(&self, replay: &mut Replay) {
        let tables = replay.hypertables.iter().map(|table| (&table.name, &table.compression));
        let aggregates = replay.aggregates.iter().map(|a| (&a.view, &a.hypertable.compression));
        for (name, settings) in tables.chain(aggregates) {
            let frozen = self.chunks(name).filter(|chunk| chunk.status & 4 != 0).count();
            if frozen > 0 {
                replay.notes.push(format!("{name}: {frozen} chunks were frozen; freeze_chunk freezes them"));
            }
            let differs = |chunk: &&Chunk| {
                chunk.compression.as_ref().is_some_and(|own| decided_otherwise(own, settings.as_ref()))
            };
            let other = self.chunks(name).filter(differs).count();
            if other > 0 {
                replay.notes.push(format!(
                    "{name}: {other} chunks were compressed by other settings than the table's now; they are compressed \
                     by these"
                ));
            }
        }
    }

    /// Whether a job is for what is restored here. Those for nothing in particular belong to the whole.
    fn is_ours(&self, wanted: &TimescaleJob, replay: &Replay) -> bool {
        match &wanted.hypertable {
            Some(name) => {
                replay.hypertables.iter().any(|table| table.name == *name)
                    || replay.aggregates.iter().any(|aggregate| aggregate.view == *name)
                    || replay.tables.contains(name)
            }
            None => self.whole && self.request.mode == Mode::Fail,
        }
    }

    fn no_jobs(&self, who: &str, timescale: &Timescale, replay: &mut Replay) {
        let ours = timescale.jobs.iter().filter(|wanted| self.is_ours(wanted, replay));
        let names: Vec<String> = ours.map(spoken).collect();
        if !names.is_empty() {
            replay.losses.push(format!("{who}: no policies and jobs: {}", names.join(", ")));
        }
    }

    fn wanted_jobs(&self, timescale: &Timescale, functions: &Functions, replay: &mut Replay) {
        for wanted in &timescale.jobs {
            if !self.is_ours(wanted, replay) {
                continue;
            }
            let names = Names { relation: &Clone::clone, routine: &Clone::clone };
            match job(functions, timescale, wanted, &names) {
                Ok(_) => replay.jobs.push(wanted.clone()),
                Err(why) => {
                    replay.losses.push(format!("the job {} is left out: {why}", spoken(wanted)));
                }
            }
        }
    }

    fn apache(&self, timescale: &Timescale, aggregates: &[&Aggregate], replay: &mut Replay) {
        let who = "the target has TimescaleDB's Apache edition";
        let losses = &mut replay.losses;
        lost(losses, who, "no compression", replay.hypertables.iter().filter(|t| t.compression.is_some()));
        let chunked = replay.hypertables.iter().filter(|table| self.chunks(&table.name).next().is_some());
        lost(losses, who, "chunks cut by the interval of now, not as they were", chunked);
        lost(losses, who, "no chunk skipping", replay.hypertables.iter().filter(|t| !t.skipping.is_empty()));
        self.tables_instead(who, aggregates, replay);
        self.no_jobs(who, timescale, replay);
    }

    fn plain(&self, who: &str, timescale: &Timescale, aggregates: &[&Aggregate], replay: &mut Replay) {
        lost(
            &mut replay.losses,
            who,
            "tables of plain PostgreSQL instead of hypertables",
            replay.hypertables.iter(),
        );
        let compressed = replay.hypertables.iter().filter(|table| table.compression.is_some());
        lost(&mut replay.losses, who, "no compression", compressed);
        self.tables_instead(who, aggregates, replay);
        self.no_jobs(who, timescale, replay);
    }

    fn tables_instead(&self, who: &str, aggregates: &[&Aggregate], replay: &mut Replay) {
        replay.tables.extend(aggregates.iter().map(|aggregate| aggregate.view.clone()));
        if !aggregates.is_empty() {
            let names: Vec<String> = aggregates.iter().map(|aggregate| aggregate.view.to_string()).collect();
            replay.losses.push(format!(
                "{who}: tables with the materialised rows instead of the continuous aggregates {}",
                names.join(", ")
            ));
        }
    }
}

/// Whether a chunk was compressed otherwise than the settings say. What they leave open says nothing.
fn decided_otherwise(chunk: &Compression, settings: Option<&Compression>) -> bool {
    let Some(settings) = settings else { return true };
    let segments = settings.segment_by.is_some() && settings.segment_by != chunk.segment_by;
    let order = settings.order_by.is_some() && settings.order_by != chunk.order_by;
    segments || order || (settings.index.is_some() && settings.index != chunk.index)
}

fn lost<'a>(losses: &mut Vec<String>, who: &str, what: &str, tables: impl Iterator<Item = &'a Hypertable>) {
    let names: Vec<String> = tables.map(|table| table.name.to_string()).collect();
    if !names.is_empty() {
        losses.push(format!("{who}: {what}: {}", names.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::timescale::OrderColumn;

    #[test]
    fn settings_that_leave_the_order_open_are_met_by_any() {
        let by = |segment: Option<&str>, order: Option<&str>| Compression {
            segment_by: segment.map(|column| vec![column.to_owned()]),
            order_by: order.map(|column| {
                vec![OrderColumn { column: column.to_owned(), descending: true, nulls_first: true }]
            }),
            index: None,
        };
        let settings = by(Some("d"), None);
        assert!(!decided_otherwise(&by(Some("d"), Some("ts")), Some(&settings)));
        assert!(decided_otherwise(&by(Some("e"), Some("ts")), Some(&settings)));
        assert!(decided_otherwise(&by(None, None), None));
    }
}

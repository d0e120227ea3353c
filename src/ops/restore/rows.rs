//! The rows: which table goes how, in which order, and what of the target has to hold still meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::phases::stage;
use super::{Mode, Restore, RestoreReport, RestoredTable};
use crate::base::{Event, TableName};
use crate::manifest::{Table, TableKind};
use crate::ops::OpsError;
use crate::pg::{EnabledTrigger, ForeignKey, PgError, TargetTable};
use crate::pipeline::beside::{Beside, Level};
use crate::pipeline::load::{LoadError, Loading, Outcome};
use crate::pipeline::schema::Run;
use crate::plan::ddl::{PostDataSchedule, Stage};
use crate::plan::load::{LoadJob, TableWay, jobs, merged};

/// The journal's keys for triggers that have to be switched on again.
const TRIGGERS: &str = "triggers:";

impl Restore<'_> {
    /// All rows, in steps: a step begins when the one before has ended.
    pub(super) async fn row_levels(&self) -> Result<Vec<Vec<LoadJob>>, OpsError> {
        let there = self.target.tables().await?;
        let keys = self.target.foreign_keys().await?;
        let hypertables = match self.request.mode {
            Mode::OnlyMissing => self.target.hypertables().await?,
            Mode::Fail | Mode::Append | Mode::Replace => BTreeSet::new(),
        };
        Ok(self.levels(&there, &keys, &hypertables))
    }

    /// What can be built beside the rows. TimescaleDB builds an index chunk by chunk: those of hypertables wait for all rows.
    pub(super) fn beside<'r>(
        &self,
        run: Run<'r>,
        schedule: &'r PostDataSchedule,
        levels: &[Vec<LoadJob>],
    ) -> Beside<'r> {
        let chunked = self.sealed.manifest.body.tables.iter().filter(|table| table.kind.is_chunked());
        let held = chunked.map(|table| self.scope.relation(&table.name)).collect();
        let settings = self.memory_sql(self.request.jobs.max(1));
        Beside::new(run, schedule, levels.iter().flatten(), &held, self.early_statistics(), settings)
    }

    /// Loads everything, and gives back the jobs whose values name objects that are made later.
    pub(super) async fn rows(
        &self,
        levels: Vec<Vec<LoadJob>>,
        beside: Option<&Beside<'_>>,
        report: &mut RestoreReport,
    ) -> Result<Vec<LoadJob>, OpsError> {
        let there = self.target.tables().await?;
        let keys = self.target.foreign_keys().await?;
        let disabled = self.disable_triggers(&there).await?;
        let mut deferred = Vec::new();
        let mut outcome = Ok(());
        let count = levels.len();
        for (number, jobs) in levels.into_iter().enumerate() {
            // Two pieces may have bytes of the same large object, and only one of them can make it.
            let large = jobs.iter().any(|job| job.table.name == "pg_largeobject");
            let lanes = if large { 1 } else { self.request.jobs };
            let loading = self.loading(true);
            let loaded = match beside {
                None => loading.run(jobs, lanes).await,
                Some(beside) => {
                    let level = Level { jobs, lanes, last: number + 1 == count };
                    let mut rows_done = || self.phase(stage(Stage::Build), report);
                    beside.run(&loading, level, self.request.jobs, &mut rows_done).await
                }
            };
            match loaded {
                Ok(done) => {
                    self.tell(done, &mut deferred, report);
                    if let Err(error) = self.journal.settle(self.target.client()).await {
                        outcome = Err(error.into());
                        break;
                    }
                }
                Err(error) => {
                    outcome = Err(self.explained(error, &keys));
                    break;
                }
            }
        }
        // Also after an error: a table without its triggers is worse than one without its rows.
        let enabled = self.enable_triggers(&disabled).await;
        outcome.and(enabled).map(|()| deferred)
    }

    /// The second attempt, now that indexes and constraints can be named.
    pub(super) async fn deferred_rows(
        &self,
        mut jobs: Vec<LoadJob>,
        report: &mut RestoreReport,
    ) -> Result<(), OpsError> {
        if jobs.is_empty() {
            return Ok(());
        }
        self.phase("data that names indexes", report);
        for trigger in self.target.enabled_triggers().await? {
            for job in jobs.iter_mut().filter(|job| self.scope.relation(&job.table) == trigger.table) {
                job.open.insert(0, trigger.disable.clone());
                job.close.push(trigger.enable.clone());
            }
        }
        // One lane: two jobs of a table would wait for each other's lock on its triggers.
        let done = self.loading(false).run(jobs, 1).await?;
        self.tell(done, &mut Vec::new(), report);
        Ok(())
    }

    /// A row that refers to one not there yet: where foreign keys form a circle, no order of the tables helps, and the
    /// server's message alone does not say so.
    fn explained(&self, error: LoadError, keys: &[ForeignKey]) -> OpsError {
        let circle = match &error {
            LoadError::Refused { table, source }
                if source.code().is_some_and(|code| code.code() == "23503") =>
            {
                circle(keys, &self.scope.relation(table))
            }
            _ => Vec::new(),
        };
        match (circle.is_empty(), OpsError::from(error)) {
            (false, OpsError::Restore(text)) => OpsError::Restore(format!(
                "{text}; the foreign keys {} form a circle, so that no order of the tables satisfies them: drop one of \
                 them, say the same restore again, and add it afterwards",
                circle.join(", ")
            )),
            (_, error) => error,
        }
    }

    pub(super) fn loading(&self, may_defer: bool) -> Loading<'_> {
        Loading {
            vault: self.request.vault,
            manifest: &self.sealed.manifest,
            target: self.target,
            journal: self.journal,
            events: &*self.services.events,
            may_defer: may_defer && self.scope.schema.is_some(),
        }
    }

    pub(super) fn tell(
        &self,
        done: Vec<(LoadJob, Outcome)>,
        deferred: &mut Vec<LoadJob>,
        report: &mut RestoreReport,
    ) {
        let names = report.tables.iter().enumerate();
        let mut places: HashMap<TableName, usize> =
            names.map(|(place, table)| (table.name.clone(), place)).collect();
        for (job, outcome) in done {
            let pieces =
                job.pieces.iter().filter_map(|load| self.sealed.manifest.head.pieces.get(load.piece));
            let (read, files) =
                pieces.fold((0, 0), |(rows, stored), piece| (rows + piece.rowset.rows, stored + piece.bytes));
            let (rows, bytes, stored, seconds) = match outcome {
                Outcome::Loaded { rows, bytes, took } => (rows, bytes, files, took.as_secs_f64()),
                Outcome::Earlier => (read, 0, 0, 0.0),
                Outcome::Deferred => {
                    deferred.push(job);
                    continue;
                }
            };
            let place = *places.entry(job.table.clone()).or_insert_with(|| {
                let name = job.table.clone();
                report.tables.push(RestoredTable { name, rows: 0, bytes: 0, stored: 0, seconds: 0.0 });
                report.tables.len() - 1
            });
            let table = &mut report.tables[place];
            table.rows += rows;
            table.bytes += bytes;
            table.stored += stored;
            table.seconds += seconds;
            self.services.events.emit(Event::TableDone { table: job.table, rows: table.rows });
        }
    }

    /// Jobs in steps: a step begins when the one before has ended.
    fn levels(
        &self,
        there: &BTreeMap<TableName, TargetTable>,
        keys: &[ForeignKey],
        hypertables: &BTreeSet<TableName>,
    ) -> Vec<Vec<LoadJob>> {
        let tables: Vec<(usize, &Table, TableName)> = self
            .scope
            .tables
            .iter()
            .filter_map(|index| Some((*index, self.sealed.manifest.body.tables.get(*index)?)))
            .filter(|(_, table)| !self.scope.replay.loads_later(table))
            .map(|(index, table)| (index, table, self.into(table)))
            .collect();
        let names: BTreeSet<&TableName> = tables.iter().map(|(_, _, into)| into).collect();
        let depth = depths(&names, keys);
        let to_itself: BTreeSet<&TableName> =
            keys.iter().filter(|key| key.table == key.references).map(|key| &key.table).collect();
        let mut levels: BTreeMap<(bool, usize), Vec<LoadJob>> = BTreeMap::new();
        let mut through: BTreeMap<&TableName, Vec<LoadJob>> = BTreeMap::new();
        for (index, table, into) in &tables {
            let way = self.way(table, into, there, to_itself.contains(into), hypertables);
            let made = jobs(&self.sealed.manifest, *index, &way);
            let is_first = |name: &TableName| self.request.first.iter().any(|pattern| pattern.matches(name));
            // Leaves are meant with their root.
            let later = !is_first(&table.name) && !table.root.as_ref().is_some_and(is_first);
            if self.request.mode == Mode::Replace && table.load_through.is_some() {
                through.entry(into).or_default().extend(made);
                continue;
            }
            let level = match table.kind {
                TableKind::LargeObjects => (true, usize::MAX),
                // What is built beside other rows may look something up in them.
                TableKind::ExtensionConfiguration => (false, depth.get(into).copied().unwrap_or(0)),
                _ => (later, depth.get(into).copied().unwrap_or(0)),
            };
            levels.entry(level).or_default().extend(made);
        }
        for (into, made) in through {
            let level = (true, depth.get(into).copied().unwrap_or(0));
            levels.entry(level).or_default().extend(merged(made));
        }
        levels.into_values().collect()
    }

    /// Where the rows of a table go.
    fn into(&self, table: &Table) -> TableName {
        match table.kind {
            TableKind::Table | TableKind::Hypertable | TableKind::ContinuousAggregate => {
                self.scope.relation(table.load_through.as_ref().unwrap_or(&table.name))
            }
            TableKind::ExtensionConfiguration | TableKind::LargeObjects => table.name.clone(),
        }
    }

    fn way(
        &self,
        table: &Table,
        into: &TableName,
        there: &BTreeMap<TableName, TargetTable>,
        at_once: bool,
        hypertables: &BTreeSet<TableName>,
    ) -> TableWay {
        let condition = self.request.where_.iter().find(|(pattern, _)| {
            pattern.matches(&table.name) || table.root.as_ref().is_some_and(|root| pattern.matches(root))
        });
        let columns = there.get(into).map(|there| &there.columns[..]).unwrap_or_default();
        TableWay {
            into: into.clone(),
            types: columns.iter().map(|column| (column.name.clone(), column.type_sql.clone())).collect(),
            condition: condition.map(|(_, sql)| sql.clone()),
            slice: self.slice_of(table),
            mode: self.request.mode,
            key: there.get(into).map(|there| there.primary_key.clone()).unwrap_or_default(),
            looks: hypertables.contains(into),
            time: self.time_of(table),
            at_once,
            fresh: self.request.mode == Mode::Fail
                && !self.request.data_only
                && self.scope.schema.is_some()
                // What somebody put there between two runs is not ours to remove.
                && !self.journal.is_resumed()
                && table.load_through.is_none(),
        }
    }

    async fn disable_triggers(
        &self,
        there: &BTreeMap<TableName, TargetTable>,
    ) -> Result<Vec<EnabledTrigger>, OpsError> {
        if self.request.triggers || !self.request.fills_existing() {
            return Ok(Vec::new());
        }
        let body = &self.sealed.manifest.body;
        let chosen = self.scope.tables.iter().filter_map(|index| body.tables.get(*index));
        let ours: BTreeSet<TableName> = chosen
            .flat_map(|table| [self.into(table), self.scope.relation(&table.name)])
            .filter(|name| there.contains_key(name))
            .collect();
        let mut triggers = self.target.enabled_triggers().await?;
        triggers.retain(|trigger| ours.contains(&trigger.table));
        let doing = |error| PgError::query("disabling triggers", error);
        for trigger in &triggers {
            let key = format!("{TRIGGERS}{}", trigger.disable);
            let sql = format!(
                "BEGIN; {}; {}; COMMIT",
                trigger.disable,
                self.journal.claim(&key, Some(&trigger.enable))
            );
            self.target.client().batch_execute(&sql).await.map_err(doing)?;
        }
        Ok(triggers)
    }

    /// Those of this run, and those that an earlier run left disabled.
    async fn enable_triggers(&self, disabled: &[EnabledTrigger]) -> Result<(), OpsError> {
        let now = disabled.iter().map(|trigger| trigger.enable.as_str());
        let earlier = self.journal.details(TRIGGERS).map(|(_, enable)| enable);
        let statements: BTreeSet<&str> = now.chain(earlier).collect();
        let mut first = Ok(());
        for sql in statements {
            let enabled = self.target.client().batch_execute(sql).await;
            first = first.and(enabled.map_err(|error| PgError::query("enabling triggers", error)));
        }
        Ok(first?)
    }
}

/// The foreign keys by which a table refers to itself through others, in their order; none where it does not.
fn circle(keys: &[ForeignKey], table: &TableName) -> Vec<String> {
    // Breadth first: the way to each table by the fewest keys.
    let mut ways: BTreeMap<&TableName, Vec<&ForeignKey>> = BTreeMap::new();
    let mut open = VecDeque::from([table]);
    while let Some(at) = open.pop_front() {
        let way = ways.get(at).cloned().unwrap_or_default();
        for key in keys.iter().filter(|key| key.table == *at && key.references != *at) {
            let further: Vec<&ForeignKey> = way.iter().copied().chain([key]).collect();
            if key.references == *table {
                return further
                    .iter()
                    .map(|key| format!("{} ({} to {})", key.name, key.table, key.references))
                    .collect();
            }
            if !ways.contains_key(&key.references) {
                ways.insert(&key.references, further);
                open.push_back(&key.references);
            }
        }
    }
    Vec::new()
}

/// How many steps each table has to wait for tables it refers to. Tables that refer to each other in a circle wait for
/// what is outside of it only.
fn depths(tables: &BTreeSet<&TableName>, keys: &[ForeignKey]) -> BTreeMap<TableName, usize> {
    let mut depth: BTreeMap<TableName, usize> = tables.iter().map(|name| ((*name).clone(), 0)).collect();
    // The longest way without a circle has fewer steps than there are tables.
    for _ in 0..tables.len() {
        let mut changed = false;
        for key in keys.iter().filter(|key| key.table != key.references) {
            let (Some(parent), Some(child)) = (depth.get(&key.references), depth.get(&key.table)) else {
                continue;
            };
            if *child <= *parent && *parent + 1 < tables.len() {
                depth.insert(key.table.clone(), parent + 1);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(table: &str, references: &str) -> ForeignKey {
        ForeignKey {
            name: "k".into(),
            table: TableName::new("a", table),
            references: TableName::new("a", references),
            cascades: false,
        }
    }

    #[test]
    fn who_refers_waits_and_a_circle_ends() {
        let names = ["fills", "orders", "users", "x", "y"].map(|name| TableName::new("a", name));
        let tables: BTreeSet<&TableName> = names.iter().collect();
        let keys = [
            key("fills", "orders"),
            key("orders", "users"),
            key("x", "y"),
            key("y", "x"),
            key("users", "users"),
        ];
        let depth = depths(&tables, &keys);
        let of = |name: &str| depth[&TableName::new("a", name)];
        assert!(of("users") < of("orders") && of("orders") < of("fills"));
        assert!(of("x") < tables.len() && of("y") < tables.len());
    }
}

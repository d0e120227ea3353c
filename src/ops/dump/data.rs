//! The rows: plan every table under the snapshot, run the lanes, widen what had too many exceptions, count what was split.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::Run;
use super::chunks::Chunked;
use super::earlier::{Carried, Earlier};
use crate::base::{Event, TableName, path_segment};
use crate::catalog::Relation;
use crate::codec::copy::MAX_TUPLE;
use crate::codec::file::Precedent;
use crate::manifest::{ChunkUnit, LateRead, Mapping, Piece, Table, TableColumn, TableKind, Unit, Warning};
use crate::ops::OpsError;
use crate::pg::Locked;
use crate::pipeline::dump::{ChangedUnit, DumpError, Dumped, Lanes, Reading, UnitJob};
use crate::pipeline::sink::{SinkError, StoredUnit, UnitTarget};
use crate::plan::cluster::clustered;
use crate::plan::copy::{copy_out, large_object_sql};
use crate::plan::dump::{columns_to_profile, mappings, too_many, trees, widened};
use crate::plan::mapping::NumericProfile;
use crate::plan::units::{Tree, UnitPlan, order, pages_per_unit, split, table_of};
use crate::store::Staging;

/// The code of the warning that a table is not whole, because that was asked for.
pub(super) const SLICE: &str = "SLICE";

/// Threads of a lane that encode, at most.
const MOST_ENCODERS: usize = 4;

/// How long a chunk's lock is waited for where `--lock-timeout` is 0.
const CHUNK_PATIENCE: Duration = Duration::from_secs(30);

/// Tables with their stored units.
pub(super) struct Data {
    pub(super) tables: Vec<Table>,
    pub(super) pieces: Vec<Piece>,
}

/// By folder and column.
type Profiles = BTreeMap<String, BTreeMap<String, NumericProfile>>;

/// A table on its way.
pub(super) struct Planned {
    pub(super) table: Table,
    pub(super) units: Vec<UnitPlan>,
    pub(super) stored: Vec<Option<StoredUnit>>,
    /// Units that are chunks.
    pub(super) chunked: Option<Chunked>,
    /// Units that were read again later.
    pub(super) late: BTreeMap<usize, LateRead>,
    /// Large objects are no relation: their COPY reads functions.
    large_objects: bool,
}

impl Run<'_> {
    /// Reads and stores every chosen table, but for chunks that changed meanwhile.
    pub(super) async fn data(
        &self,
        locked: &Locked,
        staging: &Arc<Staging>,
        earlier: Option<&Earlier>,
    ) -> Result<(Vec<Planned>, Vec<ChangedUnit>), OpsError> {
        if self.request.schema_only {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut planned = self.plan(locked, earlier).await?;
        self.announce(&planned);
        let mut wanted: Vec<usize> = (0..planned.len()).collect();
        let mut changed: Vec<ChangedUnit> = Vec::new();
        let mut counts = None;
        while !wanted.is_empty() {
            let jobs = self.jobs(&planned, &wanted, staging, earlier)?;
            changed.retain(|unit| !wanted.contains(&unit.table));
            let dumped = if counts.is_none() {
                let (dumped, counted) = self.read_and_count(locked, &planned, jobs).await?;
                counts = Some(counted);
                dumped
            } else {
                self.read(locked, jobs).await?
            };
            for (table, unit, stored) in dumped.stored {
                planned[table].stored[unit] = Some(stored);
            }
            changed.extend(dumped.changed);
            wanted = self.widen(&mut planned, &wanted, staging)?;
        }
        agree(&mut planned, counts.unwrap_or_default())?;
        Ok((planned, changed))
    }

    async fn read(&self, locked: &Locked, jobs: Vec<UnitJob>) -> Result<Dumped, OpsError> {
        self.lanes(locked).run(jobs, self.request.jobs.max(1)).await.map_err(dump_error)
    }

    /// Reads all units while the leader, who has nothing else to do, counts the rows of tables that are read in several.
    async fn read_and_count(
        &self,
        locked: &Locked,
        planned: &[Planned],
        jobs: Vec<UnitJob>,
    ) -> Result<(Dumped, Vec<(usize, u64)>), OpsError> {
        let (reading, counting) = (pin!(self.read(locked, jobs)), pin!(self.count(locked, planned)));
        match select(reading, counting).await {
            Either::Left((Ok(dumped), counting)) => Ok((dumped, counting.await?)),
            Either::Left((Err(error), _)) => {
                // Nobody waits for the counts of a dump that failed. Where they cannot be ended they end by themselves.
                if let Err(error) = locked.own_lane().cancel().await {
                    tracing::debug!(%error, "counting could not be cancelled");
                }
                Err(error)
            }
            Either::Right((counted, reading)) => Ok((reading.await?, counted?)),
        }
    }

    pub(super) fn lanes<'a>(&'a self, locked: &'a Locked) -> Lanes<'a> {
        let patience = self.request.lock_timeout;
        Lanes {
            locked,
            version: self.facts.server_version_num,
            vault: self.vault,
            events: &self.services.events,
            // For ever is too long for a lock that only the end of the dump may free.
            patience: if patience.is_zero() { CHUNK_PATIENCE } else { patience },
            pace: self.pace.clone(),
            max_row: usize::try_from(self.request.max_row).unwrap_or(usize::MAX).min(MAX_TUPLE),
        }
    }

    async fn plan(&self, locked: &Locked, earlier: Option<&Earlier>) -> Result<Vec<Planned>, OpsError> {
        let trees = trees(&self.chosen.tables, &self.relations);
        let folders: Vec<String> =
            self.chosen.tables.iter().zip(&trees).map(|(r, tree)| folder_of(r, tree)).collect();
        let profiles = self.profiles(locked, &folders).await?;
        let by_name: BTreeMap<&TableName, &Relation> =
            self.relations.iter().map(|relation| (&relation.name, relation)).collect();
        let mut planned = Vec::with_capacity(self.chosen.tables.len());
        for ((relation, tree), folder) in self.chosen.tables.iter().zip(&trees).zip(&folders) {
            let root = tree.root.as_ref().and_then(|root| by_name.get(root).copied());
            let before = earlier.and_then(|earlier| earlier.table(&relation.name));
            let relation = &in_order_of(relation, root);
            let known = profiles.get(folder).cloned().unwrap_or_default();
            let mappings = mappings(relation, &self.facts, &known, before);
            let mut table = table_of(relation, tree, &mappings);
            table.condition = self.condition(relation, table.condition.take(), tree.root.as_ref());
            table.clustered = clustered(&table, tree.root.as_ref(), &self.request.cluster_by)?;
            let chunked = self.chunked(relation, table.condition.clone());
            let units = match &chunked {
                Some(chunked) => {
                    table.condition = chunked.whole_condition();
                    chunked.units(planned.len())
                }
                None => {
                    let before = before.and_then(|table| table.pages_per_unit);
                    table.pages_per_unit = pages_per_unit(relation, before);
                    split(planned.len(), relation, table.pages_per_unit)
                }
            };
            let stored = vec![None; units.len()];
            planned.push(Planned {
                table,
                units,
                stored,
                chunked,
                late: BTreeMap::new(),
                large_objects: false,
            });
        }
        if let Some(objects) = self.large_objects(locked, planned.len()).await? {
            planned.push(objects);
        }
        Ok(planned)
    }

    /// What the unconstrained numerics hold, by folder: the leaves of a tree share one Parquet schema, or a glob over
    /// them would be read with the first one's scale.
    async fn profiles(&self, locked: &Locked, folders: &[String]) -> Result<Profiles, OpsError> {
        let mut profiles = Profiles::new();
        for (relation, folder) in self.chosen.tables.iter().zip(folders) {
            let names = columns_to_profile(relation);
            if names.is_empty() {
                continue;
            }
            let found = match relation.hypertable {
                Some(_) => self.profile_chunks(locked, relation, &names).await?,
                None => locked.profile_numeric(&relation.name, &names).await?,
            };
            let known = profiles.entry(folder.clone()).or_default();
            for (name, profile) in names.into_iter().zip(found) {
                let merged = known.get(&name).map_or(profile, |other: &NumericProfile| other.merged(profile));
                known.insert(name, merged);
            }
        }
        Ok(profiles)
    }

    /// The row condition of a table: `--where` (also given for its partition root), and an extension's own.
    fn condition(
        &self,
        relation: &Relation,
        own: Option<String>,
        root: Option<&TableName>,
    ) -> Option<String> {
        let asked = self.request.conditions.iter().filter(|(pattern, _)| {
            pattern.matches(&relation.name) || root.is_some_and(|root| pattern.matches(root))
        });
        condition_of(own.into_iter().chain(asked.map(|(_, sql)| sql.clone())).collect())
    }

    /// The bytes of all large objects as a table of slices; only in a dump of everything, as in pg_dump.
    async fn large_objects(&self, locked: &Locked, index: usize) -> Result<Option<Planned>, OpsError> {
        if !self.request.selection.is_everything() || locked.large_objects().await?.count == 0 {
            return Ok(None);
        }
        let name = TableName::new("pg_catalog", "pg_largeobject");
        let column = |name: &str, type_sql: &str, mapping: Mapping| TableColumn {
            name: name.to_owned(),
            type_sql: type_sql.to_owned(),
            collation: None,
            not_null: true,
            identity: None,
            derived: false,
            mapping,
            text: None,
            exceptions: 0,
        };
        let table = Table {
            folder: name.folder(),
            name,
            kind: TableKind::LargeObjects,
            root: None,
            load_through: None,
            columns: vec![
                column("loid", "oid", Mapping::UInt32),
                column("offset", "bigint", Mapping::Int64),
                column("data", "bytea", Mapping::Binary),
            ],
            primary_key: vec!["loid".to_owned(), "offset".to_owned()],
            condition: None,
            rowset: Default::default(),
            counted: None,
            pages_per_unit: None,
            clustered: None,
            units: Vec::new(),
        };
        let units = vec![UnitPlan { table: index, unit: 0, pages: None, weight: 0 }];
        let (stored, late) = (vec![None], BTreeMap::new());
        Ok(Some(Planned { table, units, stored, chunked: None, late, large_objects: true }))
    }

    fn announce(&self, planned: &[Planned]) {
        let estimate = |relation: &Relation| u64::try_from(relation.estimated_rows).unwrap_or(0);
        let chunks = planned.iter().filter_map(|table| table.chunked.as_ref());
        let chunks: Vec<_> = chunks.flat_map(Chunked::surveyed).collect();
        self.services.events.emit(Event::Planned {
            tables: planned.len() as u64,
            units: planned.iter().map(|table| table.units.len() as u64).sum(),
            rows: self.chosen.tables.iter().map(estimate).chain(chunks.iter().map(|chunk| chunk.rows)).sum(),
            bytes: self
                .chosen
                .tables
                .iter()
                .map(|relation| relation.pages * 8192 + relation.toast_bytes)
                .chain(chunks.iter().map(|chunk| chunk.bytes))
                .sum(),
        });
    }

    fn jobs(
        &self,
        planned: &[Planned],
        wanted: &[usize],
        staging: &Arc<Staging>,
        earlier: Option<&Earlier>,
    ) -> Result<Vec<UnitJob>, OpsError> {
        let carried: BTreeMap<usize, Carried<'_>> =
            wanted.iter().map(|table| (*table, Carried::of(&planned[*table].table, earlier))).collect();
        let mut units: Vec<UnitPlan> =
            wanted.iter().flat_map(|table| planned[*table].units.clone()).collect();
        order(&mut units);
        // Leaves of a tree are read as one, and are as like each other as units of a table.
        let mut precedents: HashMap<&str, Precedent> = HashMap::new();
        let job = |unit: &UnitPlan| {
            let mut job = self.job(planned, unit, staging, &carried[&unit.table])?;
            job.target.precedent = match precedents.entry(&planned[unit.table].table.folder) {
                Entry::Occupied(first) => first.get().for_others(),
                Entry::Vacant(none) => none.insert(Precedent::first()).clone(),
            };
            Ok(job)
        };
        units.iter().map(job).collect()
    }

    /// One unit, ready to run.
    pub(super) fn job(
        &self,
        planned: &[Planned],
        unit: &UnitPlan,
        staging: &Arc<Staging>,
        carried: &Carried<'_>,
    ) -> Result<UnitJob, OpsError> {
        let key_id = self.vault.key_id();
        let key = *self
            .vault
            .key(key_id)
            .ok_or_else(|| OpsError::Internal("the vault has no rowset key".to_owned()))?;
        let Planned { table, chunked, large_objects, .. } = &planned[unit.table];
        let (reading, sql, stem, earlier) = match chunked {
            None => {
                let (reading, sql) = match large_objects {
                    true => (Reading::Functions, large_object_sql()),
                    false => (Reading::Table, unit_sql(table, unit)),
                };
                let earlier = carried.pages(unit.pages.map(|(from, _)| from));
                (reading, sql, stem(table, unit.unit), earlier)
            }
            Some(chunked) => (
                Reading::Chunk(chunked.read(unit.unit)),
                chunked.sql(table, unit.unit),
                chunked.stem(table, unit.unit),
                chunked.earlier(carried, unit.unit),
            ),
        };
        let (staging, shape) = (Arc::clone(staging), Arc::clone(&carried.shape));
        let (encoders, precedent) = (self.encoders(), Precedent::default());
        let target = UnitTarget { staging, stem, shape, key, encoders, precedent };
        let name = table.name.clone();
        Ok(UnitJob { table: unit.table, unit: unit.unit, name, reading, sql, target, earlier })
    }

    /// Threads of each lane that encode beside the one that decodes: none where lanes have to share processors. More than
    /// [`MOST_ENCODERS`] wait for the thread that decodes.
    fn encoders(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (processors / self.request.jobs.max(1)).min(MOST_ENCODERS)
    }

    /// Tables with a column whose exceptions are more than exceptions: discarded, widened, to be read again, and with
    /// them the other leaves of the tree, whose schema must stay theirs.
    fn widen(
        &self,
        planned: &mut [Planned],
        done: &[usize],
        staging: &Staging,
    ) -> Result<Vec<usize>, OpsError> {
        let mut wider: BTreeMap<(String, String), Mapping> = BTreeMap::new();
        for index in done {
            let Planned { table, stored, .. } = &mut planned[*index];
            let units: Vec<&StoredUnit> = stored.iter().flatten().collect();
            let rows: u64 = units.iter().map(|unit| unit.rowset.rows).sum();
            for (column, entry) in table.columns.iter_mut().enumerate() {
                entry.exceptions = units.iter().map(|unit| unit.exceptions[column]).sum();
                if let (true, Some(mapping)) = (too_many(entry.exceptions, rows), widened(&entry.mapping)) {
                    let message = format!(
                        "{}.{}: {} of {rows} values do not fit its Parquet type; it is read again with a wider one",
                        table.name, entry.name, entry.exceptions
                    );
                    self.services.events.emit(Event::Warning(message));
                    wider.insert((table.folder.clone(), entry.name.clone()), mapping);
                }
            }
        }
        let mut again = Vec::new();
        for (index, Planned { table, stored, .. }) in planned.iter_mut().enumerate() {
            let mut touched = false;
            for column in &mut table.columns {
                if let Some(mapping) = wider.get(&(table.folder.clone(), column.name.clone())) {
                    column.mapping = mapping.clone();
                    touched = true;
                }
            }
            if touched {
                for unit in stored.iter_mut().filter_map(Option::take) {
                    unit.discard(staging)?;
                }
                again.push(index);
            }
        }
        Ok(again)
    }

    /// Counts, under the snapshot, what is read in several units; a chunk has its own checks.
    async fn count(&self, locked: &Locked, planned: &[Planned]) -> Result<Vec<(usize, u64)>, OpsError> {
        let mut counts = Vec::new();
        for (index, Planned { table, stored, chunked, .. }) in planned.iter().enumerate() {
            if stored.len() > 1 && chunked.is_none() {
                counts.push((index, locked.count(&table.name, table.condition.as_deref()).await?));
            }
        }
        Ok(counts)
    }

    /// Tables with their units, now that all of them are there.
    pub(super) fn gather(&mut self, planned: Vec<Planned>) -> Result<Data, OpsError> {
        let mut data = Data { tables: Vec::new(), pieces: Vec::new() };
        for Planned { mut table, units, stored, chunked, mut late, .. } in planned {
            table.columns.iter_mut().for_each(|column| column.exceptions = 0);
            for (plan, stored) in units.iter().zip(stored) {
                let stored = stored
                    .ok_or_else(|| OpsError::Internal(format!("a unit of {} is missing", table.name)))?;
                let first = data.pieces.len();
                data.pieces.extend(stored.pieces);
                let from_page = plan.pages.map(|(from, _)| from);
                let pieces = (first..data.pieces.len()).collect();
                let chunk = chunked.as_ref().map(|chunked| ChunkUnit {
                    chunk: chunked.chunks[plan.unit].surveyed.chunk.clone(),
                    late: late.remove(&plan.unit),
                });
                table.units.push(Unit { from_page, chunk, rowset: stored.rowset, pieces });
                table.rowset += stored.rowset;
                table.clustered.iter_mut().for_each(|clustered| clustered.rows += stored.clustered);
                // Of late units too: those of the others were counted to decide on the mapping.
                let columns = table.columns.iter_mut().zip(&stored.exceptions);
                columns.for_each(|(column, count)| column.exceptions += count);
            }
            self.note_exceptions(&table);
            data.tables.push(table);
        }
        data.tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(data)
    }

    /// A NULL that is none must be known to whoever reads the Parquet files directly.
    fn note_exceptions(&mut self, table: &Table) {
        for column in table.columns.iter().filter(|column| column.exceptions > 0) {
            tracing::debug!(table = %table.name, column = %column.name, values = column.exceptions, "exceptions");
        }
        let asked = !self.request.conditions.is_empty() || !self.request.slice.is_everything();
        if !asked || table.condition.is_none() {
            return;
        }
        let message =
            format!("{}: only the rows where {}", table.name, table.condition.as_deref().unwrap_or_default());
        self.warnings.push(Warning { code: SLICE.to_owned(), message });
    }
}

/// Several conditions as one.
pub(super) fn condition_of(all: Vec<String>) -> Option<String> {
    match all.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(several.iter().map(|sql| format!("({sql})")).collect::<Vec<_>>().join(" AND ")),
    }
}

fn folder_of(relation: &Relation, tree: &Tree) -> String {
    tree.root.as_ref().unwrap_or(&relation.name).folder()
}

/// A leaf with its columns in its root's order: leaves may differ, and their rows are hashed, compared and globbed
/// together.
fn in_order_of(relation: &Relation, root: Option<&Relation>) -> Relation {
    let mut relation = relation.clone();
    if let Some(root) = root {
        let place = |name: &str| root.columns.iter().position(|column| column.name == name);
        relation.columns.sort_by_key(|column| place(&column.name));
    }
    relation
}

/// Folder and file name of a unit, without the part: leaves lie in their root's folder under their own name.
fn stem(table: &Table, unit: usize) -> String {
    match &table.root {
        None => format!("{}/{unit:06}", table.folder),
        Some(_) => format!("{}/{}.{unit:06}", table.folder, leaf_name(&table.name)),
    }
}

fn leaf_name(leaf: &TableName) -> String {
    format!("{}.{}", path_segment(&leaf.schema), path_segment(&leaf.name))
}

fn unit_sql(table: &Table, unit: &UnitPlan) -> String {
    let conditions: Vec<String> = unit.condition().into_iter().chain(table.condition.clone()).collect();
    copy_out(&table.columns, &format!("ONLY {}", table.name.sql()), &conditions)
}

/// Into the operation's error, which knows the exit codes.
pub(super) fn dump_error(error: DumpError) -> OpsError {
    match error {
        DumpError::Pg(error) => snapshot_lost(error),
        DumpError::TooLarge { table, place, bytes, bound } => {
            OpsError::RowTooLarge { table, place, bytes, bound }
        }
        DumpError::Sink { table, source: SinkError::Codec(source) } => OpsError::Rows { table, source },
        DumpError::Sink { source: SinkError::Store(source), .. } | DumpError::Store(source) => {
            OpsError::Store(source)
        }
        error @ DumpError::Unsettled { .. } => OpsError::SourceChanged(error.to_string()),
        DumpError::Thread(table) => OpsError::Internal(format!("the encoder of {table} died")),
        error @ DumpError::Writer => OpsError::Internal(error.to_string()),
    }
}

fn snapshot_lost(error: crate::pg::PgError) -> OpsError {
    let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    match code.as_str() {
        // Invalid snapshot identifier; recovery conflict.
        "22023" | "40001" => OpsError::SourceChanged(format!("the snapshot is gone ({code})")),
        _ => OpsError::Pg(error),
    }
}

/// Holds what was read of tables in several units to what was counted.
fn agree(planned: &mut [Planned], counts: Vec<(usize, u64)>) -> Result<(), OpsError> {
    for (index, counted) in counts {
        let Planned { table, stored, .. } = &mut planned[index];
        let rows = stored.iter().flatten().map(|unit| unit.rowset.rows).sum();
        held_to_count(&table.name, rows, counted)?;
        table.counted = Some(counted);
    }
    Ok(())
}

fn held_to_count(table: &TableName, rows: u64, counted: u64) -> Result<(), OpsError> {
    if rows == counted {
        return Ok(());
    }
    Err(OpsError::Mismatch(format!("{table}: count(*) is {counted}, {rows} rows were read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_more_or_less_than_was_counted_ends_the_dump() {
        let table = TableName { schema: "public".to_owned(), name: "bars".to_owned() };
        assert!(held_to_count(&table, 7, 7).is_ok());
        for (rows, counted) in [(6, 7), (8, 7), (0, 7), (7, 0)] {
            let error = held_to_count(&table, rows, counted).unwrap_err();
            assert_eq!(error.exit_code(), 40, "{error}");
            assert!(error.to_string().contains("public.bars: count(*)"), "{error}");
        }
    }
}

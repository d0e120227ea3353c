//! The rows: plan every table under the snapshot, run the lanes, widen what had too many exceptions, count what was split.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Run;
use crate::base::{Event, TableName, path_segment};
use crate::catalog::Relation;
use crate::manifest::{Manifest, Mapping, Piece, Table, TableColumn, TableKind, Unit, Warning};
use crate::ops::OpsError;
use crate::pg::Locked;
use crate::pipeline::dump::{DumpError, EarlierUnit, Lanes, UnitJob};
use crate::pipeline::sink::{SinkError, StoredUnit, UnitTarget};
use crate::plan::copy::{copy_out, large_object_sql, piece_shape};
use crate::plan::dump::{columns_to_profile, mappings, too_many, trees, widened};
use crate::plan::mapping::NumericProfile;
use crate::plan::units::{Tree, UnitPlan, order, pages_per_unit, split, table_of};
use crate::store::Staging;

/// The code of the warning that a table is not whole, because that was asked for.
pub(super) const SLICE: &str = "SLICE";

/// Tables with their stored units.
pub(super) struct Data {
    pub(super) tables: Vec<Table>,
    pub(super) pieces: Vec<Piece>,
}

/// By folder and column.
type Profiles = BTreeMap<String, BTreeMap<String, NumericProfile>>;

/// A table on its way.
struct Planned {
    table: Table,
    units: Vec<UnitPlan>,
    stored: Vec<Option<StoredUnit>>,
    /// Large objects are no relation: their COPY reads functions.
    large_objects: bool,
}

impl Run<'_> {
    /// Reads and stores every chosen table.
    pub(super) async fn data(&mut self, locked: &Locked, staging: &Arc<Staging>) -> Result<Data, OpsError> {
        if self.request.schema_only {
            return Ok(Data { tables: Vec::new(), pieces: Vec::new() });
        }
        let earlier = self.earlier()?;
        let mut planned = self.plan(locked, earlier.as_ref()).await?;
        self.announce(&planned);
        let mut wanted: Vec<usize> = (0..planned.len()).collect();
        while !wanted.is_empty() {
            let jobs = self.jobs(&planned, &wanted, staging, earlier.as_ref())?;
            let version = self.facts.server_version_num;
            let lanes = Lanes { locked, version, vault: self.vault, events: &self.services.events };
            for (table, unit, stored) in
                lanes.run(jobs, self.request.jobs.max(1)).await.map_err(dump_error)?
            {
                planned[table].stored[unit] = Some(stored);
            }
            wanted = self.widen(&mut planned, &wanted, staging)?;
        }
        self.gather(locked, planned).await
    }

    /// The newest backup of this database under the same key: what unchanged units may be shared with.
    fn earlier(&self) -> Result<Option<Manifest>, OpsError> {
        let same = |manifest: &Manifest| {
            let source = &manifest.body.source;
            source.database == self.facts.database
                && source.system_identifier == self.facts.system_identifier
                && manifest.head.rowset.key_id == self.vault.key_id()
                && !manifest.body.tables.is_empty()
        };
        Ok(self.vault.manifests()?.into_iter().map(|sealed| sealed.manifest).find(same))
    }

    async fn plan(&self, locked: &Locked, earlier: Option<&Manifest>) -> Result<Vec<Planned>, OpsError> {
        let trees = trees(&self.chosen.tables, &self.relations);
        let folders: Vec<String> =
            self.chosen.tables.iter().zip(&trees).map(|(r, tree)| folder_of(r, tree)).collect();
        let profiles = self.profiles(locked, &folders).await?;
        let mut planned = Vec::with_capacity(self.chosen.tables.len());
        for ((relation, tree), folder) in self.chosen.tables.iter().zip(&trees).zip(&folders) {
            let root =
                tree.root.as_ref().and_then(|root| self.relations.iter().find(|other| other.name == *root));
            let relation = &in_order_of(relation, root);
            let known = profiles.get(folder).cloned().unwrap_or_default();
            let mappings = mappings(relation, &self.facts, &known, earlier);
            let mut table = table_of(relation, tree, &mappings);
            table.condition = self.condition(relation, table.condition.take(), tree.root.as_ref());
            let before = earlier.and_then(|manifest| manifest.table(&relation.name));
            table.pages_per_unit = pages_per_unit(relation, before.and_then(|table| table.pages_per_unit));
            let units = split(planned.len(), relation, table.pages_per_unit);
            let stored = vec![None; units.len()];
            planned.push(Planned { table, units, stored, large_objects: false });
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
            let found = locked.profile_numeric(&relation.name, &names).await?;
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
        let all: Vec<String> = own.into_iter().chain(asked.map(|(_, sql)| sql.clone())).collect();
        match all.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(several.iter().map(|sql| format!("({sql})")).collect::<Vec<_>>().join(" AND ")),
        }
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
            units: Vec::new(),
        };
        let units = vec![UnitPlan { table: index, unit: 0, pages: None, weight: 0 }];
        Ok(Some(Planned { table, units, stored: vec![None], large_objects: true }))
    }

    fn announce(&self, planned: &[Planned]) {
        let estimate = |relation: &Relation| u64::try_from(relation.estimated_rows).unwrap_or(0);
        self.services.events.emit(Event::Planned {
            tables: planned.len() as u64,
            units: planned.iter().map(|table| table.units.len() as u64).sum(),
            rows: self.chosen.tables.iter().map(estimate).sum(),
            bytes: self
                .chosen
                .tables
                .iter()
                .map(|relation| relation.pages * 8192 + relation.toast_bytes)
                .sum(),
        });
    }

    fn jobs(
        &self,
        planned: &[Planned],
        wanted: &[usize],
        staging: &Arc<Staging>,
        earlier: Option<&Manifest>,
    ) -> Result<Vec<UnitJob>, OpsError> {
        let key_id = self.vault.key_id();
        let key = *self
            .vault
            .key(key_id)
            .ok_or_else(|| OpsError::Internal("the vault has no rowset key".to_owned()))?;
        let mut units: Vec<UnitPlan> =
            wanted.iter().flat_map(|table| planned[*table].units.clone()).collect();
        order(&mut units);
        Ok(units
            .into_iter()
            .map(|unit| {
                let Planned { table, large_objects, .. } = &planned[unit.table];
                let shape = piece_shape(table);
                let target =
                    UnitTarget { staging: Arc::clone(staging), stem: stem(table, unit.unit), shape, key };
                UnitJob {
                    table: unit.table,
                    unit: unit.unit,
                    name: table.name.clone(),
                    lockable: !large_objects,
                    sql: if *large_objects { large_object_sql() } else { unit_sql(table, &unit) },
                    earlier: earlier.and_then(|manifest| earlier_unit(manifest, table, &unit)),
                    target,
                }
            })
            .collect())
    }

    /// Tables with a column whose exceptions are more than exceptions: discarded, widened, to be read again, and with
    /// them the other leaves of the tree, whose schema must stay theirs.
    fn widen(
        &mut self,
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

    async fn gather(&mut self, locked: &Locked, planned: Vec<Planned>) -> Result<Data, OpsError> {
        let mut data = Data { tables: Vec::new(), pieces: Vec::new() };
        for Planned { mut table, units, stored, .. } in planned {
            for (plan, stored) in units.iter().zip(stored) {
                let stored = stored
                    .ok_or_else(|| OpsError::Internal(format!("a unit of {} is missing", table.name)))?;
                let first = data.pieces.len();
                data.pieces.extend(stored.pieces);
                let from_page = plan.pages.map(|(from, _)| from);
                let pieces = (first..data.pieces.len()).collect();
                table.units.push(Unit { from_page, chunk: None, rowset: stored.rowset, pieces });
                table.rowset += stored.rowset;
            }
            if table.units.len() > 1 {
                let counted = locked.count(&table.name, table.condition.as_deref()).await?;
                if counted != table.rowset.rows {
                    let text = format!(
                        "{}: count(*) is {counted}, {} rows were read",
                        table.name, table.rowset.rows
                    );
                    return Err(OpsError::Mismatch(text));
                }
                table.counted = Some(counted);
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
        if self.request.conditions.is_empty() || table.condition.is_none() {
            return;
        }
        let message =
            format!("{}: only the rows where {}", table.name, table.condition.as_deref().unwrap_or_default());
        self.warnings.push(Warning { code: SLICE.to_owned(), message });
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

/// The same unit of the earlier backup, if it was carried in the same way.
fn earlier_unit(manifest: &Manifest, table: &Table, unit: &UnitPlan) -> Option<EarlierUnit> {
    let before = manifest.table(&table.name)?;
    let alike = piece_shape(before).metadata == piece_shape(table).metadata
        && before.pages_per_unit == table.pages_per_unit
        && before.folder == table.folder;
    let from_page = unit.pages.map(|(from, _)| from);
    let same = before.units.iter().find(|old| alike && old.from_page == from_page)?;
    let pieces = same.pieces.iter().filter_map(|index| manifest.head.pieces.get(*index).cloned()).collect();
    Some(EarlierUnit { id: manifest.head.id.clone(), pieces })
}

/// Into the operation's error, which knows the exit codes.
fn dump_error(error: DumpError) -> OpsError {
    match error {
        DumpError::Pg(error) => snapshot_lost(error),
        DumpError::Sink { table, source: SinkError::Codec(source) } => OpsError::Rows { table, source },
        DumpError::Sink { source: SinkError::Store(source), .. } => OpsError::Store(source),
        DumpError::Thread(table) => OpsError::Internal(format!("the encoder of {table} died")),
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

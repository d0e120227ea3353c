//! `compare`: are the rows of a database the rows of a backup? Table by table by rowset digest, and down to the rows.

mod readings;
mod rows;

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::verify::rowset_key;
use super::{OpsError, Services};
use crate::base::{BackupId, Digest, Event, RowsetDigest, TableName};
use crate::manifest::{Manifest, Mapping, Table, TableColumn};
use crate::pg::{ConnectionSettings, Probe};
use crate::pipeline::digest::{DigestError, of_query};
use crate::plan::selection::TableSelection;
use crate::store::{BackupChoice, Vault};

pub(super) use readings::{Reading, pieces_of, readings};
pub use rows::{RowDifference, Side};

/// What to compare with what.
#[derive(Debug, Clone)]
pub struct CompareRequest {
    /// Which backup.
    pub choice: BackupChoice,
    /// Which database.
    pub database: ConnectionSettings,
    /// Which tables.
    pub selection: TableSelection,
    /// Schemas that have another name there.
    pub schemas: BTreeMap<String, String>,
    /// Tables that have another name there.
    pub tables: BTreeMap<TableName, TableName>,
    /// Show the rows that differ.
    pub rows: bool,
    /// At most this many of each table and side.
    pub limit: usize,
}

impl CompareRequest {
    /// The newest backup with a database, tables only.
    pub fn new(database: ConnectionSettings) -> Self {
        Self {
            choice: BackupChoice::latest(),
            database,
            selection: TableSelection::default(),
            schemas: BTreeMap::new(),
            tables: BTreeMap::new(),
            rows: false,
            limit: 20,
        }
    }

    fn target(&self, name: &TableName) -> TableName {
        if let Some(renamed) = self.tables.get(name) {
            return renamed.clone();
        }
        let schema = self.schemas.get(&name.schema).unwrap_or(&name.schema);
        TableName::new(schema.clone(), name.name.clone())
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct CompareReport {
    /// Which backup.
    pub backup: BackupId,
    /// Its root.
    pub root: Digest,
    /// The database is the one the backup was taken from, so that a difference means it has changed since.
    pub source_itself: bool,
    /// Table by table.
    pub tables: Vec<TableComparison>,
    /// Sequences that stand elsewhere.
    pub sequences: Vec<String>,
    /// Rows compared.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
}

/// One table (or hash-partitioned tree) compared.
#[derive(Debug, Clone, Serialize)]
pub struct TableComparison {
    /// Its name in the backup.
    pub table: TableName,
    /// The verdict.
    pub verdict: TableVerdict,
    /// What the manifest says.
    pub expected: RowsetDigest,
    /// What the database has; absent where the table is missing.
    pub found: Option<RowsetDigest>,
    /// The rows that differ, where asked for.
    pub differences: Vec<RowDifference>,
    /// There are more than are shown.
    pub truncated: bool,
    /// The ranges of time in which a chunked table differs, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<String>,
}

/// How a table compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TableVerdict {
    /// The same rows.
    Equal,
    /// Other rows.
    Different,
    /// No such table, or not with these columns; the server's words.
    Missing(String),
}

impl CompareReport {
    /// Everything is equal.
    pub fn is_equal(&self) -> bool {
        self.sequences.is_empty() && self.tables.iter().all(|table| table.verdict == TableVerdict::Equal)
    }
}

/// Tables whose rows are compared together: one, or the leaves of a hash-partitioned tree.
pub(super) struct Group<'a> {
    pub(super) name: TableName,
    pub(super) leaves: Vec<&'a Table>,
    pub(super) expected: RowsetDigest,
}

/// Compares.
pub async fn compare(
    vault: &Vault,
    request: &CompareRequest,
    services: &Services,
) -> Result<CompareReport, OpsError> {
    let began = Instant::now();
    let sealed = request.choice.find(vault)?;
    let manifest = &sealed.manifest;
    let key = rowset_key(vault, manifest)?;
    services.events.emit(Event::Phase("compare"));
    let probe = Probe::connect(&request.database).await?;
    let facts = probe.facts().await?;
    let source = &manifest.body.source;
    let source_itself = source.system_identifier.is_some()
        && facts.system_identifier == source.system_identifier
        && facts.database_oid == source.database_oid;
    let unmatched = request.selection.unmatched(names(manifest));
    if !unmatched.is_empty() {
        return Err(OpsError::Usage(format!("nothing in the backup matches {}", unmatched.join(", "))));
    }
    let groups: Vec<Group<'_>> = groups(manifest, &request.selection).into_values().collect();
    let materialised = match manifest.body.timescale {
        Some(_) => probe.materialisations().await?,
        None => BTreeMap::new(),
    };
    let sides = Sides { vault, manifest, probe: &probe, request, key: &key, materialised };
    let mut tables = Vec::with_capacity(groups.len());
    for group in &groups {
        tables.push(sides.group(group).await?);
        let (table, rows) = (group.name.clone(), group.expected.rows);
        services.events.emit(Event::TableDone { table, rows });
    }
    let sequences = if request.selection.is_everything() && !source_itself {
        sequences(&probe, request, manifest).await?
    } else {
        Vec::new()
    };
    let report = CompareReport {
        backup: manifest.head.id.clone(),
        root: sealed.root,
        source_itself,
        rows: tables.iter().filter_map(|table| table.found).map(|found| found.rows).sum(),
        tables,
        sequences,
        seconds: began.elapsed().as_secs_f64(),
    };
    let attestation = serde_json::json!({
        "level": "compare", "root": report.root, "equal": report.is_equal(), "source_itself": source_itself,
        "tables": report.tables.len(), "rows": report.rows.to_string(), "database": facts.database,
        "server": facts.server_version,
    });
    vault.attest(&manifest.head.id, services.clock.now(), "compare", &attestation)?;
    Ok(report)
}

/// The names by which tables of a backup can be selected.
pub(super) fn names(manifest: &Manifest) -> impl Iterator<Item = &TableName> {
    let tables = manifest.body.tables.iter();
    tables.flat_map(|table| std::iter::once(&table.name).chain(&table.root).chain(&table.load_through))
}

/// The selected tables of a backup, by the names under which they are compared.
pub(super) fn groups<'a>(
    manifest: &'a Manifest,
    selection: &TableSelection,
) -> BTreeMap<TableName, Group<'a>> {
    let mut groups: BTreeMap<TableName, Group<'a>> = BTreeMap::new();
    for table in &manifest.body.tables {
        let chosen = std::iter::once(&table.name).chain(&table.root).any(|name| selection.takes(name));
        if !chosen {
            continue;
        }
        let name = table.load_through.clone().unwrap_or_else(|| table.name.clone());
        let empty = Group { name: name.clone(), leaves: Vec::new(), expected: RowsetDigest::default() };
        let group = groups.entry(name).or_insert(empty);
        group.leaves.push(table);
        group.expected += table.rowset;
    }
    groups
}

/// The columns that are restored and compared.
pub(super) fn kept(table: &Table) -> Vec<&TableColumn> {
    table.columns.iter().filter(|column| !column.derived).collect()
}

/// Their mappings.
pub(super) fn mappings(table: &Table) -> Vec<Mapping> {
    kept(table).into_iter().map(|column| column.mapping.clone()).collect()
}

/// What the comparison of every table needs.
pub(super) struct Sides<'a> {
    pub(super) vault: &'a Vault,
    pub(super) manifest: &'a Manifest,
    pub(super) probe: &'a Probe,
    pub(super) request: &'a CompareRequest,
    pub(super) key: &'a [u8; 32],
    /// The database's continuous aggregates, with what holds their rows.
    materialised: BTreeMap<TableName, TableName>,
}

impl Sides<'_> {
    async fn group(&self, group: &Group<'_>) -> Result<TableComparison, OpsError> {
        let columns = group.leaves.first().map(|table| mappings(table)).unwrap_or_default();
        let mut comparison = TableComparison {
            table: group.name.clone(),
            verdict: TableVerdict::Equal,
            expected: group.expected,
            found: None,
            differences: Vec::new(),
            truncated: false,
            ranges: Vec::new(),
        };
        let mut found = RowsetDigest::default();
        let mut differing = Vec::new();
        self.probe.mark().await?;
        let target = self.request.target(&group.name);
        for reading in readings(&target, self.manifest, group, &self.materialised) {
            let on_row = Box::new(|_: &_, _: &_| Ok(()));
            let digest = of_query(self.probe.client(), &reading.sql, columns.clone(), self.key, on_row);
            let digest = match digest.await {
                Ok(digest) => digest,
                Err(DigestError::Pg(error))
                    if error.code().is_some_and(|code| code.code().starts_with("42")) =>
                {
                    self.probe.back().await?;
                    comparison.verdict = TableVerdict::Missing(crate::base::chain(&error));
                    return Ok(comparison);
                }
                Err(error) => return Err(digest_error(&group.name, error)),
            };
            if reading.units.is_some() {
                // Its locks go with it: thousands of chunks with their indexes would fill the lock table.
                self.probe.back().await?;
            }
            found += digest;
            if digest != reading.expected {
                differing.push(reading);
            }
        }
        comparison.found = Some(found);
        if !differing.is_empty() {
            comparison.verdict = TableVerdict::Different;
            comparison.ranges = differing.iter().filter_map(|reading| reading.label.clone()).collect();
            if self.request.rows {
                let found = rows::differences(self, group, &differing).await?;
                (comparison.differences, comparison.truncated) = found;
            }
        }
        Ok(comparison)
    }
}

pub(super) fn digest_error(table: &TableName, error: DigestError) -> OpsError {
    match error {
        DigestError::Pg(error) => OpsError::Pg(error),
        DigestError::Codec(source) => OpsError::Rows { table: table.clone(), source },
        error @ DigestError::Rows { .. } => OpsError::Mismatch(format!("{table}: {error}")),
        DigestError::Thread => OpsError::Internal("the hashing thread died".to_owned()),
    }
}

async fn sequences(
    probe: &Probe,
    request: &CompareRequest,
    manifest: &Manifest,
) -> Result<Vec<String>, OpsError> {
    let there: BTreeMap<TableName, (String, bool)> = probe
        .sequences()
        .await?
        .into_iter()
        .map(|(sequence, _)| (sequence.name, (sequence.last_value, sequence.is_called)))
        .collect();
    let differ = manifest.body.sequences.iter().filter_map(|sequence| {
        let expected = (sequence.last_value.clone(), sequence.is_called);
        match there.get(&request.target(&sequence.name)) {
            None => Some(format!("{} is missing", sequence.name)),
            Some(found) if *found != expected => {
                Some(format!("{}: {found:?} instead of {expected:?}", sequence.name))
            }
            Some(_) => None,
        }
    });
    Ok(differ.collect())
}

//! `diff`: which tables, units and rows differ between two backups of a vault, or between a backup and a database?
//!
//! Digests come first: what has the same digest on both sides has the same rows and is not opened. What is left is read by
//! `ops::rows`, and rows of one primary key stand together. It proves nothing about either side and attests nothing.

mod layout;
mod live;
mod stored;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::Serialize;

use super::compare::{Group, groups, names};
use super::rows::{Difference, Found, texts};
use super::verify::rowset_key;
use super::{OpsError, Services};
use crate::base::{BackupId, Digest, Event, RowsetDigest, TableName, Timestamp};
use crate::manifest::{SealedManifest, SelectionRecord, Table};
use crate::pg::ConnectionSettings;
use crate::plan::selection::TableSelection;
use crate::store::{BackupChoice, Vault};

pub use layout::ColumnChange;
use layout::Layout;
pub use units::UnitDiff;

/// What to hold against what.
#[derive(Debug, Clone)]
pub struct DiffRequest {
    /// The one side: a backup.
    pub a: BackupChoice,
    /// The other.
    pub b: DiffWith,
    /// Which tables.
    pub selection: TableSelection,
    /// At most so many differing rows of each table and side.
    pub sample: usize,
    /// Stop at tables and units where digests can tell; read no rows of backups for more.
    pub summary: bool,
}

/// The other side.
#[derive(Debug, Clone)]
pub enum DiffWith {
    /// A backup of the same vault.
    Backup(BackupChoice),
    /// A database.
    Database(Box<ConnectionSettings>),
}

impl DiffRequest {
    /// All tables of a backup and another side, ten rows of each.
    pub fn new(a: BackupChoice, b: DiffWith) -> Self {
        Self { a, b, selection: TableSelection::default(), sample: 10, summary: false }
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct DiffReport {
    /// The one side.
    pub a: DiffSide,
    /// The other.
    pub b: DiffSide,
    /// Table by table, by name; also those that are equal.
    pub tables: Vec<TableDiff>,
    /// Pieces that were opened, of both sides.
    pub pieces_read: usize,
    /// Pieces that the selected tables have, of both sides.
    pub pieces: usize,
    /// How long it took.
    pub seconds: f64,
}

/// What one side is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffSide {
    /// The backup, where it is one.
    pub backup: Option<BackupId>,
    /// Its root.
    pub root: Option<Digest>,
    /// The name of the database.
    pub database: String,
    /// When its snapshot was taken, by the server's clock.
    pub snapshot_time: Timestamp,
    /// What the backup was restricted to, as it was asked for.
    pub selection: Option<String>,
}

/// One table (or hash-partitioned tree).
#[derive(Debug, Clone, Serialize)]
pub struct TableDiff {
    /// Its name.
    pub table: TableName,
    /// The verdict.
    pub verdict: DiffVerdict,
    /// Rows in A.
    pub a: Option<u64>,
    /// Rows in B; not counted where only a database has the table.
    pub b: Option<u64>,
    /// A table that only the other side has, with the very same rows: perhaps the name was changed.
    pub same_rows: Option<TableName>,
    /// Columns that are not the same on both sides. Rows are compared by those that are.
    pub columns: Vec<ColumnChange>,
    /// Chunks and other units that differ, where the table has several.
    pub units: Vec<UnitDiff>,
    /// Columns by which rows are paired; none: whole rows are held against each other.
    pub key: Vec<String>,
    /// How many rows differ; absent where no rows were read.
    pub counts: Option<Counts>,
    /// Some of them.
    pub rows: Vec<RowDiff>,
    /// What else a person should know.
    pub notes: Vec<String>,
}

/// How a table compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiffVerdict {
    /// The same columns and the same rows.
    Equal,
    /// Other columns or other rows.
    Different,
    /// B has no such table.
    OnlyInA,
    /// A has no such table.
    OnlyInB,
}

/// How many rows differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows of B whose key A does not have.
    pub added: u64,
    /// Rows of A whose key B does not have.
    pub removed: u64,
    /// Keys of both with other values.
    pub changed: u64,
    /// False: at least so many; there was no memory for all of them.
    pub exact: bool,
}

/// A row as columns with values as text; NULL is absent.
pub type RowText = Vec<(String, Option<String>)>;

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowDiff {
    /// As A has it; absent where it was added.
    pub a: Option<RowText>,
    /// As B has it; absent where it was removed.
    pub b: Option<RowText>,
    /// Columns whose values differ, where both have it.
    pub differ: Vec<String>,
    /// How many such rows there are.
    pub times: u64,
}

impl DiffReport {
    /// Both sides have the same tables with the same columns and rows.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.verdict == DiffVerdict::Equal)
    }
}

/// Compares.
pub async fn diff(vault: &Vault, request: &DiffRequest, services: &Services) -> Result<DiffReport, OpsError> {
    let began = Instant::now();
    let a = request.a.find(vault)?;
    services.events.emit(Event::Phase("diff"));
    let key = rowset_key(vault, &a.manifest)?;
    let run = Run { vault, request, services, a: &a, key: &key };
    let mut report = match &request.b {
        DiffWith::Backup(choice) => run.with_backup(&choice.find(vault)?).await?,
        DiffWith::Database(settings) => run.with_database(settings).await?,
    };
    same_rows(&mut report.tables, &report.digests);
    Ok(DiffReport {
        a: side(&a),
        b: report.b,
        tables: report.tables,
        pieces_read: report.pieces_read,
        pieces: report.pieces,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// What every table needs.
struct Run<'a> {
    vault: &'a Vault,
    request: &'a DiffRequest,
    services: &'a Services,
    a: &'a SealedManifest,
    key: &'a [u8; 32],
}

/// What one kind of other side comes to.
struct Compared {
    b: DiffSide,
    tables: Vec<TableDiff>,
    /// Of tables that only one side has.
    digests: BTreeMap<TableName, RowsetDigest>,
    pieces_read: usize,
    pieces: usize,
}

impl Run<'_> {
    /// A pattern that matches nothing on either side is a mistake.
    fn strictly_matched<'n>(&self, of_b: impl Iterator<Item = &'n TableName>) -> Result<(), OpsError> {
        let known: BTreeSet<TableName> = names(&self.a.manifest).cloned().chain(of_b.cloned()).collect();
        let unmatched = self.request.selection.unmatched(&known);
        if unmatched.is_empty() {
            return Ok(());
        }
        Err(OpsError::Usage(format!("nothing on either side matches {}", unmatched.join(", "))))
    }

    fn groups(&self) -> BTreeMap<TableName, Group<'_>> {
        groups(&self.a.manifest, &self.request.selection)
    }

    fn done(&self, table: &TableDiff) {
        let rows = table.a.or(table.b).unwrap_or_default();
        self.services.events.emit(Event::TableDone { table: table.table.clone(), rows });
    }

    /// The differences of a table's rows as text, into its report.
    fn describe(&self, layout: &Layout<'_>, found: Found, into: &mut TableDiff) -> Result<(), OpsError> {
        let Found { added, removed, changed, complete, differences } = found;
        if added + removed + changed > 0 {
            into.verdict = DiffVerdict::Different;
        }
        into.counts = Some(Counts { added, removed, changed, exact: complete });
        let rows = differences.into_iter().map(|difference| row(layout, difference));
        let rows: Result<_, _> = rows.collect();
        into.rows = rows.map_err(|source| OpsError::Rows { table: into.table.clone(), source })?;
        Ok(())
    }
}

fn row(layout: &Layout<'_>, difference: Difference) -> Result<RowDiff, crate::codec::CodecError> {
    let [of_a, of_b] = layout.mappings();
    let text = |tuple: Option<Vec<u8>>, mappings: &[_]| {
        tuple.map(|tuple| texts(layout.names(), mappings, &tuple)).transpose()
    };
    let differ = match (&difference.a, &difference.b) {
        (Some(a), Some(b)) => differing(layout, a, b)?,
        _ => Vec::new(),
    };
    let (a, b) = (text(difference.a, &of_a)?, text(difference.b, &of_b)?);
    Ok(RowDiff { a, b, differ, times: difference.times })
}

/// Columns whose bytes differ: two values can differ and print alike.
fn differing(layout: &Layout<'_>, a: &[u8], b: &[u8]) -> Result<Vec<String>, crate::codec::CodecError> {
    let (ours, theirs) = (super::rows::fields_of(a)?, super::rows::fields_of(b)?);
    let pairs = layout.names().zip(ours.into_iter().zip(theirs));
    let other = pairs.filter(|(_, (ours, theirs))| a[ours.start..ours.end] != b[theirs.start..theirs.end]);
    Ok(other.map(|(name, _)| name.clone()).collect())
}

fn side(sealed: &SealedManifest) -> DiffSide {
    let manifest = &sealed.manifest;
    DiffSide {
        backup: Some(manifest.head.id.clone()),
        root: Some(sealed.root),
        database: manifest.body.source.database.clone(),
        snapshot_time: manifest.head.snapshot_time,
        selection: selection_text(&manifest.body.selection),
    }
}

/// The options that restricted a backup.
fn selection_text(record: &SelectionRecord) -> Option<String> {
    let lists = [
        ("-t", &record.tables),
        ("-T", &record.exclude_tables),
        ("-n", &record.schemas),
        ("-N", &record.exclude_schemas),
    ];
    let mut words: Vec<String> = Vec::new();
    for (option, patterns) in lists {
        words.extend(patterns.iter().map(|pattern| format!("{option} {pattern}")));
    }
    words.extend(record.since.iter().map(|since| format!("--since {since}")));
    words.extend(record.until.iter().map(|until| format!("--until {until}")));
    words.extend(record.schema_only.then(|| "--schema-only".to_owned()));
    (!words.is_empty()).then(|| words.join(" "))
}

/// A table of both sides whose rows have not been looked at.
fn table_diff(name: &TableName, a: Option<u64>, b: Option<u64>, verdict: DiffVerdict) -> TableDiff {
    TableDiff {
        table: name.clone(),
        verdict,
        a,
        b,
        same_rows: None,
        columns: Vec::new(),
        units: Vec::new(),
        key: Vec::new(),
        counts: None,
        rows: Vec::new(),
        notes: Vec::new(),
    }
}

/// The verdict on a table of both sides as far as its columns tell.
fn by_columns(name: &TableName, layout: &Layout<'_>, a: u64, b: u64) -> TableDiff {
    let verdict = if layout.changes.is_empty() { DiffVerdict::Equal } else { DiffVerdict::Different };
    let columns = layout.changes.clone();
    TableDiff { columns, key: layout.key.clone(), ..table_diff(name, Some(a), Some(b), verdict) }
}

/// Two tables that were dumped under other conditions differ for that reason.
fn conditions_note(a: &Table, b: &Table) -> Option<String> {
    let words = |table: &Table| match &table.condition {
        None => "every row".to_owned(),
        Some(condition) => format!("only the rows where {condition}"),
    };
    (a.condition != b.condition).then(|| format!("A has {}, B {}", words(a), words(b)))
}

/// Names, for each table that only one side has, one of the other side with the same rows.
fn same_rows(tables: &mut [TableDiff], digests: &BTreeMap<TableName, RowsetDigest>) {
    let alone: Vec<(TableName, DiffVerdict)> = tables
        .iter()
        .filter(|table| matches!(table.verdict, DiffVerdict::OnlyInA | DiffVerdict::OnlyInB))
        .map(|table| (table.table.clone(), table.verdict))
        .collect();
    for table in tables {
        let Some(own) = digests.get(&table.table).filter(|digest| digest.rows > 0) else { continue };
        let twin =
            alone.iter().find(|(name, verdict)| *verdict != table.verdict && digests.get(name) == Some(own));
        table.same_rows = twin.map(|(name, _)| name.clone());
    }
}

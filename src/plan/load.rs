//! [`LoadJob`]: what one transaction puts into the target, as SQL around the COPY of some pieces.
//!
//! Most tables are copied into directly, a piece a transaction. A staging table stands between where rows have to be
//! cast, chosen or compared first. Pure: neither the target nor the pieces are looked at here.

use std::collections::BTreeMap;

use super::chunks;
use super::copy::copy_in;
use crate::base::{TableName, quote_ident};
use crate::catalog::timescale::{Dimension, Range};
use crate::manifest::{Manifest, Mapping, Table, TableColumn, TableKind, Unit};

/// What to do with rows where there are some already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// There must be nothing.
    #[default]
    Fail,
    /// Rows are added to those that are there.
    Append,
    /// Rows whose primary key is there are left out.
    OnlyMissing,
    /// What is there is deleted first, in the same transaction.
    Replace,
}

/// One COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceLoad {
    /// Index into `body.tables`.
    pub table: usize,
    /// Index into `head.pieces`.
    pub piece: usize,
    /// The statement.
    pub copy: String,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadJob {
    /// Its key in the journal.
    pub key: String,
    /// The table that the rows are for, by its name in the backup.
    pub table: TableName,
    /// Run first.
    pub open: Vec<String>,
    /// The pieces.
    pub pieces: Vec<PieceLoad>,
    /// Run last.
    pub close: Vec<String>,
    /// Values are cast from text on the server, and may name objects that do not exist yet.
    pub casts: bool,
    /// Bytes that it has to read, for the order.
    pub bytes: u64,
}

/// How one table is to be loaded.
#[derive(Debug, Clone)]
pub struct TableWay {
    /// Where its rows go: the table itself or the ancestor it is loaded through, by its name in the target.
    pub into: TableName,
    /// Types of the target's columns, for the casts.
    pub types: BTreeMap<String, String>,
    /// Rows wanted.
    pub condition: Option<String>,
    /// Of a chunked table, the range of time wanted.
    pub slice: Option<(Dimension, Range)>,
    /// What to do with rows that are there.
    pub mode: Mode,
    /// Key columns of the target, for [`Mode::OnlyMissing`].
    pub key: Vec<String>,
    /// Rows refer to rows of the same table: all of them must arrive in one statement.
    pub at_once: bool,
}

/// The staging table of a transaction.
const STAGE: &str = "\"pg_temp\".\"barkeep_stage\"";

/// The jobs of one table.
pub fn jobs(manifest: &Manifest, index: usize, way: &TableWay) -> Vec<LoadJob> {
    let Some(table) = manifest.body.tables.get(index) else { return Vec::new() };
    let whole = way.at_once || way.mode == Mode::Replace || table.kind == TableKind::ExtensionConfiguration;
    let with = |key: String, pieces: &[usize], cut: bool| {
        let base = job(table, way, cut);
        let copy = match &base.staged {
            true => copy_in(&TableName::new("pg_temp", "barkeep_stage"), &table.columns),
            false => copy_in(&way.into, &table.columns),
        };
        let load = |piece: &usize| PieceLoad { table: index, piece: *piece, copy: copy.clone() };
        LoadJob {
            key,
            bytes: pieces.iter().filter_map(|piece| manifest.head.pieces.get(*piece)).map(|p| p.bytes).sum(),
            pieces: pieces.iter().map(load).collect(),
            ..base.job
        }
    };
    let units: Vec<(&Unit, bool)> =
        table.units.iter().filter_map(|unit| cut(unit, way).map(|cut| (unit, cut))).collect();
    if whole {
        let numbers: Vec<usize> = units.iter().flat_map(|(unit, _)| unit.pieces.iter().copied()).collect();
        let cut = units.iter().any(|(_, cut)| *cut);
        return vec![with(format!("table:{}", table.name.sql()), &numbers, cut)];
    }
    let pieces = units.iter().flat_map(|(unit, cut)| unit.pieces.iter().map(|piece| (*piece, *cut)));
    pieces.map(|(piece, cut)| with(format!("piece:{piece}"), &[piece], cut)).collect()
}

/// Whether a unit has rows on both sides of the slice's bounds, as far as its range tells; `None` where all of them are
/// outside.
fn cut(unit: &Unit, way: &TableWay) -> Option<bool> {
    let Some((dimension, wanted)) = &way.slice else { return Some(false) };
    match unit.chunk.as_ref().and_then(|chunk| chunk.chunk.ranges.get(&dimension.column)) {
        Some(range) if !wanted.overlaps(*range) => None,
        Some(range) => Some(!wanted.contains(*range)),
        None => Some(true),
    }
}

impl TableWay {
    /// The condition under which rows are wanted, with the slice's bounds in it where they cut.
    fn wanted(&self, cut: bool) -> Option<String> {
        let slice = self.slice.iter().filter(|_| cut);
        let bounds = slice.flat_map(|(dimension, range)| chunks::conditions(dimension, *range));
        let all: Vec<String> =
            self.condition.iter().cloned().chain(bounds).map(|one| format!("({one})")).collect();
        match (all.as_slice(), &self.condition) {
            ([], _) => None,
            ([_], Some(condition)) => Some(condition.clone()),
            _ => Some(all.join(" AND ")),
        }
    }
}

/// Several jobs as one transaction: what leaves of one hash-partitioned table need when its rows are replaced.
pub fn merged(jobs: Vec<LoadJob>) -> Option<LoadJob> {
    let mut jobs = jobs.into_iter();
    let mut all = jobs.next()?;
    for job in jobs {
        all.pieces.extend(job.pieces);
        all.bytes += job.bytes;
    }
    Some(all)
}

struct Base {
    job: LoadJob,
    staged: bool,
}

fn job(table: &Table, way: &TableWay, cut: bool) -> Base {
    let condition = way.wanted(cut);
    let mut job = LoadJob {
        key: String::new(),
        table: table.name.clone(),
        open: Vec::new(),
        pieces: Vec::new(),
        close: Vec::new(),
        casts: false,
        bytes: 0,
    };
    if table.kind == TableKind::LargeObjects {
        large_objects(&mut job);
        return Base { job, staged: true };
    }
    let kept: Vec<&TableColumn> = table.columns.iter().filter(|column| !column.derived).collect();
    job.casts = kept.iter().any(|column| column.mapping == Mapping::ServerText);
    // Harmless where nothing can be deferred, and lets rows that refer to each other arrive in any order where it can.
    job.open.push("SET CONSTRAINTS ALL DEFERRED".to_owned());
    let delete = match (way.mode, table.kind) {
        // The whole slice is emptied, not only the part of it that the backup has chunks for.
        (Mode::Replace, TableKind::Table | TableKind::Hypertable | TableKind::ContinuousAggregate) => {
            Some(way.wanted(true).map(|condition| format!(" WHERE ({condition})")))
        }
        // CREATE EXTENSION may have put its own rows there.
        (_, TableKind::ExtensionConfiguration) => {
            Some(table.condition.as_deref().filter(|c| !c.is_empty()).map(where_clause))
        }
        _ => None,
    };
    if let Some(condition) = delete {
        job.open.push(format!("DELETE FROM {}{}", way.into.sql(), condition.unwrap_or_default()));
    }
    let missing = way.mode == Mode::OnlyMissing && !way.key.is_empty();
    let staged = job.casts || condition.is_some() || missing || way.at_once;
    if staged && !kept.is_empty() {
        job.open.push(stage(&kept, &way.into));
        job.close.push(unstage(&kept, way, condition.as_deref()));
    }
    Base { staged: staged && !kept.is_empty(), job }
}

/// The condition of an extension's table begins with WHERE, where it stands as the extension's script gave it.
fn where_clause(condition: &str) -> String {
    let text = condition.trim();
    match text.split_at_checked(5) {
        Some((word, rest))
            if word.eq_ignore_ascii_case("where") && rest.starts_with([' ', '(', '\n', '\t']) =>
        {
            format!(" {text}")
        }
        _ => format!(" WHERE ({text})"),
    }
}

/// The staging table has the target's types and none of its constraints; text where the server has to parse.
fn stage(columns: &[&TableColumn], into: &TableName) -> String {
    let list: Vec<String> = columns
        .iter()
        .map(|column| match column.mapping {
            Mapping::ServerText => format!("NULL::pg_catalog.text AS {}", quote_ident(&column.name)),
            _ => quote_ident(&column.name),
        })
        .collect();
    format!(
        "CREATE TEMPORARY TABLE barkeep_stage ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
        list.join(", "),
        into.sql()
    )
}

/// A column's text through its type's input function. For `regclass` a cast is not that: `'-'::text::regclass` looks for a
/// relation of that name, where the input function knows it as the OID 0.
fn from_text(column: &str, type_sql: &str) -> String {
    let column = quote_ident(column);
    if type_sql == "regclass" {
        return format!("pg_catalog.regclassin(pg_catalog.textout({column}))");
    }
    format!("{column}::{type_sql}")
}

fn unstage(columns: &[&TableColumn], way: &TableWay, condition: Option<&str>) -> String {
    let names: Vec<String> = columns.iter().map(|column| quote_ident(&column.name)).collect();
    let values: Vec<String> = columns
        .iter()
        .map(|column| match (&column.mapping, way.types.get(&column.name)) {
            (Mapping::ServerText, known) => from_text(&column.name, known.unwrap_or(&column.type_sql)),
            _ => quote_ident(&column.name),
        })
        .collect();
    let conflict = match way.mode {
        // A table without a key was made by this restore, and is empty.
        Mode::OnlyMissing if !way.key.is_empty() => {
            let key: Vec<String> = way.key.iter().map(|column| quote_ident(column)).collect();
            format!(" ON CONFLICT ({}) DO NOTHING", key.join(", "))
        }
        _ => String::new(),
    };
    // Under the table's own name, so that a condition may say `orders.price`.
    format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {STAGE} AS {}{}{conflict}",
        way.into.sql(),
        names.join(", "),
        values.join(", "),
        quote_ident(&way.into.name),
        condition.map(|condition| format!(" WHERE ({condition})")).unwrap_or_default(),
    )
}

fn large_objects(job: &mut LoadJob) {
    job.open.push(
        "CREATE TEMPORARY TABLE barkeep_stage (loid pg_catalog.oid, \"offset\" pg_catalog.int8, data pg_catalog.bytea) \
         ON COMMIT DROP"
            .to_owned(),
    );
    // An object that lies in two pieces is made with the first.
    job.close.push(format!(
        "SELECT pg_catalog.lo_create(l.loid) FROM (SELECT DISTINCT loid FROM {STAGE}) l WHERE NOT EXISTS \
         (SELECT FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = l.loid)"
    ));
    // An object without a byte has one row without data.
    job.close.push(format!(
        "SELECT pg_catalog.lo_put(loid, \"offset\", data) FROM {STAGE} WHERE pg_catalog.length(data) > 0"
    ));
}

//! [`LoadJob`]: what one transaction puts into the target, as SQL around the COPY of some pieces.
//!
//! Most tables are copied into directly, a piece a transaction. A staging table stands between where rows have to be
//! cast, chosen or compared first. Pure: neither the target nor the pieces are looked at here.

use std::collections::BTreeMap;

use super::chunks;
use super::copy::{copy_in, copy_in_frozen};
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
    /// Where they go, by its name in the target: the table, or the ancestor it is loaded through.
    pub into: TableName,
    /// Run first.
    pub open: Vec<String>,
    /// The pieces.
    pub pieces: Vec<PieceLoad>,
    /// Run last.
    pub close: Vec<String>,
    /// Values are cast from text on the server, and may name objects that do not exist yet.
    pub casts: bool,
    /// Bytes of its rows as COPY data, for the order: a file's size says more of its encodings than of the work.
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
    /// The target is a hypertable, where ON CONFLICT cannot be relied on: 2.17 of TimescaleDB leaves out rows of
    /// compressed chunks that are in nobody's way. Rows that are there are looked for instead.
    pub looks: bool,
    /// Of a chunked table, its dimension of time.
    pub time: Option<Dimension>,
    /// Rows refer to rows of the same table: all of them must arrive in one statement.
    pub at_once: bool,
    /// This restore has made the table, and nothing is in it but what this restore puts there.
    pub fresh: bool,
}

/// From this many bytes of COPY data on a piece that is all of its table is frozen: making a table's file anew costs as much
/// as copying some thousands of rows.
const FREEZE_FROM: u64 = 16 << 20;

/// The staging table of a transaction.
const STAGE: &str = "\"pg_temp\".\"barkeep_stage\"";

/// The jobs of one table.
pub fn jobs(manifest: &Manifest, index: usize, way: &TableWay) -> Vec<LoadJob> {
    let Some(table) = manifest.body.tables.get(index) else { return Vec::new() };
    let whole = way.at_once || way.mode == Mode::Replace || table.kind == TableKind::ExtensionConfiguration;
    let with = |key: String, pieces: &[usize], cut: bool, unit: Option<&Unit>| {
        let mut base = job(table, way, cut, unit);
        let bytes =
            pieces.iter().filter_map(|piece| manifest.head.pieces.get(*piece)).map(|p| p.copy_bytes).sum();
        let alone = table.kind == TableKind::Table
            && table.units.iter().map(|unit| unit.pieces.len()).sum::<usize>() == 1;
        let copy = match base.staged {
            true => copy_in(&TableName::new("pg_temp", "barkeep_stage"), &table.columns),
            // Rows can be frozen only in the transaction that made the table's file, and then all of them are in it.
            false if way.fresh && alone && bytes >= FREEZE_FROM => {
                base.job.open.push(format!("TRUNCATE TABLE ONLY {}", way.into.sql()));
                copy_in_frozen(&way.into, &table.columns)
            }
            false => copy_in(&way.into, &table.columns),
        };
        let load = |piece: &usize| PieceLoad { table: index, piece: *piece, copy: copy.clone() };
        LoadJob { key, bytes, pieces: pieces.iter().map(load).collect(), ..base.job }
    };
    let units: Vec<(&Unit, bool)> =
        table.units.iter().filter_map(|unit| cut(unit, way).map(|cut| (unit, cut))).collect();
    if whole {
        let numbers: Vec<usize> = units.iter().flat_map(|(unit, _)| unit.pieces.iter().copied()).collect();
        let cut = units.iter().any(|(_, cut)| *cut);
        return vec![with(format!("table:{}", table.name.sql()), &numbers, cut, None)];
    }
    let pieces = units.iter().flat_map(|(unit, cut)| unit.pieces.iter().map(|piece| (*piece, *cut, *unit)));
    pieces.map(|(piece, cut, unit)| with(format!("piece:{piece}"), &[piece], cut, Some(unit))).collect()
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

fn job(table: &Table, way: &TableWay, cut: bool, unit: Option<&Unit>) -> Base {
    let condition = way.wanted(cut);
    let mut job = LoadJob {
        key: String::new(),
        table: table.name.clone(),
        into: way.into.clone(),
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
        job.close.push(unstage(&kept, way, condition.as_deref(), unit));
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

fn unstage(columns: &[&TableColumn], way: &TableWay, condition: Option<&str>, unit: Option<&Unit>) -> String {
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
    let from = format!(
        "FROM {STAGE} AS {}{}",
        quote_ident(&way.into.name),
        condition.map(|condition| format!(" WHERE ({condition})")).unwrap_or_default(),
    );
    let insert =
        format!("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT", way.into.sql(), names.join(", "));
    match way.looks && !conflict.is_empty() {
        true => {
            let named: Vec<String> =
                values.iter().zip(&names).map(|(value, name)| format!("{value} AS {name}")).collect();
            let absent = absent(way, unit);
            format!("{insert} * FROM (SELECT {} {from}) staged WHERE {absent}", named.join(", "))
        }
        false => format!("{insert} {} {from}{conflict}", values.join(", ")),
    }
}

/// That no row of the target has the key of a staged one; looked for in the unit's own range only, where it has one.
fn absent(way: &TableWay, unit: Option<&Unit>) -> String {
    let keys =
        way.key.iter().map(|column| quote_ident(column)).map(|key| format!("there.{key} = staged.{key}"));
    let chunk = unit.and_then(|unit| unit.chunk.as_ref());
    let range = way.time.as_ref().zip(chunk).and_then(|(time, chunk)| {
        chunk.chunk.ranges.get(&time.column).map(|range| chunks::conditions(time, *range))
    });
    let bounds = range.unwrap_or_default();
    let all: Vec<String> = keys.chain(bounds).collect();
    format!("NOT EXISTS (SELECT FROM {} there WHERE {})", way.into.sql(), all.join(" AND "))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A hypertable over `k` with chunks of ten from 0 on, one piece each.
    fn manifest(chunks: i64) -> Manifest {
        let rowset = serde_json::json!({ "n": "0", "s": "0".repeat(64) });
        let name = serde_json::json!({ "schema": "a", "name": "t" });
        let units: Vec<serde_json::Value> = (0..chunks)
            .map(|number| {
                let range = serde_json::json!({ "from": (number * 10).to_string(), "to": (number * 10 + 10).to_string() });
                serde_json::json!({
                    "from_page": null, "pieces": [number], "rowset": rowset,
                    "chunk": { "id": number, "name": name, "status": 0, "ranges": { "k": range } },
                })
            })
            .collect();
        let column = serde_json::json!({
            "name": "k", "type_sql": "bigint", "collation": null, "not_null": true, "identity": null,
            "derived": false, "mapping": { "as": "int64" }, "text": null, "exceptions": "0",
        });
        let table = serde_json::json!({
            "name": name, "kind": "hypertable", "root": null, "load_through": null, "folder": "a.t",
            "columns": [column], "primary_key": ["k"], "condition": null, "rowset": rowset, "counted": null,
            "pages_per_unit": null, "units": units,
        });
        let source = serde_json::json!({
            "system_identifier": null, "server_version_num": 170_000, "server_version": "17", "database": "d",
            "database_oid": 5, "encoding": "UTF8", "collate": "C", "ctype": "C", "locale_provider": "c",
            "locale": null, "owner": "o", "in_recovery": false, "role": "r", "superuser": false,
            "extensions": [], "lc_monetary": "C", "money_fraction": 2, "database_statements": [],
        });
        let time = "2026-01-01T00:00:00.000000Z";
        let head = serde_json::json!({
            "id": "20260101T000000Z-aaaaaaaa", "vault": "a".repeat(26),
            "snapshot_time": time, "finished": time, "previous": null,
            "rowset": { "alg": "rs1", "key_id": "k" }, "seal": null, "pieces": [], "objects": [],
        });
        let body = serde_json::json!({
            "tool": { "name": "barkeep", "version": "0", "pg_dump": null }, "tag": null, "keep_forever": false,
            "source": source, "snapshot": { "name": "s", "xids": "1:1:", "lsn": null, "timeline": null },
            "selection": {
                "tables": [], "exclude_tables": [], "schemas": [], "exclude_schemas": [], "schema_only": false,
                "data_only": false,
            },
            "tables": [table], "sequences": [], "large_objects": null, "populated_views": [], "schema": null,
            "omitted": [], "warnings": [], "timescale": null, "consistent": true,
        });
        let manifest =
            serde_json::json!({ "format": "barkeep/1", "required": [], "head": head, "body": body });
        serde_json::from_value(manifest).unwrap()
    }

    fn way(mode: Mode, slice: Option<(i64, i64)>) -> TableWay {
        let time = Dimension {
            column: "k".into(),
            column_type: "bigint".into(),
            interval: Some(10),
            partitions: None,
            function: None,
            integer_now: None,
        };
        TableWay {
            into: TableName::new("b", "u"),
            types: BTreeMap::new(),
            condition: None,
            slice: slice.map(|(from, to)| (time.clone(), Range { from, to })),
            mode,
            key: vec!["k".into()],
            looks: true,
            time: Some(time),
            at_once: false,
            fresh: false,
        }
    }

    #[test]
    fn only_a_fresh_table_of_one_large_piece_is_frozen() {
        let mut whole = manifest(1);
        let piece = serde_json::json!({
            "path": "backups/x/tables/a.t/0.parquet", "bytes": "1000", "blake3": "0".repeat(64),
            "rowset": { "n": "0", "s": "0".repeat(64) }, "copy_bytes": FREEZE_FROM.to_string(), "row_groups": [], "exceptions": null,
            "reused_from": null, "key_id": null,
        });
        whole.head.pieces = vec![serde_json::from_value(piece).unwrap()];
        whole.body.tables[0].kind = TableKind::Table;
        let fresh = TableWay { fresh: true, ..way(Mode::Fail, None) };
        let frozen = |manifest: &Manifest, way: &TableWay| {
            let job = &jobs(manifest, 0, way)[0];
            let copied = job.pieces[0].copy.ends_with("(FORMAT binary, FREEZE)");
            assert_eq!(copied, job.open.iter().any(|sql| sql == "TRUNCATE TABLE ONLY \"b\".\"u\""));
            copied
        };
        assert!(frozen(&whole, &fresh));
        assert!(!frozen(&whole, &way(Mode::Fail, None)), "it may have rows");
        assert!(
            !frozen(&whole, &TableWay { condition: Some("k > 1".into()), ..fresh.clone() }),
            "chosen from a stage"
        );
        let mut small = whole.clone();
        small.head.pieces[0].copy_bytes -= 1;
        assert!(!frozen(&small, &fresh));
        let mut chunked = whole.clone();
        chunked.body.tables[0].kind = TableKind::Hypertable;
        assert!(!frozen(&chunked, &fresh));
        let mut several = whole.clone();
        several.head.pieces.push(several.head.pieces[0].clone());
        several.body.tables[0].units[0].pieces.push(1);
        assert!(!frozen(&several, &fresh), "each piece has a transaction of its own");
    }

    #[test]
    fn chunks_inside_a_slice_are_copied_and_those_at_its_edges_chosen_from() {
        let made = jobs(&manifest(4), 0, &way(Mode::Fail, Some((5, 30))));
        let keys: Vec<&str> = made.iter().map(|job| &*job.key).collect();
        assert_eq!(keys, ["piece:0", "piece:1", "piece:2"]);
        assert!(made[0].close[0].ends_with("WHERE ((\"k\" >= (5)::bigint) AND (\"k\" < (30)::bigint))"));
        assert!(made[0].pieces[0].copy.contains("barkeep_stage"));
        assert!(made[1].close.is_empty() && made[1].pieces[0].copy.starts_with("COPY \"b\".\"u\""));
        let replaced = jobs(&manifest(4), 0, &way(Mode::Replace, Some((5, 30))));
        assert_eq!(replaced.len(), 1);
        assert!(replaced[0].open.iter().any(|sql| sql.starts_with("DELETE FROM \"b\".\"u\" WHERE ((")));
    }

    #[test]
    fn rows_of_a_hypertable_that_are_there_are_looked_for_in_their_chunk() {
        let made = jobs(&manifest(1), 0, &way(Mode::OnlyMissing, None));
        let insert = &made[0].close[0];
        assert!(
            insert.ends_with(
                "WHERE NOT EXISTS (SELECT FROM \"b\".\"u\" there WHERE there.\"k\" = staged.\"k\" AND \
                 \"k\" >= (0)::bigint AND \"k\" < (10)::bigint)"
            ),
            "{insert}"
        );
        let plain = TableWay { looks: false, ..way(Mode::OnlyMissing, None) };
        assert!(jobs(&manifest(1), 0, &plain)[0].close[0].ends_with("ON CONFLICT (\"k\") DO NOTHING"));
    }
}

//! What analysts' tools make of the pieces, held against what PostgreSQL says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use barkeep::manifest::{SealedManifest, Table};
use barkeep::pg::workbench::Workbench;
use barkeep::store::BackupChoice;
use serde_json::{Value, json};

use crate::bench_world::{World, fixture, value, words};
use crate::oracle::{self, Oracle};

/// Unconstrained numerics whose scale grows in the last leaf: a reader that takes the first file's scale would round.
const SOURCE: &str = "CREATE TABLE bars (day date, symbol text, ts timestamptz, px numeric, vol bigint) PARTITION BY RANGE (day);
     CREATE TABLE bars_1 PARTITION OF bars FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
     CREATE TABLE bars_2 PARTITION OF bars FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
     INSERT INTO bars SELECT '2026-01-10', 'BTC', '2026-01-10 00:00Z'::timestamptz + i * interval '1 min', i * 0.5, i
       FROM generate_series(1, 2000) i;
     INSERT INTO bars SELECT '2026-02-10', 'ETH', '2026-02-10 00:00Z'::timestamptz, i * 0.00000001, i
       FROM generate_series(1, 2000) i";

const READERS: &str = r#"
import sys, glob, decimal
folder = sys.argv[1]
files = sorted(glob.glob(glob.escape(folder) + "/*.parquet"))
import duckdb, polars, pyarrow.dataset, pyarrow.compute
row = duckdb.sql("select count(*), sum(px), max(ts)::timestamp, sum(vol) from read_parquet('%s/*.parquet')" % folder).fetchall()[0]
print("duckdb", row[0], row[1], row[2], row[3])
frame = polars.read_parquet(files)
print("polars", frame.height, frame["px"].sum(), frame["ts"].max().replace(tzinfo=None), frame["vol"].sum())
table = pyarrow.dataset.dataset(files).to_table()
px = sum((v for v in table["px"].to_pylist()), decimal.Decimal(0))
print("pyarrow", table.num_rows, px, pyarrow.compute.max(table["ts"]).as_py().replace(tzinfo=None), pyarrow.compute.sum(table["vol"]).as_py())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_polars_and_pyarrow_read_what_postgresql_says() {
    let python = std::env::var("BARKEEP_TEST_PYTHON")
        .expect("BARKEEP_TEST_PYTHON names a Python with pyarrow, DuckDB and Polars; `make test` sets it up");
    let world = World::with(SOURCE).await;
    world.dump().await;
    let id = world.vault.backups().unwrap()[0].clone();
    let folder = world.vault.root().join("backups").join(id.as_str()).join("tables/public.bars");
    let output = Command::new(python).args(["-c", READERS]).arg(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sql = "SELECT count(*) || ' ' || sum(px) || ' ' || (max(ts) AT TIME ZONE 'UTC') || ' ' || sum(vol) FROM bars";
    let expected = value(&world.source(), sql).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for reader in ["duckdb", "polars", "pyarrow"] {
        assert!(printed.contains(&format!("{reader} {expected}\n")), "PostgreSQL says {expected}; {printed}");
    }
}

/// One table as the readers are told of it, and what PostgreSQL says is in it.
struct Told {
    name: String,
    task: Value,
    /// Rows as JSON texts, in order.
    rows: Vec<String>,
}

/// What the server says of a table's rows; exceptions are counted against the manifest on the way.
async fn told(world: &World, session: &Workbench, sealed: &SealedManifest, table: &Table) -> Told {
    let columns: Vec<_> = table.columns.iter().map(|c| oracle::column(&c.mapping, &c.name)).collect();
    // A function takes a hundred arguments at most.
    let chunks: Vec<String> = columns
        .chunks(50)
        .map(|some| {
            format!("jsonb_build_array({})", some.iter().map(Oracle::seen).collect::<Vec<_>>().join(", "))
        })
        .collect();
    let from = format!("FROM ONLY {}", table.name.sql());
    let rows = session.rows("asking", &format!("SELECT {} {from}", chunks.join(" || "))).await;
    let rows = rows.unwrap_or_else(|error| panic!("{}: {}", table.name, words(&error)));
    let counts: Vec<String> =
        columns.iter().map(|column| format!("count(*) FILTER (WHERE {})", column.exception)).collect();
    let counts = session.rows("counting", &format!("SELECT {} {from}", counts.join(", "))).await;
    let counts = counts.unwrap_or_else(|error| panic!("{}: {}", table.name, words(&error)));
    for (column, count) in table.columns.iter().zip(&counts[0]) {
        let said = count.as_deref().unwrap();
        assert_eq!(column.exceptions.to_string(), said, "exceptions of {} {}", table.name, column.name);
    }
    let mut rows: Vec<String> = rows
        .into_iter()
        .map(|row| sorted(serde_json::from_str(row[0].as_deref().unwrap()).unwrap()))
        .collect();
    rows.sort();
    let columns: Vec<Value> = table
        .columns
        .iter()
        .map(|column| {
            let mut kind = oracle::kind(&column.mapping);
            kind["name"] = column.name.as_str().into();
            kind
        })
        .collect();
    let id = sealed.manifest.head.id.as_str();
    let folder = world.vault.root().join("backups").join(id).join("tables").join(&table.folder);
    let task = json!({"table": table.name.to_string(), "folder": folder, "columns": columns});
    Told { name: table.name.to_string(), task, rows }
}

/// A row as text, whatever the order of keys in its objects.
fn sorted(row: Value) -> String {
    String::from_utf8(barkeep::manifest::canonical(&row).unwrap()).unwrap()
}

/// Rows by table, reader and way of reading.
type Found = BTreeMap<(String, String, String), Vec<String>>;

fn read(world: &World, tables: &[Told]) -> Found {
    let python = std::env::var("BARKEEP_TEST_PYTHON")
        .expect("BARKEEP_TEST_PYTHON names a Python with pyarrow, DuckDB and Polars; `make test` sets it up");
    let tasks: Vec<&Value> = tables.iter().map(|told| &told.task).collect();
    let file = world.folder.path().join("tasks.json");
    std::fs::write(&file, serde_json::to_vec(&tasks).unwrap()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/read_pieces.py");
    let output = Command::new(python).arg(script).arg(&file).output().unwrap();
    let mut found = Found::new();
    let mut errors = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        if line["error"].is_string() {
            errors.push(line.to_string());
            continue;
        }
        let rows = found.entry((word("table"), word("reader"), word("how"))).or_default();
        if line["row"].is_array() {
            rows.push(sorted(line["row"].clone()));
        }
    }
    assert!(
        errors.is_empty() && output.status.success(),
        "{}\n{}",
        errors.join("\n"),
        String::from_utf8_lossy(&output.stderr)
    );
    found.values_mut().for_each(|rows| rows.sort());
    found
}

/// Where readers and PostgreSQL disagree.
fn disagreements(tables: &[Told], found: &Found) -> Vec<String> {
    let mut wrong = Vec::new();
    for told in tables {
        for reader in ["pyarrow", "duckdb", "polars"] {
            for how in ["glob", "single"] {
                let key = (told.name.clone(), reader.to_owned(), how.to_owned());
                let rows = found.get(&key).map(Vec::as_slice).unwrap_or_default();
                let expected = &told.rows;
                if rows == expected {
                    continue;
                }
                let only = |these: &[String], those: &[String]| {
                    let some = these.iter().filter(|row| !those.contains(row)).take(5);
                    some.map(|row| row.chars().take(400).collect()).collect::<Vec<String>>()
                };
                let (theirs, ours) = (only(rows, expected), only(expected, rows));
                wrong.push(format!(
                    "{} by {reader} ({how}):\n  reads {theirs:?}\n  is    {ours:?}",
                    told.name
                ));
            }
        }
    }
    wrong
}

/// A table, and what is done to its expected rows.
type Change = (&'static str, fn(&mut Vec<String>));

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_every_type_is_what_postgresql_says() {
    let world = World::with(&fixture("sql/types.sql")).await;
    world.run(&fixture("sql/extensions.sql")).await;
    world.run(MORE_TYPES).await;
    world.dump().await;
    let sealed = BackupChoice::latest().find(&world.vault).unwrap();
    let session = Workbench::connect(&world.source()).await.unwrap();
    session.run("settling", "SET search_path = ''; SET timezone = 'UTC'").await.unwrap();
    let mut tables = Vec::new();
    for table in &sealed.manifest.body.tables {
        tables.push(told(&world, &session, &sealed, table).await);
    }
    let found = read(&world, &tables);
    let wrong = disagreements(&tables, &found);
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(found.len(), tables.len() * 6, "three readers, two ways, every table");

    // The controls: a digit more, a NULL less, a row too many are caught, in every reader.
    let changes: [Change; 3] = [
        ("zoo.dates", |rows| rows[0] = rows[0].replacen("\"0\"", "\"1\"", 1)),
        ("zoo.numeric_small", |rows| {
            let at = rows.iter().position(|row| row.contains("null")).unwrap();
            rows[at] = rows[at].replacen("null", "\"0.00\"", 1);
        }),
        ("zoo.ranges", |rows| drop(rows.pop())),
    ];
    for (name, change) in changes {
        let told = tables.iter_mut().find(|told| told.name == name).unwrap();
        let before = told.rows.clone();
        change(&mut told.rows);
        assert_ne!(before, told.rows, "{name} must be changed");
        let wrong = disagreements(&tables, &found);
        assert_eq!(wrong.len(), 6, "{name}: {wrong:?}");
        let told = tables.iter_mut().find(|told| told.name == name).unwrap();
        told.rows = before;
    }
    assert_eq!(mappings(&sealed), ALL_MAPPINGS, "every mapping was read");
}

/// Beside the fixture: a generated column, and page after page of one value.
const MORE_TYPES: &str = "CREATE TABLE zoo.derived (id bigint PRIMARY KEY, a integer, b numeric(10, 2) GENERATED ALWAYS AS (a * 1.25) STORED);
     INSERT INTO zoo.derived (id, a) SELECT i, nullif(i % 7, 0) FROM generate_series(1, 3000) i";

/// The names of all mappings in a backup, through lists and structs.
fn mappings(sealed: &SealedManifest) -> Vec<String> {
    fn collect(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                into.extend(fields.get("as").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| collect(value, into));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    for column in sealed.manifest.body.tables.iter().flat_map(|table| &table.columns) {
        collect(&serde_json::to_value(&column.mapping).unwrap(), &mut names);
    }
    names.into_iter().collect()
}

/// All of `manifest::Mapping` but the vectors, whose extension does not come with PostgreSQL.
const ALL_MAPPINGS: [&str; 40] = [
    "binary",
    "bit_string",
    "boolean",
    "box",
    "bpchar",
    "char",
    "circle",
    "date",
    "decimal",
    "float32",
    "float64",
    "hstore",
    "inet",
    "int16",
    "int32",
    "int64",
    "interval",
    "line",
    "list",
    "lseg",
    "mac_addr",
    "money",
    "multirange",
    "numeric_text",
    "path",
    "point",
    "polygon",
    "range",
    "server_text",
    "struct",
    "tid",
    "time",
    "time_tz",
    "timestamp",
    "timestamp_tz",
    "u_int32",
    "u_int64",
    "utf8",
    "uuid",
    "versioned_text",
];

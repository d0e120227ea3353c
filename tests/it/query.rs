//! SQL on the files of a backup: the same answers as from the server, exactly, whatever values there are.

use std::process::{Command, Output};

use barkeep::ops::query::Questions;
use barkeep::query::Session;
use barkeep::store::BackupChoice;

use crate::bench_world::{World, value};

/// Values that have no place in the natural types of Parquet, and those that have.
const VALUES: &str = "
    CREATE TYPE side AS ENUM ('buy', 'sell');
    CREATE TABLE v (id int PRIMARY KEY, n numeric, f float8, t timestamptz, d date, u uuid, s side, j jsonb, a int[], b bytea, x text);
    INSERT INTO v VALUES
        (1, 1.10, 1.5, '2026-01-02 03:04:05.678901+00', '2026-01-02', '00112233-4455-6677-8899-aabbccddeeff', 'buy', '{\"k\": 1}', '{1,2}', '\\x00ff', 'a,\"b\"'),
        (2, 'NaN', 'NaN', 'infinity', '-infinity', NULL, 'sell', NULL, '{{1,2},{3,NULL}}', NULL, ''),
        (3, '-Infinity', '-Infinity', '-infinity', 'infinity', NULL, NULL, NULL, '[0:1]={7,8}', NULL, NULL),
        (4, 123456789012345678901234567890.5, 1e300, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE TABLE prices (symbol text, price numeric(20, 8), qty numeric(20, 4));
    INSERT INTO prices SELECT 's' || i % 7, i * 0.00000001, i * 1.5 FROM generate_series(1, 50000) i;
    CREATE TABLE parted (k int, at date) PARTITION BY LIST (k);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
    CREATE TABLE parted_2 (at date, k int);
    ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
    INSERT INTO parted SELECT 1 + i % 2, date '2026-01-01' + i FROM generate_series(1, 100) i;
    CREATE SCHEMA \"Big One\"; CREATE TABLE \"Big One\".\"Tab\" AS SELECT 1 AS \"Col\"";

async fn session(world: &World) -> Session {
    let sealed = BackupChoice::latest().find(&world.vault).unwrap();
    Session::open(&world.vault, sealed.manifest).unwrap()
}

/// One value.
async fn ask(session: &Session, sql: &str) -> Option<String> {
    let answer = session.ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    answer.rows.into_iter().next().and_then(|row| row.into_iter().next().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_reads_as_the_server_prints_it() {
    let world = World::dumped(VALUES).await;
    let session = session(&world).await;
    for column in ["n", "f", "t", "d", "u", "s", "a", "x"] {
        for id in 1..=4 {
            // 1e300 is the one number that PostgreSQL writes with an exponent and others with all its digits.
            if (column, id) == ("f", 4) {
                continue;
            }
            let sql = format!("SELECT {column} FROM v WHERE id = {id}");
            let expected = value(&world.source(), &sql).await;
            let found = ask(&session, &sql).await;
            // Lists without anything unusual are lists to a query, in brackets.
            assert_eq!(found, expected, "{column} of {id}");
        }
    }
    // A NaN is neither NULL nor a number, and is not lost.
    assert_eq!(ask(&session, "SELECT count(*) FROM v WHERE n IS NULL").await.as_deref(), Some("0"));
    assert_eq!(ask(&session, "SELECT count(*) FROM v WHERE f <> 1.5").await.as_deref(), Some("3"));
    assert_eq!(ask(&session, "SELECT id FROM v WHERE n = 'NaN'").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_counts_and_joins_are_the_servers() {
    let world = World::dumped(VALUES).await;
    let session = session(&world).await;
    for sql in [
        "SELECT sum(price) FROM prices",
        "SELECT sum(price * qty) FROM prices",
        "SELECT count(*) FROM prices",
        "SELECT count(*) FROM prices a JOIN v ON v.id = a.qty",
        "SELECT max(price) FROM public.prices WHERE symbol = 's3'",
        "SELECT count(*) FROM parted WHERE k = 2",
        "SELECT max(at) FROM parted",
        "SELECT \"Col\" FROM \"Big One\".\"Tab\"",
        "SELECT count(*) FROM parted_2",
    ] {
        let (expected, found) = (value(&world.source(), sql).await, ask(&session, sql).await);
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_backup_is_a_table_function_away() {
    let world = World::dumped(VALUES).await;
    let first = BackupChoice::latest().find(&world.vault).unwrap().manifest.head.id;
    world.run("DELETE FROM prices WHERE symbol = 's1'").await;
    world.dump().await;
    let session = session(&world).await;
    let gone = format!(
        "SELECT count(*) FROM (SELECT * FROM as_of('prices', '{first}') EXCEPT SELECT * FROM prices) x WHERE symbol = 's1'"
    );
    assert_eq!(ask(&session, &gone).await.as_deref(), Some("7143"));
    let error = session.ask("SELECT * FROM as_of('no_such', 'latest')").await.unwrap_err().to_string();
    assert!(error.contains("no_such"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_not_answered_and_what_makes_no_sense_is_said() {
    let world = World::dumped(VALUES).await;
    let sealed = BackupChoice::latest().find(&world.vault).unwrap();
    let table = sealed.manifest.body.tables.iter().find(|table| table.name.name == "prices").unwrap();
    let path = world.vault.place(&sealed.manifest.pieces(table).next().unwrap().path);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let code = |arguments: &[&str]| barkeep(&world, arguments);
    let damaged = code(&["SELECT count(*) FROM prices WHERE qty > 0"]);
    assert_eq!(damaged.status.code(), Some(40), "{damaged:?}");
    assert!(damaged.stdout.is_empty(), "no half of an answer: {damaged:?}");
    // Other tables are as good as ever.
    assert_eq!(code(&["SELECT count(*) FROM v"]).status.code(), Some(0));
    let unknown = code(&["SELECT * FROM no_such_table"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no_such_table"), "{unknown:?}");
    for forbidden in
        ["CREATE TABLE x AS SELECT 1", "DROP TABLE v", "INSERT INTO v (id) VALUES (9)", "COPY v TO '/tmp/x'"]
    {
        assert_eq!(code(&[forbidden]).status.code(), Some(2), "{forbidden}");
    }
}

fn barkeep(world: &World, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_barkeep"))
        .current_dir(world.folder.path())
        .args(["--progress", "none", "--vault"])
        .arg(world.vault.root())
        .arg("query")
        .args(arguments)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_in_every_format() {
    let world = World::dumped(VALUES).await;
    let out = |arguments: &[&str]| String::from_utf8(barkeep(&world, arguments).stdout).unwrap();
    let sql = "SELECT id, n, x FROM v ORDER BY id";
    let table = out(&[sql]);
    assert!(table.contains("NaN") && table.contains("NULL") && table.ends_with("(4 rows)\n"), "{table}");
    let csv = out(&[sql, "--format", "csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[..4], ["id,n,x", "1,1.10,\"a,\"\"b\"\"\"", "2,NaN,\"\"", "3,-Infinity,"]);
    let json: serde_json::Value = serde_json::from_str(&out(&[sql, "--format", "json"])).unwrap();
    assert_eq!(
        (&json[0]["id"], &json[0]["n"], &json[2]["x"]),
        (&1.into(), &"1.10".into(), &serde_json::Value::Null)
    );
    let one: serde_json::Value = serde_json::from_str(&out(&["--json", sql])).unwrap();
    assert_eq!((&one["exit_code"], &one["report"]["answer"][1]["n"]), (&0.into(), &"NaN".into()));
    assert_eq!(one["report"]["rows"], 4);
    // A Parquet file that others read.
    assert_eq!(
        barkeep(&world, &["SELECT symbol, price FROM prices", "--format", "parquet", "-o", "p.parquet"])
            .status
            .code(),
        Some(0)
    );
    let python = std::env::var("BARKEEP_TEST_PYTHON").expect("`make test` sets it");
    let script = "import pyarrow.parquet as p, decimal; t = p.read_table('p.parquet'); \
        print(t.num_rows, t.schema.field('price').type, sum(t['price'].to_pylist()))";
    let read = Command::new(python).current_dir(world.folder.path()).args(["-c", script]).output().unwrap();
    let sum = value(&world.source(), "SELECT sum(price) FROM prices").await.unwrap();
    let said = String::from_utf8_lossy(&read.stdout).into_owned();
    assert_eq!(said.trim(), format!("50000 decimal128(20, 8) {sum}"), "{read:?}");
    // Where the name is a link, or no file, it stays that.
    let folder = world.folder.path();
    std::fs::write(folder.join("real.csv"), "old, and longer than what comes now").unwrap();
    std::os::unix::fs::symlink("real.csv", folder.join("link.csv")).unwrap();
    let made = Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
    assert!(made.success());
    let pipe = folder.join("pipe");
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    for name in ["link.csv", "pipe", "/dev/stdout"] {
        let output = barkeep(&world, &["SELECT 1 AS x", "--format", "csv", "-o", name]);
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
        assert_eq!(output.stdout, if name == "/dev/stdout" { b"x\n1\n".as_slice() } else { b"" }, "{name}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("real.csv")).unwrap(), "x\n1\n");
    assert!(folder.join("link.csv").symlink_metadata().unwrap().is_symlink());
    assert_eq!(reader.join().unwrap(), "x\n1\n");
    // Nothing half-written where the question is refused.
    assert_eq!(
        barkeep(&world, &["SELECT nonsense", "--format", "csv", "-o", "x.csv"]).status.code(),
        Some(2)
    );
    let names: Vec<String> = std::fs::read_dir(world.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.starts_with('x')), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_says_what_can_be_asked() {
    let world = World::dumped(VALUES).await;
    let questions = Questions::open(&world.vault, &BackupChoice::latest()).unwrap();
    let tables = questions.tables();
    let v = tables.iter().find(|table| table.table.name == "v").unwrap();
    assert_eq!(v.columns[0], ("id".to_owned(), "integer".to_owned()));
    assert!(v.columns[1].1.contains("as text"), "{:?}", v.columns[1]);
    assert!(tables.iter().any(|table| table.table.name == "parted"), "a partitioned table is one table");
}

//! `diff`: what differs between two backups, or a backup and a database, to the row, and without opening what is equal.

use std::process::{Command, Output, Stdio};

use barkeep::base::{BackupId, TableName};
use barkeep::ops::diff::{
    ColumnChange, Counts, DiffReport, DiffRequest, DiffVerdict, DiffWith, RowText, TableDiff, UnitDiff, diff,
};
use barkeep::ops::{OpsError, Services};
use barkeep::store::BackupChoice;

use crate::bench_world::{World, uri, words};
use crate::large::peak_ending_with;

async fn dumped(world: &World) -> BackupId {
    world.dump().await.backup.unwrap()
}

fn named(id: &BackupId) -> BackupChoice {
    BackupChoice::named(id.as_str())
}

async fn try_diff(world: &World, request: &DiffRequest) -> Result<DiffReport, OpsError> {
    diff(&world.vault, request, &Services::default()).await
}

async fn diff_of(world: &World, a: &BackupId, b: &BackupId) -> DiffReport {
    let request = DiffRequest::new(named(a), DiffWith::Backup(named(b)));
    try_diff(world, &request).await.unwrap()
}

/// The world's own database as the other side.
async fn diff_live(world: &World, a: &BackupId) -> DiffReport {
    let request = DiffRequest::new(named(a), DiffWith::Database(Box::new(world.source())));
    try_diff(world, &request).await.unwrap()
}

fn table<'r>(report: &'r DiffReport, name: &str) -> &'r TableDiff {
    let found = report.tables.iter().find(|table| table.table == TableName::new("public", name));
    found.unwrap_or_else(|| panic!("{name} is not in {:?}", report.tables))
}

fn counts(added: u64, removed: u64, changed: u64) -> Option<Counts> {
    Some(Counts { added, removed, changed, exact: true })
}

/// `- 1|x|NULL`, a changed row as its two lines with the columns that differ.
fn lines(table: &TableDiff) -> Vec<String> {
    let one = |sign: char, row: &Option<RowText>| {
        let values = row.as_ref()?.iter().map(|(_, value)| value.as_deref().unwrap_or("NULL"));
        Some(format!("{sign} {}", values.collect::<Vec<_>>().join("|")))
    };
    let mut all = Vec::new();
    for row in &table.rows {
        let both = [one('-', &row.a), one('+', &row.b)];
        let changed = row.a.is_some() && row.b.is_some();
        let differ = if changed { format!(" [{}]", row.differ.join(" ")) } else { String::new() };
        let times = if row.times > 1 { format!(" x{}", row.times) } else { String::new() };
        all.extend(both.into_iter().flatten().map(|line| format!("{line}{differ}{times}")));
    }
    all
}

const ORDERS: &str =
    "CREATE TABLE orders (id int PRIMARY KEY, symbol text, price numeric(12,4), at timestamptz);
     INSERT INTO orders SELECT i, 'S' || i % 7, i * 0.25, '2026-01-01Z'::timestamptz + i * interval '1 minute'
         FROM generate_series(-3, 1000) i";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_added_removed_and_changed_are_found_by_their_key() {
    let world = World::with(ORDERS).await;
    let a = dumped(&world).await;
    let same = dumped(&world).await;
    let equal = diff_of(&world, &a, &same).await;
    assert!(equal.is_equal() && equal.pieces_read == 0, "{equal:?}");
    assert_eq!((table(&equal, "orders").a, table(&equal, "orders").counts), (Some(1004), None));

    world
        .run(
            "INSERT INTO orders VALUES (5000, 'NEW', 1, NULL); DELETE FROM orders WHERE id IN (-2, 17);
             UPDATE orders SET price = 9.5, at = NULL WHERE id = 300; UPDATE orders SET symbol = 'x y' WHERE id = 2",
        )
        .await;
    let b = dumped(&world).await;
    let expected = [
        "- -2|S-2|-0.5000|2025-12-31 23:58:00+00",
        "- 2|S2|0.5000|2026-01-01 00:02:00+00 [symbol]",
        "+ 2|x y|0.5000|2026-01-01 00:02:00+00 [symbol]",
        "- 17|S3|4.2500|2026-01-01 00:17:00+00",
        "- 300|S6|75.0000|2026-01-01 05:00:00+00 [price at]",
        "+ 300|S6|9.5000|NULL [price at]",
        "+ 5000|NEW|1.0000|NULL",
    ];
    for report in [diff_of(&world, &a, &b).await, diff_live(&world, &a).await] {
        let orders = table(&report, "orders");
        assert_eq!(orders.verdict, DiffVerdict::Different);
        assert_eq!((orders.a, orders.b, orders.counts), (Some(1004), Some(1003), counts(1, 2, 2)));
        assert_eq!(lines(orders), expected);
        assert_eq!(orders.key, ["id"]);
    }
    // The other way round everything is the other way round.
    let back = diff_of(&world, &b, &a).await;
    assert_eq!(table(&back, "orders").counts, counts(2, 1, 2));
    // The negative control of the database: what was not touched is equal.
    assert!(diff_live(&world, &b).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_counted_as_often_as_they_are_there() {
    let world = World::with(
        "CREATE TABLE ticks (price numeric, n int);
         INSERT INTO ticks VALUES (1.5, 1), (1.5, 1), (1.5, 1), (2, 2), (NULL, NULL), (NULL, NULL)",
    )
    .await;
    let a = dumped(&world).await;
    world
        .run(
            "TRUNCATE ticks;
             INSERT INTO ticks VALUES (1.5, 1), (2, 2), (2, 2), (2.0, 2), (NULL, NULL)",
        )
        .await;
    let b = dumped(&world).await;
    for report in [diff_of(&world, &a, &b).await, diff_live(&world, &a).await] {
        let ticks = table(&report, "ticks");
        assert_eq!((ticks.counts, ticks.key.len()), (counts(2, 3, 0), 0));
        let mut found = lines(ticks);
        found.sort();
        assert_eq!(found, ["+ 2.0|2", "+ 2|2", "- 1.5|1 x2", "- NULL|NULL"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_no_number_has_and_values_of_sidecars_are_compared_exactly() {
    let world = World::with(
        "CREATE TABLE odd (id uuid PRIMARY KEY, n numeric, m numeric(8,2), f float8, d date, t timestamp, a int[]);
         INSERT INTO odd SELECT lpad(i::text, 32, '0')::uuid, i + 0.5, i, i, '2026-01-01', '2026-01-01', ARRAY[i]
             FROM generate_series(1, 200) i;
         UPDATE odd SET n = 'NaN', m = 'NaN', f = 'NaN', d = 'infinity', t = '-infinity'
             WHERE id = lpad('7', 32, '0')::uuid;
         UPDATE odd SET n = 1.50, t = '294270-01-01', a = '[0:1]={1,2}' WHERE id = lpad('8', 32, '0')::uuid;
         UPDATE odd SET f = 0 WHERE id = lpad('9', 32, '0')::uuid",
    )
    .await;
    let a = dumped(&world).await;
    let same = dumped(&world).await;
    assert!(diff_of(&world, &a, &same).await.is_equal(), "NaN is itself");
    let columns = &world.vault.manifest(&a).unwrap().manifest.body.tables[0].columns;
    let stood: u64 = columns.iter().map(|column| column.exceptions).sum();
    assert!(stood == 4, "the control: {stood} values stand in sidecars");
    world
        .run(
            "UPDATE odd SET n = '-Infinity', m = NULL, f = '-Infinity', d = '-infinity' WHERE id = lpad('7', 32, '0')::uuid;
             UPDATE odd SET n = 1.500 WHERE id = lpad('8', 32, '0')::uuid;
             UPDATE odd SET f = '-0' WHERE id = lpad('9', 32, '0')::uuid;
             UPDATE odd SET a = '[0:0]={10}' WHERE id = lpad('10', 32, '0')::uuid",
        )
        .await;
    let b = dumped(&world).await;
    let id = |number: &str| format!("00000000-0000-0000-0000-{number:0>12}");
    for report in [diff_of(&world, &a, &b).await, diff_live(&world, &a).await] {
        let odd = table(&report, "odd");
        assert_eq!(odd.counts, counts(0, 0, 4));
        let differ: Vec<&[String]> = odd.rows.iter().map(|row| &row.differ[..]).collect();
        assert_eq!(differ, [&["n", "m", "f", "d"][..], &["n"], &["f"], &["a"]]);
        let found = lines(odd);
        let array = |line: &str| line.split('|').take(6).collect::<Vec<_>>().join("|");
        assert_eq!(array(&found[0]), format!("- {}|NaN|NaN|NaN|infinity|-infinity", id("7")));
        assert_eq!(array(&found[1]), format!("+ {}|-Infinity|NULL|-Infinity|-infinity|-infinity", id("7")));
        assert!(found[2].contains("|1.50|8.00|8|") && found[3].contains("|1.500|8.00|8|"), "{found:?}");
        assert!(found[4].contains("|9.5|9.00|0|") && found[5].contains("|9.5|9.00|-0|"), "{found:?}");
        assert!(found[6].starts_with(&format!("- {}|10.5|", id("10"))), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_changed_are_named_and_rows_compared_by_the_rest() {
    let world = World::with(
        "CREATE TABLE t (id int PRIMARY KEY, gone text, kept varchar(9), wide numeric(8,2), moved date);
         INSERT INTO t SELECT i, 'g', 'k' || i, i, '2026-01-01' FROM generate_series(1, 50) i;
         CREATE TABLE r (id int PRIMARY KEY, before text); INSERT INTO r VALUES (1, 'x'), (2, 'y')",
    )
    .await;
    let a = dumped(&world).await;
    world
        .run(
            "ALTER TABLE t DROP gone; ALTER TABLE t ADD fresh int DEFAULT 1; ALTER TABLE t ALTER id TYPE bigint;
             ALTER TABLE t ALTER kept TYPE text; ALTER TABLE t ALTER moved TYPE timestamp;
             UPDATE t SET kept = 'other' WHERE id = 40; DELETE FROM t WHERE id = 9;
             ALTER TABLE r RENAME before TO after",
        )
        .await;
    let b = dumped(&world).await;
    let change = |column: &str, a: Option<&str>, b: Option<&str>, compared| ColumnChange {
        column: column.to_owned(),
        a: a.map(str::to_owned),
        b: b.map(str::to_owned),
        compared,
    };
    let changes = [
        change("id", Some("integer"), Some("bigint"), true),
        change("gone", Some("text"), None, false),
        change("kept", Some("character varying(9)"), Some("text"), true),
        change("moved", Some("date"), Some("timestamp without time zone"), false),
        change("fresh", None, Some("integer"), false),
    ];
    for report in [diff_of(&world, &a, &b).await, diff_live(&world, &a).await] {
        let changed = table(&report, "t");
        assert_eq!(changed.columns, changes);
        assert_eq!((changed.a, changed.b, changed.counts), (Some(50), Some(49), counts(0, 1, 1)));
        assert_eq!(lines(changed), ["- 9|k9|9.00", "- 40|k40|40.00 [kept]", "+ 40|other|40.00 [kept]"]);
        // A column with another name is another column, though every row has the same bytes.
        let renamed = table(&report, "r");
        assert_eq!((renamed.verdict, renamed.columns.len()), (DiffVerdict::Different, 2));
        assert!(renamed.rows.is_empty());
    }
    // Only the order of columns differs: no row does.
    world.run("CREATE TABLE r2 AS SELECT after, id FROM r; DROP TABLE r; ALTER TABLE r2 RENAME TO r").await;
    let c = dumped(&world).await;
    let report = diff_of(&world, &b, &c).await;
    assert_eq!(table(&report, "r").verdict, DiffVerdict::Equal);
    assert_eq!(table(&report, "r").counts, counts(0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_one_side_lacks_are_listed_and_a_new_name_is_noticed() {
    let world = World::with(
        "CREATE TABLE old (id int PRIMARY KEY); INSERT INTO old VALUES (1), (2);
         CREATE TABLE dropped (id int); CREATE TABLE stays (id int)",
    )
    .await;
    let a = dumped(&world).await;
    world.run("ALTER TABLE old RENAME TO new; DROP TABLE dropped; CREATE TABLE made (id int)").await;
    let b = dumped(&world).await;
    let verdicts = |report: &DiffReport| -> Vec<(String, DiffVerdict)> {
        report.tables.iter().map(|table| (table.table.name.clone(), table.verdict)).collect()
    };
    let expected = [
        ("dropped", DiffVerdict::OnlyInA),
        ("made", DiffVerdict::OnlyInB),
        ("new", DiffVerdict::OnlyInB),
        ("old", DiffVerdict::OnlyInA),
        ("stays", DiffVerdict::Equal),
    ]
    .map(|(name, verdict)| (name.to_owned(), verdict));
    let report = diff_of(&world, &a, &b).await;
    assert_eq!(verdicts(&report), expected);
    assert_eq!(table(&report, "old").same_rows, Some(TableName::new("public", "new")));
    assert_eq!(table(&report, "dropped").same_rows, None, "no rows are no sign");
    assert_eq!(report.pieces_read, 0);
    assert_eq!(verdicts(&diff_live(&world, &a).await), expected);

    let mut request = DiffRequest::new(named(&a), DiffWith::Backup(named(&b)));
    let pattern = |text: &str| vec![barkeep::catalog::Pattern::parse(text).unwrap()];
    request.selection.tables = pattern("made");
    assert_eq!(verdicts(&try_diff(&world, &request).await.unwrap()), expected[1..2]);
    request.selection.tables = pattern("maid");
    let failed = try_diff(&world, &request).await.unwrap_err();
    assert_eq!((failed.exit_code(), words(&failed).contains("maid")), (2, true));
}

/// Every piece of a table of a backup, overwritten.
fn spoil(world: &World, id: &BackupId, name: &str) {
    let manifest = world.vault.manifest(id).unwrap().manifest;
    let table = manifest.table(&TableName::new("public", name)).unwrap();
    for piece in manifest.pieces(table) {
        let place = world.vault.root().join(&piece.path);
        // Not in place: an earlier backup may share the file.
        std::fs::remove_file(&place).unwrap();
        std::fs::write(&place, b"spoilt").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_differs_is_opened() {
    let world = World::with(
        "CREATE TABLE bars (id int, day date, price int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
         CREATE TABLE jan PARTITION OF bars FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
         CREATE TABLE feb PARTITION OF bars FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
         CREATE TABLE mar PARTITION OF bars FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
         INSERT INTO bars SELECT i, '2026-01-01'::date + i % 90, i FROM generate_series(1, 9000) i",
    )
    .await;
    let a = dumped(&world).await;
    world.run("UPDATE bars SET price = -1 WHERE id = 40").await;
    let b = dumped(&world).await;
    for id in [&a, &b] {
        spoil(&world, id, "jan");
        spoil(&world, id, "mar");
    }
    let report = diff_of(&world, &a, &b).await;
    assert_eq!((report.pieces_read, report.pieces), (2, 6));
    assert_eq!(lines(table(&report, "feb")), ["- 40|2026-02-10|40 [price]", "+ 40|2026-02-10|-1 [price]"]);
    assert_eq!(table(&report, "jan").verdict, DiffVerdict::Equal);
    assert!(!diff_live(&world, &a).await.is_equal());
    // The negative control: a piece that differs is opened, and checked before a row of it is believed.
    spoil(&world, &b, "feb");
    let request = DiffRequest::new(named(&a), DiffWith::Backup(named(&b)));
    assert_eq!(try_diff(&world, &request).await.unwrap_err().exit_code(), 40);
    // By digests alone nothing is opened.
    let request = DiffRequest { summary: true, ..request };
    let summary = try_diff(&world, &request).await.unwrap();
    assert_eq!(
        (table(&summary, "feb").verdict, table(&summary, "feb").counts),
        (DiffVerdict::Different, None)
    );
    assert_eq!((summary.pieces_read, table(&summary, "mar").verdict), (0, DiffVerdict::Equal));
}

#[tokio::test(flavor = "multi_thread")]
async fn hash_partitions_are_one_table_of_which_the_leaf_that_differs_is_read() {
    let world = World::with(
        "CREATE TABLE h (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
         CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 3, REMAINDER 0);
         CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 3, REMAINDER 1);
         CREATE TABLE h2 PARTITION OF h FOR VALUES WITH (MODULUS 3, REMAINDER 2);
         INSERT INTO h SELECT i, 'v' || i FROM generate_series(1, 300) i",
    )
    .await;
    let a = dumped(&world).await;
    world.run("UPDATE h SET v = 'other' WHERE id = 33").await;
    let b = dumped(&world).await;
    let report = diff_of(&world, &a, &b).await;
    let whole = table(&report, "h");
    assert_eq!(lines(whole), ["- 33|v33 [v]", "+ 33|other [v]"]);
    assert_eq!((report.pieces_read, whole.units.len()), (2, 1), "{:?}", whole.units);
    assert_eq!(lines(table(&diff_live(&world, &a).await, "h")), lines(whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_rows_of_a_million_are_found_in_little_memory() {
    const MIB: u64 = 1 << 20;
    let world = World::with(
        "CREATE TABLE big (id int PRIMARY KEY, note text, price numeric(18,6));
         INSERT INTO big SELECT i, md5(i::text), i * 0.01 FROM generate_series(1, 1000000) i",
    )
    .await;
    let a = dumped(&world).await;
    world.run("UPDATE big SET price = price + 0.000001 WHERE id IN (1, 500000, 1000000)").await;
    let b = dumped(&world).await;
    let report = diff_of(&world, &a, &b).await;
    let big = table(&report, "big");
    assert_eq!(big.counts, counts(0, 0, 3));
    let keys: Vec<String> =
        big.rows.iter().map(|row| row.a.as_ref().unwrap()[0].1.clone().unwrap()).collect();
    assert_eq!(keys, ["1", "500000", "1000000"]);
    assert_eq!(big.rows[1].b.as_ref().unwrap()[2].1.as_deref(), Some("5000.000001"));
    // The rows are 67 MB, and there are two of each.
    let most = peak_ending_with(&world, &["diff", a.as_str(), b.as_str()], 3);
    assert!(most < 100 * MIB, "{} MiB", most / MIB);
    // Every row is another one: the counts stay right, or say that they are not, in bounded memory.
    world.run("UPDATE big SET note = 'x'").await;
    let c = dumped(&world).await;
    let report = diff_of(&world, &a, &c).await;
    let Some(Counts { added, removed, changed, exact }) = table(&report, "big").counts else {
        panic!("rows were read")
    };
    assert!(added + removed == 0 && changed > 100_000 && changed <= 1_000_000, "{changed}");
    assert_eq!(exact, changed == 1_000_000);
    assert_eq!(table(&report, "big").rows.len(), 10);
    let most = peak_ending_with(&world, &["diff", a.as_str(), c.as_str()], 3);
    assert!(most < 200 * MIB, "{} MiB", most / MIB);
}

fn barkeep(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
    command.arg("--vault").arg(world.vault.root()).args(["--progress", "none"]).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_pairs_and_ends_with_0_or_3() {
    let world = World::with(ORDERS).await;
    let a = dumped(&world).await;
    let (id, source) = (a.as_str(), uri(&world.source()));
    assert_eq!(barkeep(&world, &["diff", id, id]).status.code(), Some(0));
    assert_eq!(barkeep(&world, &["diff", id, "--db", &source]).status.code(), Some(0));
    let long = format!("UPDATE orders SET symbol = '{}b' WHERE id = 2", "a".repeat(100));
    world.run(&long).await;
    let before = dumped(&world).await;
    world.run(&long.replace("b'", "c'")).await;
    world.run("DELETE FROM orders WHERE id > 900; UPDATE orders SET price = 1.5 WHERE id = 7").await;
    dumped(&world).await;
    for other in [vec!["latest"], vec![], vec!["--db", &source]] {
        let output = barkeep(&world, &[&["diff", before.as_str(), "--sample", "3"], &other[..]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{text}");
        let head = "DIFFERENT public.orders: 1,004 rows in A, 904 in B; 100 removed, 2 changed\n";
        let (a, b) = (format!("…{}b", "a".repeat(63)), format!("…{}c", "a".repeat(63)));
        let rows = format!(
            "  - id=2 *symbol={a} price=0.5000 at=\"2026-01-01 00:02:00+00\"\n\
             \x20 + id=2 *symbol={b} price=0.5000 at=\"2026-01-01 00:02:00+00\"\n\
             \x20 - id=7 symbol=S0 *price=1.7500 at=\"2026-01-01 00:07:00+00\"\n\
             \x20 + id=7 symbol=S0 *price=1.5000 at=\"2026-01-01 00:07:00+00\"\n\
             \x20 - id=901 symbol=S5 price=225.2500 at=\"2026-01-01 15:01:00+00\"\n\
             \x20 … and 99 more; --sample N shows them\n"
        );
        assert!(text.contains(&format!("{head}{rows}")), "{text}");
        assert!(text.contains("A and B: DIFFERENT (1 of 1 table, "), "{text}");
    }
    let output = barkeep(&world, &["diff", before.as_str(), "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["exit_code"]), (Some(3), &serde_json::json!(3)));
    let report = &document["report"];
    assert_eq!(report["a"]["backup"], before.as_str());
    let table = &report["tables"][0];
    assert_eq!(table["verdict"], "different");
    assert_eq!(table["key"], serde_json::json!(["id"]));
    assert_eq!(
        table["counts"],
        serde_json::json!({ "added": 0, "removed": 100, "changed": 2, "exact": true })
    );
    // The whole value, not what fits on a line.
    assert_eq!(table["rows"][0]["a"][1], serde_json::json!(["symbol", format!("{}b", "a".repeat(100))]));
    assert_eq!(table["rows"][0]["differ"], serde_json::json!(["symbol"]));
    assert_eq!(table["rows"][2]["b"], serde_json::Value::Null);
    assert_eq!(barkeep(&world, &["diff", "20200101"]).status.code(), Some(2));
    assert_eq!(barkeep(&world, &["diff", id, "latest", "--db", &source]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_part_says_so() {
    let world =
        World::with(&format!("{ORDERS}; CREATE TABLE other (id int); INSERT INTO other VALUES (1)")).await;
    let a = dumped(&world).await;
    let part = world
        .dump_with(|request| {
            let pattern = |text| barkeep::catalog::Pattern::parse(text).unwrap();
            request.selection.tables = vec![pattern("orders")];
            request.conditions = vec![(pattern("orders"), "id < 5".to_owned())];
        })
        .await
        .unwrap();
    let report = diff_of(&world, &a, &part.backup.unwrap()).await;
    assert_eq!(report.b.selection.as_deref(), Some("-t orders"));
    assert_eq!(table(&report, "other").verdict, DiffVerdict::OnlyInA);
    let orders = table(&report, "orders");
    assert_eq!(orders.notes, ["A has every row, B only the rows where id < 5"]);
    assert_eq!(orders.counts, counts(0, 996, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hypertable_only_the_chunk_that_differs_is_read() {
    use crate::timescale::Timescale;
    let timescale = Timescale::with(
        "CREATE TABLE bars (at timestamptz NOT NULL, symbol text, price numeric, PRIMARY KEY (at, symbol));
         SELECT create_hypertable('bars', 'at', chunk_time_interval => interval '1 day');
         INSERT INTO bars SELECT '2026-01-01Z'::timestamptz + i * interval '1 hour', 'BTC', i FROM generate_series(0, 99) i",
    )
    .await;
    let world = &timescale.world;
    let a = dumped(world).await;
    world.run("UPDATE bars SET price = 0.5 WHERE price = 30").await;
    let b = dumped(world).await;
    let expected = ["- 2026-01-02 06:00:00+00|BTC|30 [price]", "+ 2026-01-02 06:00:00+00|BTC|0.5 [price]"];
    let report = diff_of(world, &a, &b).await;
    let bars = table(&report, "bars");
    assert_eq!(lines(bars), expected);
    let unit = UnitDiff { unit: "chunk 2026-01-02 to 2026-01-03".to_owned(), a: Some(24), b: Some(24) };
    assert_eq!((report.pieces_read, report.pieces, &bars.units[..]), (2, 10, &[unit][..]));
    assert_eq!(lines(table(&diff_live(world, &a).await, "bars")), expected);
    assert!(diff_live(world, &b).await.is_equal());
}

//! The main job: out, verified, back, compared, and the schema by pg_dump's own account.

use barkeep::ops::compare::{Side, TableVerdict};
use barkeep::ops::verify::Level;

use crate::bench_world::{World, assert_same_schema, assert_same_schema_by, fixture, run, value};

/// Dump, verify to the rows, restore into a new database, compare every row.
async fn data_round_trip(world: &World) {
    world.dump().await;
    let verified = world.verify(Level::Decode).await;
    assert_eq!(verified.findings, vec![], "verify --level decode");
    assert_eq!(verified.extra, Vec::<String>::new());
    let target = world.copy("copy");
    let restored = world.restore(target.clone()).await;
    assert!(restored.violations.is_empty(), "{:?}", restored.violations);
    let compared = world.compare(target.clone()).await;
    for table in &compared.tables {
        let shown: Vec<_> = table.differences.iter().take(4).collect();
        assert_eq!(table.verdict, TableVerdict::Equal, "{}: {shown:#?}", table.table);
    }
    assert_eq!(compared.sequences, Vec::<String>::new());
}

/// The same, and the schema by pg_dump's own account.
async fn round_trip(world: &World) {
    data_round_trip(world).await;
    assert_same_schema(&world.source(), &world.copy("copy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tables_go_out_and_come_back() {
    let world = World::with(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
         CREATE TABLE bars (symbol text, ts timestamptz, close numeric(18,6), volume bigint, PRIMARY KEY (symbol, ts));
         INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 1000) i;
         INSERT INTO bars SELECT 'S' || i % 7, '2026-01-05'::timestamptz + i * interval '1 min', i * 0.01, i
           FROM generate_series(1, 20000) i",
    )
    .await;
    round_trip(&world).await;
    // The negative control: one changed row must be found, and be named.
    let target = world.copy("copy");
    run(&target, "UPDATE bars SET close = close + 0.000001 WHERE volume = 4711").await;
    let compared = world.compare(target).await;
    let bars = compared.tables.iter().find(|table| table.table.name == "bars").unwrap();
    assert_eq!(bars.verdict, TableVerdict::Different);
    let shown: Vec<_> =
        bars.differences.iter().map(|row| (row.side, row.columns[2].1.clone().unwrap())).collect();
    assert_eq!(shown, [(Side::OnlyInBackup, "47.110000".into()), (Side::OnlyInDatabase, "47.110001".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_database_goes_out_and_comes_back() {
    let world = World::with(&fixture("demo/schema.sql")).await;
    world.run(&fixture("demo/data.sql")).await;
    round_trip(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_bit_by_bit() {
    let world = World::with(&fixture("sql/types.sql")).await;
    round_trip(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extension_types_come_back_bit_by_bit() {
    let world = World::with(&fixture("sql/extensions.sql")).await;
    round_trip(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nasty_names_and_objects_come_back() {
    let world = World::with(&fixture("sql/names.sql")).await;
    round_trip(&world).await;
    let target = world.copy("copy");
    let objects =
        "SELECT string_agg(oid || ':' || md5(lo_get(oid)), ',' ORDER BY oid) FROM pg_largeobject_metadata";
    assert_eq!(value(&world.source(), objects).await, value(&target, objects).await);
}

const SOURCE: &str = "
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE SCHEMA audit;
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner int REFERENCES users, what side,
    price numeric, at timestamptz, tags text[], twice numeric GENERATED ALWAYS AS (price * 2) STORED);
CREATE TABLE fills (id bigint PRIMARY KEY, orders bigint REFERENCES orders, of bigint REFERENCES fills);
CREATE TABLE audit.log (id serial, line text);
CREATE INDEX log_line ON audit.log (line);
CREATE TABLE named (i regclass, f regproc, t regtype, p path);
CREATE TABLE nothing ();
CREATE TABLE days (d date NOT NULL, v int) PARTITION BY RANGE (d);
CREATE TABLE days_a PARTITION OF days FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE days_b PARTITION OF days FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE hashed (k side, v int) PARTITION BY HASH (k);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 (v int, k side);
ALTER TABLE hashed ATTACH PARTITION hashed_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE MATERIALIZED VIEW per_side AS SELECT what, count(*) AS n FROM orders GROUP BY what;
INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 100) i;
INSERT INTO orders (owner, what, price, at, tags) SELECT 1 + i % 100, (ARRAY['buy', 'sell']::side[])[1 + i % 2],
    CASE i WHEN 7 THEN 'NaN' WHEN 8 THEN 'Infinity' ELSE i / 7.0 END, 'epoch'::timestamptz + i * '1 hour'::interval,
    ARRAY['a', NULL, i::text] FROM generate_series(1, 3000) i;
INSERT INTO fills SELECT i, 1 + i % 3000, 1 + (i * 7) % 2000 FROM generate_series(1, 2000) i;
INSERT INTO audit.log (line) SELECT 'line ' || i FROM generate_series(1, 10) i;
INSERT INTO named VALUES ('audit.log_line', 'now', 'side', '((0,0),(1,1))'), ('users', NULL, 'int4', NULL);
INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
INSERT INTO days SELECT '2020-06-01'::date + i, i FROM generate_series(1, 400) i;
INSERT INTO hashed SELECT (ARRAY['buy', 'sell']::side[])[1 + i % 2], i FROM generate_series(1, 50) i;
REFRESH MATERIALIZED VIEW per_side;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name = 'touched'; RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp();
SELECT lo_from_bytea(70001, decode(repeat('ab', 5000), 'hex'));
";

#[tokio::test(flavor = "multi_thread")]
async fn partitions_references_and_names_of_indexes_come_back() {
    let world = World::with(SOURCE).await;
    round_trip(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_17_in_a_container_goes_out_and_comes_back() {
    let container = crate::container::start().await;
    for fixtures in [["demo/schema.sql", "demo/data.sql"].as_slice(), &["sql/types.sql"], &["sql/names.sql"]]
    {
        let world = World::on(container.settings(), container.pg_dump(), "").await;
        for file in fixtures {
            world.run(&fixture(file)).await;
        }
        data_round_trip(&world).await;
        let pg_dump = container.pg_dump().unwrap_or_else(|| "pg_dump".to_owned());
        assert_same_schema_by(&pg_dump, &world.source(), &world.copy("copy"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_units_reuse_the_pieces_of_the_backup_before() {
    let world = World::with(
        "CREATE TABLE still (id int PRIMARY KEY, v text); INSERT INTO still SELECT i, 'v' || i FROM generate_series(1, 5000) i;
         CREATE TABLE moving (id int PRIMARY KEY); INSERT INTO moving SELECT generate_series(1, 10)",
    )
    .await;
    world.dump().await;
    world.run("INSERT INTO moving VALUES (11)").await;
    let second = world.dump().await;
    let reused = |name: &str| second.tables.iter().find(|table| table.table.name == name).unwrap().reused;
    assert_eq!((reused("still"), reused("moving")), (1, 0));
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_piece_of_the_backup_before_is_not_reused() {
    let world =
        World::with("CREATE TABLE still (id int); INSERT INTO still SELECT generate_series(1, 5000)").await;
    world.dump().await;
    let before = world.vault.manifests().unwrap().remove(0);
    let place = world.vault.place(&before.manifest.head.pieces[0].path);
    let mut bytes = std::fs::read(&place).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&place, bytes).unwrap();
    let second = world.dump().await;
    assert_eq!(second.tables[0].reused, 0);
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_is_a_warning_and_under_strict_no_backup() {
    let world = World::with("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10)").await;
    let slice = |request: &mut barkeep::ops::dump::DumpRequest| {
        request.conditions = vec![(barkeep::catalog::Pattern::parse("t").unwrap(), "id <= 3".to_owned())];
    };
    let strict = |request: &mut barkeep::ops::dump::DumpRequest| {
        slice(request);
        request.strict = true;
    };
    let error = world.dump_with(strict).await.unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.to_string().contains("public.t"), "{error}");
    crate::bench_world::nothing_half_made(&world);
    let report = world.dump_with(slice).await.unwrap();
    assert_eq!((report.rows, report.warnings.len()), (3, 1));
    let snapshot = &world.vault.manifests().unwrap()[0].manifest.body.snapshot;
    assert_eq!((snapshot.timeline.as_deref(), snapshot.lsn.is_some()), (Some("1"), true), "{snapshot:?}");
}

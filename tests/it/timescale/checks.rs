//! The pack `structure` on hypertables, and on PostgreSQL 17, which concludes from NOT NULL that nothing is NULL.

use super::Timescale;
use crate::bench_world::not_run;
use crate::structure::{found, of_backup, of_server, structure};

const BARS: &str = "CREATE TABLE symbols (id int PRIMARY KEY); INSERT INTO symbols VALUES (1), (2);
    CREATE TABLE bars (symbol int REFERENCES symbols, ts timestamptz NOT NULL, px numeric NOT NULL, UNIQUE (symbol, ts), CONSTRAINT px CHECK (px > 0));
    SELECT create_hypertable('bars', 'ts', chunk_time_interval => interval '1 day');
    INSERT INTO bars SELECT 1, ts, 1 FROM generate_series(timestamptz '2026-01-01Z', '2026-01-04Z', '1 hour') ts;
    CREATE TABLE plain (x int NOT NULL); INSERT INTO plain VALUES (1)";

#[tokio::test(flavor = "multi_thread")]
async fn constraints_of_hypertables_hold_of_all_chunks_and_are_asked_once() {
    let timescale = Timescale::with(BARS).await;
    let keys = [
        ("S1", "public.bars bars_symbol_fkey"),
        ("S2", "public.bars (ts, px)"),
        ("S3", "public.bars bars_symbol_ts_key"),
        ("S5", "public.bars px"),
    ];
    let report = structure(timescale.world.source()).await;
    for (id, key) in keys {
        assert!(found(&report, id, key).is_empty(), "{id}");
    }
    assert_eq!(report.checks.iter().filter(|one| one.id == "S1").count(), 1, "not once for each chunk");
    let chunks = report
        .checks
        .iter()
        .filter_map(|one| one.object.as_ref())
        .filter(|name| name.contains("_timescaledb"));
    assert_eq!(chunks.count(), 0);
    timescale.world.dump().await;
    assert_eq!(of_server(&timescale.world.source()).await, of_backup(&timescale.world));
    timescale.world.run("SET session_replication_role = replica; INSERT INTO bars VALUES (9, '2026-01-02 12:30Z', 1), (9, '2026-01-09Z', 1)").await;
    let compressed = timescale.full;
    if compressed {
        timescale.run("ALTER TABLE bars SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol');\nSELECT count(compress_chunk(c)) FROM show_chunks('bars', older_than => timestamptz '2026-01-05Z') c;\n").await;
    }
    if !compressed {
        not_run(
            "constraints_of_hypertables_hold_of_all_chunks_and_are_asked_once: compressed: needs TimescaleDB's full edition (BARKEEP_TEST_IMAGE)",
        );
    }
    let report = structure(timescale.world.source()).await;
    assert_eq!(found(&report, keys[0].0, keys[0].1), ["9", "9"], "compressed: {compressed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_there_are_no_nulls_looks_all_the_same() {
    let timescale = Timescale::with(BARS).await;
    let known = |known| {
        format!(
            "UPDATE pg_attribute SET attnotnull = {known} WHERE attrelid = 'plain'::regclass AND attname = 'x'"
        )
    };
    timescale.run(&format!("{};\nINSERT INTO plain VALUES (NULL);\n{};\n", known(false), known(true))).await;
    let naive = timescale.value("SELECT count(*) FROM plain WHERE x IS NULL").await;
    assert_eq!(naive.as_deref(), Some("0"), "otherwise this test shows nothing");
    let report = structure(timescale.world.source()).await;
    assert_eq!(found(&report, "S2", "public.plain (x)"), ["x"]);
}

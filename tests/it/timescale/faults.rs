//! What stands in a dump's way: jobs, jobs of other roles, locks that wait for the dump, thousands of chunks, chunks that lie
//! elsewhere, a licence that hides rows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use barkeep::base::{Event, TableName};
use barkeep::ops::OpsError;
use barkeep::ops::verify::Level;
use barkeep::pg::workbench::Workbench;

use super::Timescale;
use crate::bench_world::{nothing_half_made, words};

/// Runs something as soon as the dump has its snapshot, and waits for it.
fn at_data(
    timescale: &Arc<Timescale>,
    work: impl AsyncFn(Arc<Timescale>) + Send + Sync + 'static,
) -> impl Fn(&Event) + Send + Sync + 'static {
    let timescale = timescale.clone();
    move |event| {
        if *event == Event::Phase("data") {
            let timescale = timescale.clone();
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work(timescale)));
        }
    }
}

/// Minutes until each job that touches chunks starts next.
const STARTS: &str = "SELECT job_id, round(extract(epoch FROM next_start - now()) / 60) FROM timescaledb_information.jobs \
     WHERE job_id >= 1000 AND proc_name NOT IN ('policy_refresh_continuous_aggregate', 'policy_reorder') ORDER BY 1";

/// When the one that is far off starts.
const FAR_OFF: &str = "SELECT extract(year FROM next_start) FROM timescaledb_information.jobs WHERE proc_name = 'policy_reorder'";

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_held_while_chunks_are_read_and_let_go_afterwards() {
    let timescale = Arc::new(Timescale::trading().await);
    if timescale.lacks_full("jobs_are_held_while_chunks_are_read_and_let_go_afterwards") {
        return;
    }
    let source = timescale.world.source();
    timescale.run("SELECT alter_job(job_id, next_start => now() + interval '3 minutes') FROM timescaledb_information.jobs WHERE job_id >= 1000 AND proc_name <> 'policy_reorder'").await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let during = seen.clone();
    let hook = at_data(&timescale, async move |timescale| {
        let bench = Workbench::connect(&timescale.world.source()).await.unwrap();
        *during.lock().unwrap() = bench.rows("starts", STARTS).await.unwrap();
        assert_eq!(
            timescale.value(FAR_OFF).await.as_deref(),
            Some("2100"),
            "nor would it start sooner if the dump died"
        );
    });
    let report = timescale.world.dump_hooked(hook, |_| ()).await.unwrap();
    assert_eq!(report.warnings, vec![]);
    let minutes = |rows: &[Vec<Option<String>>]| -> Vec<i64> {
        rows.iter().map(|row| row[1].as_ref().unwrap().parse().unwrap()).collect()
    };
    let during = minutes(&seen.lock().unwrap());
    // A little at a time: if the dump dies, they go on by themselves.
    assert!(during.len() == 3 && during.iter().all(|minutes| (19..=20).contains(minutes)), "{during:?}");
    let bench = Workbench::connect(&source).await.unwrap();
    let after = minutes(&bench.rows("starts", STARTS).await.unwrap());
    assert!(after.iter().all(|minutes| (2..=3).contains(minutes)), "{after:?}");
    assert_eq!(timescale.value(FAR_OFF).await.as_deref(), Some("2100"));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_others_are_named_and_what_they_change_is_late() {
    let timescale = Arc::new(Timescale::trading().await);
    if timescale.lacks_full("jobs_of_others_are_named_and_what_they_change_is_late") {
        return;
    }
    // A retention policy would wait for the lock on md.symbols, and pg_dump behind it: that ends in 75, and is not meant.
    timescale
        .run(
            "CREATE ROLE reader LOGIN;\nGRANT pg_read_all_data TO reader;\n\
             SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'",
        )
        .await;
    let said = Arc::new(Mutex::new(Vec::new()));
    let warnings = said.clone();
    // The job of another role compresses what was plain, right after the snapshot.
    let run_job = at_data(&timescale, async |timescale| {
        let job = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'";
        let job = timescale.value(job).await.unwrap();
        let config = "'{\"hypertable_id\": 1, \"compress_after\": \"1 day\"}'";
        timescale.run(&format!("SELECT alter_job({job}, config => {config});\nCALL run_job({job})")).await;
    });
    let hook = move |event: &Event| {
        run_job(event);
        if let Event::Warning(text) = event {
            warnings.lock().unwrap().push(text.clone());
        }
    };
    let reader = timescale.world.role("reader");
    let report = timescale.world.dump_hooked(hook, |request| request.database = reader).await.unwrap();
    let said = said.lock().unwrap().join("; ");
    assert!(said.contains("policy_compression): another role's"), "{said}");
    let manifest = timescale.manifest();
    let late: Vec<_> = manifest.late().collect();
    assert!(!late.is_empty() && !manifest.body.consistent, "{:?}", report.warnings);
    assert!(late.iter().any(|(table, ..)| table.name == TableName::new("md", "bars")));
    let counted = timescale.value("SELECT count(*) FROM md.bars").await;
    let table = manifest.table(&TableName::new("md", "bars")).unwrap();
    assert_eq!(counted, Some(table.rowset.rows.to_string()), "compressing changed no row");
    assert_eq!(timescale.world.verify(Level::Decode).await.findings, vec![]);
}

/// Dropping a chunk with a foreign key wants a lock on the table referred to, which the dump holds. Where it keeps the
/// chunk's lock while it waits, which the dump wants, no deadlock detector would see it.
#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_waits_for_the_dump_does_not_stop_it() {
    const COUNT: &str = "SELECT count(*) FROM md.bars";
    let timescale = Arc::new(Timescale::trading().await);
    let before = timescale.value(COUNT).await.unwrap();
    let dropping = Arc::new(Mutex::new(None));
    let session = dropping.clone();
    let hook = at_data(&timescale, async move |timescale| {
        let (settings, sql) = (
            timescale.world.source(),
            "SELECT drop_chunks('md.bars', older_than => '2026-01-04 00:00+00'::timestamptz)",
        );
        *session.lock().unwrap() =
            Some(tokio::spawn(async move { crate::bench_world::run(&settings, sql).await }));
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
        for _ in 0..400 {
            if timescale.value(waiting).await.as_deref() == Some("1") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the drop should wait for md.symbols by now");
    });
    let report = timescale.world.dump_hooked(hook, |request| {
        request.data_only = true;
        request.lock_timeout = Duration::from_secs(2);
    });
    let report = report.await.unwrap();
    let session = dropping.lock().unwrap().take().unwrap();
    session.await.unwrap();
    let manifest = timescale.manifest();
    let late: Vec<_> = manifest.late().collect();
    assert!(late.iter().all(|(.., late)| late.gone) && report.warnings.len() == late.len(), "{late:?}");
    let dropped =
        before.parse::<u64>().unwrap() - timescale.value(COUNT).await.unwrap().parse::<u64>().unwrap();
    let rows = manifest.table(&TableName::new("md", "bars")).unwrap().rowset.rows;
    let missing = before.parse::<u64>().unwrap() - rows;
    assert!(dropped > 0, "the drop went on afterwards");
    assert_eq!(missing, if late.is_empty() { 0 } else { dropped });
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_chunks_take_few_locks() {
    let timescale = Arc::new(
        Timescale::with("CREATE TABLE many (seq bigint NOT NULL, x int); SELECT create_hypertable('many', 'seq', chunk_time_interval => 10)").await,
    );
    // In steps: making all of them in one transaction would take more locks than the server has.
    for step in 0..20 {
        let from = step * 2500;
        timescale
            .run(&format!("INSERT INTO many SELECT i, i FROM generate_series({from}, {}, 5) i", from + 2499))
            .await;
    }
    let locks = Arc::new(AtomicU64::new(0));
    let (most, settings) = (locks.clone(), timescale.world.source());
    let watch = tokio::spawn(async move {
        let bench = Workbench::connect(&settings).await.unwrap();
        let sql = "SELECT max(n) FROM (SELECT count(*) AS n FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                   WHERE a.application_name IN ('barkeep dump', 'pg_dump') GROUP BY pid) x";
        loop {
            let now =
                bench.value("locks", sql).await.unwrap().and_then(|text| text.parse().ok()).unwrap_or(0);
            most.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let report = timescale.world.dump().await;
    watch.abort();
    let manifest = timescale.manifest();
    assert_eq!((report.rows, manifest.body.tables[0].units.len()), (10_000, 5000));
    let most = locks.load(Ordering::Relaxed);
    assert!((1..500).contains(&most), "{most} locks of one session at the same time");
}

#[tokio::test(flavor = "multi_thread")]
async fn tiered_chunks_are_refused_by_name_or_left_out_and_said() {
    let timescale = Timescale::with(&crate::bench_world::fixture("sql/timescale.sql")).await;
    if timescale.lacks_full("tiered_chunks_are_refused_by_name_or_left_out_and_said") {
        return;
    }
    let database = timescale.world.database.clone();
    timescale
        .run(&format!(
            "CREATE EXTENSION postgres_fdw;\nCREATE SERVER cold FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname '{database}', host '/var/run/postgresql');\n\
             CREATE USER MAPPING FOR postgres SERVER cold;\nCREATE TABLE cold_rows (seq bigint NOT NULL, px numeric(10, 2) NOT NULL, note text);\n\
             INSERT INTO cold_rows SELECT i, 1, 'cold' FROM generate_series(-9000, -8000) i;\n\
             CREATE FOREIGN TABLE cold_chunk (seq bigint NOT NULL, px numeric(10, 2) NOT NULL, note text) SERVER cold OPTIONS (table_name 'cold_rows');\n\
             SELECT _timescaledb_functions.attach_osm_table_chunk('md.ticks', 'cold_chunk')"
        ))
        .await;
    let error = timescale.world.dump_with(|_| ()).await.unwrap_err();
    assert!(
        error.exit_code() == 22 && words(&error).contains("md.ticks has rows in tiered storage"),
        "{}",
        words(&error)
    );
    nothing_half_made(&timescale.world);
    let report = timescale.world.dump_with(|request| request.skip_tiered = true).await.unwrap();
    assert!(
        report.omitted.iter().any(|text| text.contains("md.ticks") && text.contains("cold_chunk")),
        "{:?}",
        report.omitted
    );
    let rows = timescale.manifest().table(&TableName::new("md", "ticks")).unwrap().rowset.rows;
    assert_eq!(rows, 7000);
    // Whoever does not ask for that table is not bothered.
    let only = vec![barkeep::catalog::Pattern::parse("md.bars").unwrap()];
    timescale.world.dump_with(|request| request.selection.tables = only).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_that_hides_compressed_rows_is_refused() {
    let timescale = Timescale::trading().await;
    if timescale.lacks_full("a_licence_that_hides_compressed_rows_is_refused") {
        return;
    }
    timescale.run("ALTER SYSTEM SET timescaledb.license = 'apache';\nSELECT pg_reload_conf()").await;
    let error = timescale.world.dump_with(|_| ()).await.unwrap_err();
    assert!(
        error.exit_code() == 22 && words(&error).contains("timescaledb.license is apache"),
        "{}",
        words(&error)
    );
    nothing_half_made(&timescale.world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_is_named_with_its_chunk() {
    let timescale = Timescale::with(
        "CREATE TABLE notes (time timestamptz NOT NULL, n int, t text);
         SELECT create_hypertable('notes', 'time', chunk_time_interval => interval '1 day');
         INSERT INTO notes SELECT '2026-01-01'::timestamptz + i * interval '1 minute', i, 'x' FROM generate_series(1, 5000) i;
         UPDATE notes SET t = repeat('y', 2 * 1024 * 1024) WHERE n = 3333",
    )
    .await;
    let place = "SELECT tableoid::regclass || ' with ctid ' || ctid FROM notes WHERE length(t) > 1000";
    let expected = format!("the row of {}", timescale.value(place).await.unwrap());
    let bounded =
        || timescale.world.dump_with(|request| (request.max_row, request.data_only) = (1 << 20, true));
    let Err(OpsError::RowTooLarge { place, .. }) = bounded().await else { panic!("the row is refused") };
    assert_eq!(place.to_string(), expected);
    nothing_half_made(&timescale.world);
    if !timescale.lacks_full("a_row_that_is_too_large_is_named_with_its_chunk: compressed") {
        let compress =
            "ALTER TABLE notes SET (timescaledb.compress); SELECT compress_chunk(show_chunks('notes'))";
        timescale.world.run(compress).await;
        let Err(OpsError::RowTooLarge { place, .. }) = bounded().await else { panic!("the row is refused") };
        // Rows that are compressed have no ctid of their own.
        let chunk = expected.trim_start_matches("the row of ").split(' ').next().unwrap();
        assert!(place.to_string().contains(&format!(" of {chunk} ")), "{place}");
        nothing_half_made(&timescale.world);
    }
    timescale.world.run("UPDATE notes SET t = 'small' WHERE n = 3333").await;
    assert_eq!(bounded().await.unwrap().rows, 5000);
}

//! Random schedules: while a dump runs, other sessions compress, decompress, drop, truncate, merge, insert into and delete
//! from chunks, and run the jobs. Every row of every backup is held against a history of all changes.
//!
//! Each change writes, in its own transaction, what it did into `history`, with its transaction's number. Which rows a
//! snapshot must show is then a question to the server: `pg_visible_in_snapshot`. And one sum, over the hypertable and a
//! plain table that takes what is dropped, is zero in every committed state.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use barkeep::base::{Event, TableName};
use barkeep::catalog::Pattern;
use barkeep::catalog::timescale::Range;
use barkeep::manifest::{Manifest, Snapshot, Table, Unit};
use barkeep::ops::OpsError;
use barkeep::ops::dump::DumpReport;
use barkeep::pg::ConnectionSettings;
use barkeep::pg::workbench::Workbench;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::Timescale;
use crate::bench_world::{World, words};

/// Schedules in all.
const SCHEDULES: usize = 200;
/// Chunks at the start, and positions in each.
const CHUNKS: i64 = 8;
const SPAN: i64 = 1000;

const SCHEMA: &str = "CREATE TABLE moves (seq bigint NOT NULL, pair bigint NOT NULL, amount bigint NOT NULL, filler text);
     SELECT create_hypertable('moves', 'seq', chunk_time_interval => 1000);
     CREATE TABLE gone (amount bigint NOT NULL);
     CREATE TABLE history (xid xid8 NOT NULL, sign int NOT NULL, seq bigint NOT NULL, pair bigint NOT NULL, amount bigint NOT NULL);
     CREATE TABLE clock (now bigint NOT NULL);
     INSERT INTO clock VALUES (0);
     CREATE FUNCTION clock_now() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT now FROM public.clock $$;
     SELECT set_integer_now_func('moves', 'clock_now');
     CREATE SEQUENCE pairs;
     CREATE FUNCTION move(a bigint, b bigint, x bigint) RETURNS void LANGUAGE sql AS $$
         WITH p AS (SELECT nextval('public.pairs') AS pair),
         m AS (INSERT INTO public.moves SELECT v.seq, p.pair, v.amount, repeat(v.seq::text, 9) FROM p, (VALUES (a, x), (b, -x)) v(seq, amount) RETURNING *)
         INSERT INTO public.history SELECT pg_current_xact_id(), 1, seq, pair, amount FROM m $$;
     CREATE FUNCTION forget(low bigint, high bigint) RETURNS void LANGUAGE sql AS $$
         WITH h AS (INSERT INTO public.history SELECT pg_current_xact_id(), -1, seq, pair, amount FROM public.moves WHERE seq >= low AND seq < high RETURNING amount)
         INSERT INTO public.gone SELECT coalesce(sum(amount), 0) FROM h $$;
     CREATE FUNCTION keep(low bigint, high bigint) RETURNS void LANGUAGE sql AS $$
         WITH h AS (INSERT INTO public.history SELECT pg_current_xact_id(), 1, seq, pair, amount FROM public.moves WHERE seq >= low AND seq < high RETURNING amount)
         INSERT INTO public.gone SELECT -coalesce(sum(amount), 0) FROM h $$;";

/// The retention policy runs only when a schedule says so: run by the server, it would drop what no history knows of.
const FULL: &str = "ALTER TABLE moves SET (timescaledb.compress, timescaledb.compress_segmentby = 'pair', timescaledb.compress_orderby = 'seq');
     CREATE MATERIALIZED VIEW by_hundred WITH (timescaledb.continuous) AS SELECT time_bucket(100::bigint, seq) AS bucket, sum(amount) AS amount, count(*) AS n FROM moves GROUP BY 1 WITH NO DATA;
     SELECT add_compression_policy('moves', compress_after => 3000::bigint);
     SELECT add_retention_policy('moves', drop_after => 1000000::bigint);
     SELECT add_continuous_aggregate_policy('by_hundred', start_offset => NULL, end_offset => 100::bigint, schedule_interval => interval '1 day');
     SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'";

/// What another session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Insert,
    Delete,
    Drop,
    Truncate,
    Compress,
    Decompress,
    CompressAll,
    Merge,
    RunCompression,
    RunRetention,
    RunRefresh,
}

use Change::*;

const ANY: [Change; 6] = [Insert, Insert, Insert, Delete, Drop, Truncate];
const FULL_EDITION: [Change; 15] = [
    Insert,
    Insert,
    Delete,
    Delete,
    Drop,
    Truncate,
    Compress,
    Compress,
    Decompress,
    Decompress,
    CompressAll,
    Merge,
    RunCompression,
    RunRetention,
    RunRefresh,
];

/// A chunk as the catalog shows it now.
struct Place {
    name: String,
    range: Range,
}

/// A session that changes things.
struct Vandal {
    bench: Workbench,
    random: StdRng,
    /// Jobs by the name of their procedure; none where the edition has none.
    jobs: BTreeMap<String, String>,
}

impl Vandal {
    async fn new(settings: &ConnectionSettings, seed: u64) -> Self {
        let bench = Workbench::connect(settings).await.unwrap();
        // A lock that only the end of the dump frees must not make it wait for us, and us for it.
        bench.run("patience", "SET lock_timeout = '2s'").await.unwrap();
        let sql = "SELECT proc_name, job_id FROM timescaledb_information.jobs WHERE job_id >= 1000";
        let jobs = bench.rows("jobs", sql).await.unwrap();
        let jobs = jobs.into_iter().map(|mut row| (row[0].take().unwrap(), row[1].take().unwrap()));
        Self { bench, random: StdRng::seed_from_u64(seed), jobs: jobs.collect() }
    }

    async fn places(&self) -> Vec<Place> {
        let sql = "SELECT format('%I.%I', chunk_schema, chunk_name), range_start_integer, range_end_integer \
                   FROM timescaledb_information.chunks WHERE hypertable_name = 'moves' ORDER BY 2";
        let rows = self.bench.rows("chunks", sql).await.unwrap();
        let number = |text: &Option<String>| text.as_ref().unwrap().parse().unwrap();
        rows.iter()
            .map(|row| Place {
                name: row[0].clone().unwrap(),
                range: Range { from: number(&row[1]), to: number(&row[2]) },
            })
            .collect()
    }

    fn insert(&mut self) -> String {
        let moves = (0..self.random.random_range(1..6)).map(|_| {
            let mut seq = || self.random.random_range(0..CHUNKS * SPAN);
            format!("SELECT move({}, {}, {});", seq(), seq(), seq())
        });
        moves.collect()
    }

    fn statement(&mut self, change: Change, places: &[Place]) -> Option<String> {
        let at = self.random.random_range(0..places.len().max(1));
        let length = self.random.random_range(1..SPAN);
        if change == Insert {
            return Some(format!("BEGIN; {} COMMIT", self.insert()));
        }
        let (place, first) = (places.get(at)?, places.first()?);
        let (name, range) = (&place.name, place.range);
        let job = |name: &str| self.jobs[name].as_str();
        Some(match change {
            Insert => return None,
            Delete => {
                let part = Range { from: range.from, to: range.from + length };
                let delete = format!("DELETE FROM moves WHERE seq >= {} AND seq < {}", part.from, part.to);
                recorded(name, "SHARE ROW EXCLUSIVE", part, &delete)
            }
            Truncate => recorded(name, "ACCESS EXCLUSIVE", range, &format!("TRUNCATE {name}")),
            // Chunks are dropped from below: by position, as retention does.
            Drop => {
                let drop = format!("SELECT drop_chunks('moves', older_than => {}::bigint)", first.range.to);
                recorded(&first.name, "ACCESS EXCLUSIVE", first.range, &drop)
            }
            RunRetention => {
                let (now, job) = (first.range.to + 1_000_000, job("policy_retention"));
                let run = format!("UPDATE clock SET now = {now}; CALL run_job({job})");
                recorded(&first.name, "ACCESS EXCLUSIVE", first.range, &run)
            }
            Compress => format!("SELECT compress_chunk('{name}', true)"),
            Decompress => format!("SELECT decompress_chunk('{name}', true)"),
            CompressAll => "SELECT compress_chunk(c, true) FROM show_chunks('moves') c".to_owned(),
            Merge => format!("CALL merge_chunks('{name}', '{}')", places.get(at + 1)?.name),
            RunCompression => {
                let now = CHUNKS * SPAN;
                format!("UPDATE clock SET now = {now}; CALL run_job({})", job("policy_compression"))
            }
            RunRefresh => format!("CALL run_job({})", job("policy_refresh_continuous_aggregate")),
        })
    }

    /// Does something; false if the server refused it (somebody else was faster, or it makes no sense now).
    async fn change(&mut self) -> (Change, bool) {
        let all: &[Change] = if self.jobs.is_empty() { &ANY } else { &FULL_EDITION };
        let change = all[self.random.random_range(0..all.len())];
        let places = self.places().await;
        let Some(sql) = self.statement(change, &places) else { return (change, false) };
        let mut done = true;
        for sql in sql.split("; ").filter(|sql| !sql.is_empty()) {
            if self.bench.run("a change", sql).await.is_err() {
                let _ = self.bench.run("giving up", "ROLLBACK").await;
                done = false;
                break;
            }
        }
        (change, done)
    }
}

/// A change that takes rows away, and the history of it: all rows of the range are forgotten, and those that are still
/// there afterwards are kept. (TRUNCATE of a chunk, for one, leaves its compressed rows in some versions.)
fn recorded(chunk: &str, lock: &str, range: Range, change: &str) -> String {
    let Range { from, to } = range;
    format!(
        "BEGIN; LOCK TABLE {chunk} IN {lock} MODE; SELECT forget({from}, {to}); {change}; SELECT keep({from}, {to}); COMMIT"
    )
}

/// The rows that a snapshot shows in a range, by the history: (seq, pair, amount).
async fn expected(bench: &Workbench, snapshot: &Snapshot, range: Range) -> Vec<(i64, i64, i64)> {
    let sql = format!(
        "SELECT seq, pair, amount FROM history WHERE pg_visible_in_snapshot(xid, '{}') AND seq >= {} AND seq < {} \
         GROUP BY 1, 2, 3 HAVING sum(sign) = 1 ORDER BY 1, 2",
        snapshot.xids, range.from, range.to
    );
    let number = |text: &Option<String>| text.as_ref().unwrap().parse().unwrap();
    let rows = bench.rows("the history", &sql).await.unwrap();
    rows.iter().map(|row| (number(&row[0]), number(&row[1]), number(&row[2]))).collect()
}

/// The rows of a unit out of its files.
fn stored(world: &World, manifest: &Manifest, unit: &Unit) -> Vec<(i64, i64, i64)> {
    let mut rows = Vec::new();
    for piece in unit.pieces.iter().map(|index| &manifest.head.pieces[*index]) {
        let file = std::fs::File::open(world.vault.place(&piece.path)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        for batch in reader.map(Result::unwrap) {
            let column = |name: &str| {
                batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
            };
            let columns = (column("seq"), column("pair"), column("amount"));
            rows.extend((0..batch.num_rows()).map(|i| (columns.0[i], columns.1[i], columns.2[i])));
        }
    }
    rows.sort_unstable();
    rows
}

fn sum_of_gone(world: &World, manifest: &Manifest) -> i64 {
    let table = manifest.table(&TableName::new("public", "gone")).unwrap();
    let mut sum = 0;
    for piece in manifest.pieces(table) {
        let file = std::fs::File::open(world.vault.place(&piece.path)).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            sum += batch.unwrap().column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
        }
    }
    sum
}

fn range_of(unit: &Unit) -> Range {
    unit.chunk.as_ref().unwrap().chunk.ranges["seq"]
}

/// Every row of a backup against the history, and the sum where it says that it is consistent.
async fn check(world: &World, bench: &Workbench, manifest: &Manifest, note: &str) {
    let table: &Table = manifest.table(&TableName::new("public", "moves")).unwrap();
    let (mut all, mut late_ranges) = (Vec::new(), Vec::new());
    for unit in &table.units {
        let chunk = unit.chunk.as_ref().unwrap();
        let snapshot = chunk.late.as_ref().map_or(&manifest.body.snapshot, |late| &late.snapshot);
        let rows = stored(world, manifest, unit);
        let wanted = expected(bench, snapshot, range_of(unit)).await;
        assert!(rows == wanted, "{note}: {:?}: {} rows, {} by the history", chunk, rows.len(), wanted.len());
        if chunk.late.is_some() {
            late_ranges.push(range_of(unit));
        }
        all.extend(rows);
    }
    // No chunk is missing: what the snapshot shows outside of late ranges is all there.
    let everything = expected(bench, &manifest.body.snapshot, Range { from: i64::MIN, to: i64::MAX }).await;
    let on_time = |seq: i64| !late_ranges.iter().any(|range| range.from <= seq && seq < range.to);
    let count = |rows: &[(i64, i64, i64)]| rows.iter().filter(|row| on_time(row.0)).count();
    assert_eq!(count(&all), count(&everything), "{note}: rows outside of late ranges");
    assert_eq!(manifest.body.consistent, late_ranges.is_empty(), "{note}");
    if manifest.body.consistent {
        let sum: i64 = all.iter().map(|row| row.2).sum();
        assert_eq!(sum + sum_of_gone(world, manifest), 0, "{note}: the sum of one state of the database");
    }
}

/// What happened in all schedules.
#[derive(Default)]
struct Tally {
    consistent: usize,
    late: usize,
    refused: usize,
    changes: BTreeMap<String, usize>,
    /// Those of the schedule that runs.
    last: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_changes_of_chunks_never_make_a_backup_lie() {
    let seed: u64 = std::env::var("BARKEEP_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    eprintln!("again with BARKEEP_TEST_SEED={seed}");
    let timescale = Arc::new(Timescale::with(SCHEMA).await);
    if timescale.full {
        timescale.run(FULL).await;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Workbench::connect(&timescale.world.source()).await.unwrap();
    let tally = Arc::new(Mutex::new(Tally::default()));
    for schedule in 0..SCHEDULES {
        let seed: u64 = random.random();
        fill(&bench).await;
        tally.lock().unwrap().last.clear();
        one(&timescale, &bench, seed, &tally, &format!("schedule {schedule}, seed {seed}")).await;
    }
    let tally = tally.lock().unwrap();
    eprintln!(
        "{} consistent, {} with late chunks, {} refused; {:?}",
        tally.consistent, tally.late, tally.refused, tally.changes
    );
    assert!(tally.consistent * 2 > SCHEDULES, "most runs end consistent");
    assert!(tally.late >= SCHEDULES / 20, "some runs meet a real change: {} of {SCHEDULES}", tally.late);
    let kinds: &[Change] = if timescale.full { &FULL_EDITION } else { &ANY };
    for kind in kinds.iter().filter(|kind| **kind != Merge || timescale.version >= vec![2, 18]) {
        assert!(tally.changes.contains_key(&format!("{kind:?}")), "{kind:?} never succeeded");
    }
    assert!(tally.refused * 20 <= SCHEDULES, "hardly any run gives up");
}

/// Brings back what earlier schedules dropped.
async fn fill(bench: &Workbench) {
    let sql = format!(
        "SELECT move(i % {0}, (i * 7919) % {0}, i) FROM generate_series(1, (SELECT greatest(0, 800 - count(*) / 2) FROM moves)) i",
        CHUNKS * SPAN
    );
    bench.rows("filling", &sql).await.unwrap();
}

/// One schedule: a dump, beside it a session that changes things at random times, and sometimes one change at a time
/// when it must hurt: right after the snapshot.
async fn one(
    timescale: &Arc<Timescale>,
    bench: &Workbench,
    seed: u64,
    tally: &Arc<Mutex<Tally>>,
    note: &str,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let (busy, pointed) = (random.random_bool(0.35), random.random_bool(0.2));
    let stop = Arc::new(AtomicBool::new(false));
    let settings = timescale.world.source();
    let side = {
        let (stop, settings, tally) = (stop.clone(), settings.clone(), tally.clone());
        tokio::spawn(async move {
            let mut vandal = Vandal::new(&settings, seed ^ 1).await;
            while busy && !stop.load(Ordering::Relaxed) {
                let pause = vandal.random.random_range(0..300);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                note_change(&tally, vandal.change().await);
            }
        })
    };
    let vandal = Mutex::new(Some(Vandal::new(&settings, seed ^ 2).await));
    let hook = {
        let tally = tally.clone();
        move |event: &Event| {
            if pointed
                && *event == Event::Phase("data")
                && let Some(mut vandal) = vandal.lock().unwrap().take()
            {
                let changed = tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(vandal.change())
                });
                note_change(&tally, changed);
            }
        }
    };
    let lanes = random.random_range(1..4);
    let with_schema = random.random_bool(0.1);
    let result = timescale
        .world
        .dump_hooked(hook, |request| {
            request.jobs = lanes;
            request.data_only = !with_schema;
            request.lock_timeout = Duration::from_secs(10);
            request.selection.exclude_tables = vec![Pattern::parse("public.history").unwrap()];
        })
        .await;
    stop.store(true, Ordering::Relaxed);
    side.await.unwrap();
    let changes = std::mem::take(&mut tally.lock().unwrap().last);
    history_is_right(bench, note, &changes).await;
    judge(timescale, bench, result, tally, note).await;
}

/// What became of one schedule's dump.
async fn judge(
    timescale: &Timescale,
    bench: &Workbench,
    result: Result<DumpReport, OpsError>,
    tally: &Mutex<Tally>,
    note: &str,
) {
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            assert!(matches!(error.exit_code(), 21 | 75), "{note}: {}", words(&error));
            eprintln!("{note}: {}", words(&error));
            tally.lock().unwrap().refused += 1;
            return;
        }
    };
    let manifest = timescale.manifest();
    check(&timescale.world, bench, &manifest, note).await;
    assert_eq!(report.warnings.is_empty(), manifest.body.consistent, "{note}");
    let mut tally = tally.lock().unwrap();
    if manifest.body.consistent {
        tally.consistent += 1;
    } else {
        tally.late += 1;
    }
    // Reading hundreds of manifests at each dump would be all that is measured here.
    let backups = timescale.world.vault.root().join("backups");
    std::fs::remove_dir_all(&backups).unwrap();
    std::fs::create_dir(backups).unwrap();
}

/// The history itself against the table, now that nobody changes it.
async fn history_is_right(bench: &Workbench, note: &str, changes: &[String]) {
    let sql = "SELECT (SELECT count(*) FROM moves), (SELECT coalesce(sum(sign), 0) FROM history)";
    let row = bench.rows("the history", sql).await.unwrap().remove(0);
    assert_eq!(row[0], row[1], "{note}: rows, and rows by the history; {changes:?}");
}

fn note_change(tally: &Mutex<Tally>, (change, done): (Change, bool)) {
    let key = format!("{change:?}{}", if done { "" } else { " refused" });
    let mut tally = tally.lock().unwrap();
    tally.last.push(key.clone());
    *tally.changes.entry(key).or_default() += 1;
}

//! Other sessions change the tables while they are dumped: every backup is one state of the database, or there is none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use barkeep::base::Event;
use barkeep::ops::verify::Level;

use crate::bench_world::{World, nothing_half_made, run, value, words};

const TABLES: &str = "CREATE TABLE kept (id bigint PRIMARY KEY, filler text);
     CREATE TABLE truncated (id bigint PRIMARY KEY, filler text);
     CREATE TABLE altered (id bigint PRIMARY KEY, filler text);
     CREATE TABLE dropped (id bigint PRIMARY KEY, filler text);
     INSERT INTO kept SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
     INSERT INTO truncated SELECT i, md5(i::text) FROM generate_series(1, 5000) i;
     INSERT INTO altered SELECT i, md5(i::text) FROM generate_series(1, 5000) i;
     INSERT INTO dropped SELECT i, md5(i::text) FROM generate_series(1, 5000) i";

/// Sessions that try to change a table as soon as the dump holds its locks.
fn queued(world: &World, statements: &[&'static str]) -> Vec<tokio::task::JoinHandle<()>> {
    let settings = world.source();
    statements
        .iter()
        .map(|sql| {
            let (settings, sql) = (settings.clone(), *sql);
            tokio::spawn(async move { run(&settings, sql).await })
        })
        .collect()
}

/// Waits, inside a progress callback, until that many sessions of this database wait for a lock.
pub(crate) fn until_waiting(world: &World, count: usize) {
    let settings = world.source();
    let question = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
        world.database
    );
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            for _ in 0..1200 {
                if value(&settings, &question).await == Some(count.to_string()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            panic!("{count} sessions should wait by now");
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_queued_behind_the_locks_wait_and_the_dump_has_every_row() {
    let world = Arc::new(World::with(TABLES).await);
    let statements = [
        "TRUNCATE truncated",
        "ALTER TABLE altered ALTER filler TYPE varchar(64), ADD late int DEFAULT 7",
        "DROP TABLE dropped",
    ];
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let (hooked, sessions) = (world.clone(), waiting.clone());
    let report = world
        .dump_hooked(
            move |event| {
                if *event == Event::Phase("data") {
                    *sessions.lock().unwrap() = queued(&hooked, &statements);
                    until_waiting(&hooked, statements.len());
                }
            },
            |request| request.data_only = true,
        )
        .await
        .unwrap();
    assert_eq!(
        report.rows, 35_000,
        "as of the snapshot, although a lane cannot lock what an ALTER waits for"
    );
    let sessions = std::mem::take(&mut *waiting.lock().unwrap());
    assert_eq!(sessions.len(), 3);
    for session in sessions {
        session.await.unwrap();
    }
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    let after = world.dump().await;
    assert_eq!((after.rows, after.tables.len()), (25_000, 3), "the changes went through afterwards");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alter_in_front_of_pg_dump_ends_the_run_in_time_and_is_named() {
    let world = Arc::new(World::with(TABLES).await);
    let (hooked, waiting) = (world.clone(), Arc::new(Mutex::new(Vec::new())));
    let said = Arc::new(Mutex::new(Vec::new()));
    let (sessions, warnings) = (waiting.clone(), said.clone());
    let error = world
        .dump_hooked(
            move |event| match event {
                Event::Phase("data") => {
                    *sessions.lock().unwrap() = queued(&hooked, &["ALTER TABLE altered ADD late int"]);
                    until_waiting(&hooked, 1);
                }
                Event::Warning(text) => warnings.lock().unwrap().push(text.clone()),
                _ => {}
            },
            |request| {
                request.lock_timeout = Duration::from_secs(4);
                request.name_waiters_after = Duration::from_secs(1);
            },
        )
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), 75, "{}", words(&error));
    assert!(words(&error).contains("pg_dump"), "{}", words(&error));
    let said = said.lock().unwrap().join("; ");
    assert!(said.contains("AccessExclusiveLock on public.altered"), "who waits for us is named: {said}");
    nothing_half_made(&world);
    let sessions = std::mem::take(&mut *waiting.lock().unwrap());
    for session in sessions {
        session.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_cannot_be_had_names_its_holder() {
    let world = World::with(TABLES).await;
    let holder = barkeep::pg::workbench::Workbench::connect(&world.source()).await.unwrap();
    holder.run("holding", "BEGIN; LOCK TABLE altered").await.unwrap();
    let error =
        world.dump_with(|request| request.lock_timeout = Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.exit_code(), 75, "{}", words(&error));
    assert!(words(&error).contains("held: public.altered (pid "), "{}", words(&error));
    nothing_half_made(&world);
    holder.run("letting go", "COMMIT").await.unwrap();
    assert_eq!(world.dump().await.rows, 35_000);
}

/// Each leaves the table with exactly 1000 rows whose ids sum to 500500, in a new file or under a new OID.
const CHURN: [&str; 4] = [
    "BEGIN; TRUNCATE churned; INSERT INTO churned SELECT i, now()::text FROM generate_series(1, 1000) i; COMMIT",
    "BEGIN; ALTER TABLE churned ALTER what TYPE varchar(80); ALTER TABLE churned ALTER what TYPE text; COMMIT",
    "BEGIN; DROP TABLE churned; CREATE TABLE churned (id bigint PRIMARY KEY, what text);
     INSERT INTO churned SELECT i, 'new' FROM generate_series(1, 1000) i; COMMIT",
    "BEGIN; DELETE FROM churned; INSERT INTO churned SELECT i, 'again' FROM generate_series(1, 1000) i; COMMIT",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_truncated_altered_and_dropped_all_the_time_is_whole_or_refused() {
    let world = World::with(
        "CREATE TABLE churned (id bigint PRIMARY KEY, what text);
         INSERT INTO churned SELECT i, 'first' FROM generate_series(1, 1000) i",
    )
    .await;
    let rounds = Arc::new(AtomicUsize::new(0));
    let (settings, counted) = (world.source(), rounds.clone());
    let churn = tokio::spawn(async move {
        loop {
            let round = counted.fetch_add(1, Ordering::Relaxed);
            run(&settings, CHURN[round % CHURN.len()]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (mut whole, mut refused) = (0, 0);
    while whole + refused < 25 || rounds.load(Ordering::Relaxed) < 100 {
        match world.dump_with(|request| request.data_only = true).await {
            Ok(report) => {
                assert_eq!(report.rows, 1000, "a state that never was committed");
                whole += 1;
            }
            Err(error) => {
                assert!(matches!(error.exit_code(), 21 | 75), "{}", words(&error));
                refused += 1;
            }
        }
        assert!(!churn.is_finished(), "the other session must go on");
    }
    churn.abort();
    eprintln!("{} changes, {whole} dumps whole, {refused} refused", rounds.load(Ordering::Relaxed));
    assert!(whole >= 5, "{whole} whole, {refused} refused");
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
}

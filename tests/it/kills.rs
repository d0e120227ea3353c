//! Killed at any moment: no backup that looks whole and is not, no session and no lock left, and the next run succeeds.
//!
//! Every phase is met by name: the run tells its phases (`--progress json`), and the kill comes a random little while after
//! the wanted one began. On top of that come kills at random times, which know nothing of phases. Half of each are
//! SIGKILL, after which nobody can clean up, half SIGTERM.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use barkeep::base::RowsetDigest;
use barkeep::ops::verify::Level;
use barkeep::pg::ConnectionSettings;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_postgres::NoTls;

use crate::bench_world::{World, assert_same_schema, run, uri, value};

/// A little of everything that has a step of its own, down to a row that names an index.
const SOURCE: &str = "CREATE TYPE side AS ENUM ('buy', 'sell');
     CREATE TABLE users (id bigint PRIMARY KEY, name text);
     CREATE TABLE orders (id bigint PRIMARY KEY, owner bigint REFERENCES users, what side, price numeric);
     CREATE INDEX orders_by_owner ON orders (owner); CREATE VIEW v AS SELECT * FROM orders;
     CREATE SEQUENCE s START 7; CREATE TABLE notes (about regclass);
     CREATE MATERIALIZED VIEW m AS SELECT what, count(*) FROM orders GROUP BY 1;
     INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 2000) i;
     INSERT INTO orders SELECT i, 1 + i % 2000, 'buy', i * 0.25 FROM generate_series(1, 20000) i;
     INSERT INTO notes VALUES ('orders_by_owner');
     REFRESH MATERIALIZED VIEW m";

const DUMP_PHASES: [&str; 3] = ["survey", "data", "checking"];
const RESTORE_PHASES: [&str; 7] =
    ["preflight", "schema", "data", "indexes", "data that names indexes", "analyze", "compare"];

/// Kills of a dump in each phase, and at random times.
const DUMP_KILLS: (usize, usize) = (26, 26);
/// Kills of a restore in each phase, and at random times.
const RESTORE_KILLS: (usize, usize) = (12, 20);
/// Runs of each that must really have been killed, and not have ended before.
const KILLS: usize = 100;
/// Where looking for more moments ends, met or not.
const ROUNDS: usize = 200;
/// Kills that must have come while the phase was still the last one begun: a lower count would say that it is not met.
const MET: usize = 3;

/// Names the seed where the test fails, whichever assertion it was.
struct Seed(u64);

impl Seed {
    fn take() -> Self {
        let given = std::env::var("BARKEEP_TEST_SEED").ok().and_then(|text| text.parse().ok());
        Self(given.unwrap_or_else(rand::random))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again with BARKEEP_TEST_SEED={}", self.0);
        }
    }
}

/// When the kill comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after this phase has begun.
    In(&'static str, Duration),
    /// So long after the start.
    After(Duration),
}

/// What became of a run that was to be killed.
#[derive(Debug)]
struct Death {
    /// The last phase that it began.
    phase: Option<String>,
    /// It had ended by itself.
    finished: bool,
    /// By SIGKILL.
    hard: bool,
    status: ExitStatus,
    words: String,
}

/// The next kill: each phase in turn, then random times, then whatever is still missing; `None` when all is met.
fn next_moment(
    random: &mut StdRng,
    phases: &[&'static str],
    (each, anywhere): (usize, usize),
    whole: Duration,
    deaths: &[Death],
) -> Option<(Moment, bool)> {
    let round = deaths.len();
    let counts = count(deaths);
    let missing = || phases.iter().find(|phase| counts.get(**phase).copied().unwrap_or(0) < MET);
    let phase = match round {
        _ if round < phases.len() * each => phases.get(round / each),
        _ if round < phases.len() * each + anywhere => None,
        ROUNDS.. => return None,
        _ if missing().is_none() && counts.values().sum::<usize>() >= KILLS => return None,
        _ => missing(),
    };
    // Most phases of so little data are over in a few milliseconds.
    let longest = if random.random_bool(0.5) { 4_000 } else { 60_000 };
    let moment = match phase {
        Some(phase) => Moment::In(phase, Duration::from_micros(random.random_range(0..longest))),
        None => Moment::After(whole.mul_f64(random.random_range(0.0..1.0))),
    };
    Some((moment, round.is_multiple_of(2)))
}

fn barkeep(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
    command.arg("--vault").arg(world.vault.root()).args(["--progress", "json"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Reads what a run tells: its phases as they begin, all its words at the end.
fn listen(child: &mut Child) -> (Receiver<String>, JoinHandle<String>) {
    let (sender, phases) = channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let words = std::thread::spawn(move || {
        let mut words = String::new();
        for line in stderr.split(b'\n') {
            let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
            let event: Option<serde_json::Value> = serde_json::from_str(&line).ok();
            if let Some(phase) = event.as_ref().and_then(|event| event["phase"].as_str())
                && event.as_ref().is_some_and(|event| event["event"] == "phase")
            {
                // Nobody listens after the kill, and the last phase is asked for then.
                let _ = sender.send(phase.to_owned());
            }
            words.push_str(&line);
            words.push('\n');
        }
        words
    });
    (phases, words)
}

/// Lets a run go until the moment, then ends it.
fn kill(mut child: Child, moment: Moment, hard: bool) -> Death {
    let (phases, words) = listen(&mut child);
    let mut last = None;
    match moment {
        Moment::After(delay) => std::thread::sleep(delay),
        Moment::In(wanted, delay) => {
            // The channel closes with the run's end.
            while let Ok(phase) = phases.recv_timeout(Duration::from_secs(60)) {
                let is_wanted = phase == wanted;
                last = Some(phase);
                if is_wanted {
                    std::thread::sleep(delay);
                    break;
                }
            }
        }
    }
    let finished = child.try_wait().unwrap().is_some();
    if !finished && hard {
        child.kill().unwrap();
    } else if !finished {
        Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    }
    let status = child.wait().unwrap();
    let words = words.join().unwrap();
    last = phases.try_iter().last().or(last);
    Death { phase: last, finished, hard, status, words }
}

/// Which phase how often, for the report and for the demand that every one was met.
fn count(deaths: &[Death]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for death in deaths.iter().filter(|death| !death.finished) {
        *counts.entry(death.phase.as_deref().unwrap_or("before the first")).or_insert(0) += 1;
    }
    counts
}

fn every_phase_was_met(deaths: &[Death], phases: &[&str]) {
    let counts = count(deaths);
    for phase in phases {
        let met = counts.get(phase).copied().unwrap_or(0);
        assert!(met >= MET, "{phase} was met {met} times only: {counts:?}");
    }
    let killed: Vec<&Death> = deaths.iter().filter(|death| !death.finished).collect();
    assert!(killed.len() >= KILLS, "only {} runs were still there to be killed: {counts:?}", killed.len());
    let hard = killed.iter().filter(|death| death.hard).count();
    assert!(hard.abs_diff(killed.len() - hard) <= KILLS / 4, "{hard} of {} by SIGKILL", killed.len());
    eprintln!("killed {} times, {hard} by SIGKILL: {counts:?}", killed.len());
}

/// A soft end is told by its exit code: its own, or the signal's where it came before the handler stood.
fn ended_softly(death: &Death) -> bool {
    use std::os::unix::process::ExitStatusExt;
    death.status.code() == Some(143) || death.status.signal() == Some(15)
}

/// Sessions of this test's databases and the locks in them, in words. Other tests use the same server at the same time;
/// the databases have names of their own.
async fn left_behind(world: &World) -> Vec<String> {
    let name = world.database.replace('_', "\\_");
    let ours = format!("(d.datname = '{}' OR d.datname LIKE '{name}\\_%')", world.database);
    let sql = format!(
        "SELECT string_agg(what, E'\\n') FROM (
           SELECT 'session ' || concat_ws(' ', a.datname, a.pid, a.state, a.query) AS what
             FROM pg_stat_activity a JOIN pg_database d ON d.oid = a.datid
            WHERE {ours} AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
           UNION ALL
           SELECT 'lock ' || concat_ws(' ', d.datname, l.locktype, l.relation, l.mode, l.pid)
             FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE {ours} AND l.pid IS DISTINCT FROM pg_backend_pid()
              AND NOT EXISTS (SELECT FROM pg_stat_activity a
                               WHERE a.pid = l.pid AND a.backend_type <> 'client backend')
           UNION ALL
           SELECT 'prepared ' || p.gid FROM pg_prepared_xacts p JOIN pg_database d ON d.datname = p.database
            WHERE {ours}) w"
    );
    let found = value(&world.source(), &sql).await.unwrap_or_default();
    found.lines().map(str::to_owned).collect()
}

async fn nothing_is_left(world: &World) {
    let mut found = Vec::new();
    for _ in 0..100 {
        found = left_behind(world).await;
        if found.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("ten seconds after a run was killed there is still: {found:#?}");
}

/// Folders of dumps that did not end.
fn staged(world: &World) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(world.vault.root().join("staging")).unwrap().map(Result::unwrap);
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect()
}

/// Every folder that looks like a backup is one, to the last byte.
fn backups_are_whole(world: &World) {
    let sealed = world.vault.manifests().unwrap();
    for backup in &sealed {
        for piece in &backup.manifest.head.pieces {
            world.vault.check_digest(&piece.path, piece.bytes, piece.blake3).unwrap();
        }
    }
    let folders = std::fs::read_dir(world.vault.root().join("backups")).unwrap().count();
    assert_eq!(folders, sealed.len(), "a folder under backups/ is no backup");
}

/// What a backup says of its tables' rows.
fn digests(world: &World) -> BTreeMap<String, RowsetDigest> {
    let sealed = world.vault.manifests().unwrap();
    let newest = sealed.iter().max_by_key(|backup| backup.manifest.head.snapshot_time).unwrap();
    let tables = newest.manifest.body.tables.iter();
    tables.map(|table| (table.name.to_string(), table.rowset)).collect()
}

/// A session of the test's own.
async fn session(
    settings: &ConnectionSettings,
) -> (tokio_postgres::Client, tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>) {
    let ConnectionSettings { host, port, user, database, .. } = settings;
    let words = format!("host={host} port={port} user={user} dbname={database}");
    let (client, connection) = tokio_postgres::connect(&words, NoTls).await.unwrap();
    (client, tokio::spawn(connection))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_waits_for_what_a_dead_one_left_and_leaves_a_living_one_alone() {
    let world = World::with("CREATE TABLE a (i int); INSERT INTO a VALUES (1)").await;
    world.dump().await;
    let target = world.copy("copy");
    run(&world.source(), &format!("CREATE DATABASE {}", target.database)).await;
    // The leader's lock and a lane's, each as a session of another process holds it.
    for lock in [
        "pg_advisory_lock(hashtext('barkeep_restore'), 1)",
        "pg_advisory_lock_shared(hashtext('barkeep_restore'), 2)",
    ] {
        let (client, _) = session(&target).await;
        client.batch_execute(&format!("SELECT {lock}")).await.unwrap();
        let output = barkeep(&world, &["restore", "--to", &uri(&target)]).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(11), "{lock}: {words}");
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        assert!(words.contains(&format!("[{pid}]")), "{pid}: {words}");
        assert_eq!(value(&target, "SELECT to_regclass('a')").await, None, "nothing may be touched");
    }
    nothing_is_left(&world).await;
    let (client, _) = session(&target).await;
    client.batch_execute("SELECT pg_advisory_lock(hashtext('barkeep_restore'), 1)").await.unwrap();
    let began = Instant::now();
    let mut child = barkeep(&world, &["restore", "--to", &uri(&target)]).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(child.try_wait().unwrap().is_none(), "it must still be waiting");
    drop(client);
    assert!(child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(world.compare(target).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_or_a_lock_that_stays_is_seen() {
    let world = World::with("CREATE TABLE a (i int)").await;
    nothing_is_left(&world).await;
    let (client, connection) = session(&world.source()).await;
    client.batch_execute("BEGIN; LOCK TABLE a IN ACCESS SHARE MODE").await.unwrap();
    let found = left_behind(&world).await;
    assert!(found.iter().any(|line| line.starts_with("session ")), "{found:?}");
    assert!(found.iter().any(|line| line.contains("AccessShareLock")), "{found:?}");
    drop(client);
    connection.await.unwrap().unwrap();
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_killed_in_every_phase_leaves_nothing_that_looks_whole() {
    let seed = Seed::take();
    let world = World::with(SOURCE).await;
    let mut random = StdRng::seed_from_u64(seed.0);
    let database = uri(&world.source());
    let began = Instant::now();
    assert!(barkeep(&world, &["dump", &database]).status().unwrap().success());
    let whole = began.elapsed();
    let first = digests(&world);
    let mut deaths = Vec::new();
    while let Some((moment, hard)) = next_moment(&mut random, &DUMP_PHASES, DUMP_KILLS, whole, &deaths) {
        let round = deaths.len();
        let before = staged(&world);
        let death = kill(barkeep(&world, &["dump", &database]).spawn().unwrap(), moment, hard);
        if death.finished {
            assert!(death.status.success(), "{moment:?}: {}", death.words);
        } else if !hard && ended_softly(&death) {
            let new: Vec<_> = staged(&world).into_iter().filter(|name| !before.contains(name)).collect();
            assert!(new.is_empty(), "{moment:?}: SIGTERM left {new:?} behind");
        } else if !hard {
            // The last file was written when the signal came.
            assert!(death.status.success(), "{moment:?}: {:?}: {}", death.status, death.words);
        }
        backups_are_whole(&world);
        nothing_is_left(&world).await;
        deaths.push(death);
        if round.is_multiple_of(10) {
            assert!(barkeep(&world, &["dump", &database]).status().unwrap().success(), "{moment:?}");
            assert_eq!(digests(&world), first, "{moment:?}");
            assert_eq!(staged(&world).len(), 0, "{moment:?}: the next run sweeps what dead ones left");
        }
    }
    every_phase_was_met(&deaths, &DUMP_PHASES);
    assert!(barkeep(&world, &["dump", &database]).status().unwrap().success());
    assert_eq!(digests(&world), first);
    assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    assert_eq!(staged(&world).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_killed_in_every_phase_is_resumed_to_the_same_rows() {
    let seed = Seed::take();
    let world = World::with(SOURCE).await;
    world.dump().await;
    let mut random = StdRng::seed_from_u64(seed.0);
    let whole = {
        let target = world.copy("whole");
        run(&world.source(), &format!("CREATE DATABASE {}", target.database)).await;
        let began = Instant::now();
        assert!(barkeep(&world, &["restore", "--to", &uri(&target)]).status().unwrap().success());
        began.elapsed()
    };
    let mut deaths = Vec::new();
    while let Some((moment, hard)) = next_moment(&mut random, &RESTORE_PHASES, RESTORE_KILLS, whole, &deaths)
    {
        let round = deaths.len();
        let target = world.copy(&format!("r{round}"));
        let to = uri(&target);
        run(&world.source(), &format!("CREATE DATABASE {}", target.database)).await;
        let death = kill(barkeep(&world, &["restore", "--to", &to]).spawn().unwrap(), moment, hard);
        if death.finished {
            assert!(death.status.success(), "{moment:?}: {}", death.words);
        } else {
            assert!(hard || ended_softly(&death) || death.status.success(), "{moment:?}: {death:?}");
            let output = barkeep(&world, &["restore", "--to", &to]).output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            // Killed after its last statement, it has done everything: the comparison below tells.
            let was_done = output.status.code() == Some(2) && words.contains("the target is not empty");
            assert!(output.status.success() || was_done, "{moment:?}, {:?}: {words}", death.phase);
        }
        nothing_is_left(&world).await;
        let compared = world.compare(target.clone()).await;
        assert!(compared.is_equal(), "{moment:?}, {:?}: {:?}", death.phase, compared.tables);
        let journal = "SELECT count(*) FROM pg_namespace WHERE nspname = 'barkeep_restore'";
        assert_eq!(value(&target, journal).await.as_deref(), Some("0"), "{moment:?}");
        if round.is_multiple_of(10) {
            assert_same_schema(&world.source(), &target);
        }
        deaths.push(death);
        run(&world.source(), &format!("DROP DATABASE {} WITH (FORCE)", target.database)).await;
    }
    every_phase_was_met(&deaths, &RESTORE_PHASES);
}

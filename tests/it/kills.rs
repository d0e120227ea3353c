//! Killed at any moment: no backup that looks whole and is not, no session and no lock left, and the next run succeeds.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use barkeep::ops::verify::Level;
use barkeep::pg::ConnectionSettings;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::bench_world::{World, assert_same_schema, value};

const SOURCE: &str = "CREATE TYPE side AS ENUM ('buy', 'sell');
     CREATE TABLE users (id bigint PRIMARY KEY, name text);
     CREATE TABLE orders (id bigint PRIMARY KEY, owner bigint REFERENCES users, what side, price numeric);
     CREATE INDEX ON orders (owner); CREATE VIEW v AS SELECT * FROM orders; CREATE SEQUENCE s START 7;
     CREATE MATERIALIZED VIEW m AS SELECT what, count(*) FROM orders GROUP BY 1;
     INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 2000) i;
     INSERT INTO orders SELECT i, 1 + i % 2000, 'buy', i * 0.25 FROM generate_series(1, 20000) i;
     REFRESH MATERIALIZED VIEW m";

/// How many times each of dump and restore is killed.
const KILLS: u32 = 50;

fn seed() -> u64 {
    std::env::var("BARKEEP_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random)
}

fn uri(settings: &ConnectionSettings) -> String {
    format!(
        "postgres://{}@{}:{}/{}",
        settings.user,
        settings.host.replace('/', "%2F"),
        settings.port,
        settings.database
    )
}

fn barkeep(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
    command.arg("--vault").arg(world.vault.root()).args(["--progress", "none"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Lets it run for a while, then ends it: half the time with SIGKILL, half with SIGTERM. True if it had ended by itself.
fn kill_after(mut child: Child, delay: Duration, hard: bool) -> bool {
    std::thread::sleep(delay);
    if child.try_wait().unwrap().is_some() {
        return true;
    }
    if hard {
        child.kill().unwrap();
    } else {
        Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    }
    child.wait().unwrap();
    false
}

async fn no_session_is_left(world: &World) {
    // Other tests use the same server at the same time; this one's databases have names of their own.
    let question = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE '{}%' AND pid <> pg_backend_pid()",
        world.database.replace('_', "\\_")
    );
    for _ in 0..50 {
        if value(&world.source(), &question).await.as_deref() == Some("0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("a session of a killed run is still there after ten seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_killed_at_any_moment_leaves_nothing_that_looks_whole() {
    let world = World::with(SOURCE).await;
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let database = uri(&world.source());
    let began = std::time::Instant::now();
    assert!(barkeep(&world, &["dump", &database]).status().unwrap().success());
    let whole = began.elapsed();
    let mut killed = 0;
    for round in 0..KILLS {
        let delay = whole.mul_f64(random.random_range(0.0..1.1));
        let child = barkeep(&world, &["dump", &database]).spawn().unwrap();
        killed += u32::from(!kill_after(child, delay, round % 2 == 0));
        for sealed in
            world.vault.manifests().unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"))
        {
            for piece in &sealed.manifest.head.pieces {
                world.vault.check_digest(&piece.path, piece.bytes, piece.blake3).unwrap();
            }
        }
    }
    assert!(killed > KILLS / 2, "seed {seed}: only {killed} of {KILLS} runs were still there to be killed");
    no_session_is_left(&world).await;
    assert!(barkeep(&world, &["dump", &database]).status().unwrap().success());
    assert_eq!(world.verify(Level::Decode).await.findings, vec![], "seed {seed}");
    let left = std::fs::read_dir(world.vault.root().join("staging")).unwrap();
    let folders = left.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(folders, 0, "seed {seed}: the next run sweeps what the dead ones left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_killed_at_any_moment_is_resumed_to_the_same_rows() {
    let world = World::with(SOURCE).await;
    world.dump().await;
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut whole = Duration::from_millis(1500);
    let mut killed = 0;
    for round in 0..KILLS {
        let target = world.copy(&format!("r{round}"));
        let to = uri(&target);
        crate::bench_world::run(&world.source(), &format!("CREATE DATABASE {}", target.database)).await;
        let delay = whole.mul_f64(random.random_range(0.0..1.0));
        let child = barkeep(&world, &["restore", "--to", &to, "--no-compare"]).spawn().unwrap();
        let began = std::time::Instant::now();
        let finished = kill_after(child, delay, round % 2 == 0);
        killed += u32::from(!finished);
        if !finished {
            let output = barkeep(&world, &["restore", "--to", &to, "--no-compare"]).output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            // Killed after its last statement and before its exit, it has done everything: the comparison below tells.
            let was_done = output.status.code() == Some(2) && words.contains("the target is not empty");
            assert!(output.status.success() || was_done, "seed {seed}, round {round}, {delay:?}: {words}");
        } else {
            whole = began.elapsed();
        }
        let compared = world.compare(target.clone()).await;
        assert!(compared.is_equal(), "seed {seed}, round {round}, {delay:?}: {:?}", compared.tables);
        if round % 10 == 0 {
            assert_same_schema(&world.source(), &target);
        }
        no_session_is_left(&world).await;
        crate::bench_world::run(&world.source(), &format!("DROP DATABASE {} WITH (FORCE)", target.database))
            .await;
    }
    assert!(killed > KILLS / 2, "seed {seed}: only {killed} of {KILLS} runs were still there to be killed");
}

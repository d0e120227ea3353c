//! How fast rows flow, and how much of them is on the way: `--rate`, a store that stands still, a limit on memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use barkeep::base::Event;

use crate::bench_world::{World, not_run, nothing_half_made, uri, value};
use crate::large::peak;

const MIB: u64 = 1 << 20;

/// A rate that every machine can keep, and an eighth of it on top is noticed.
const RATE: u64 = 8 * MIB;

fn barkeep(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
    command.arg("--vault").arg(world.vault.root()).args(["--progress", "none"]).args(arguments);
    command
}

/// Bytes a second between the first block of rows and the last.
async fn rate_of(world: &World, rate: Option<u64>) -> f64 {
    let seen: Arc<Mutex<Vec<(Instant, u64)>>> = Arc::default();
    let log = Arc::clone(&seen);
    let hook = move |event: &Event| {
        if let Event::Progress { bytes, .. } = event {
            log.lock().unwrap().push((Instant::now(), *bytes));
        }
    };
    let change = |request: &mut barkeep::ops::dump::DumpRequest| {
        (request.rate, request.jobs, request.data_only) = (rate, 2, true);
    };
    world.dump_hooked(hook, change).await.unwrap();
    let seen = seen.lock().unwrap();
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    // What came first was not waited for.
    let bytes: u64 = seen.iter().map(|(_, bytes)| bytes).sum::<u64>() - first.1;
    bytes as f64 / (last.0 - first.0).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_held_by_all_lanes_together() {
    let world = World::with(
        "CREATE TABLE a AS SELECT i, repeat(md5(i::text), 30) AS t FROM generate_series(1, 25000) i;
         CREATE TABLE b AS SELECT i, repeat(md5(i::text), 30) AS t FROM generate_series(1, 25000) i",
    )
    .await;
    let held = rate_of(&world, Some(RATE)).await / RATE as f64;
    assert!((0.95..1.05).contains(&held), "{held} of the rate that was asked for");
    // The negative control: it is the rate that holds it back.
    let free = rate_of(&world, None).await / RATE as f64;
    assert!(free > 1.5, "{free} of the rate without one");
}

/// Lets go when dropped, also by a failed assertion: a thread that stands still would keep the test from ending.
struct Standing(Arc<AtomicBool>);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Waits until the server's COPY has waited for us for two seconds; gives the bytes that it has sent.
async fn sent_when_still(world: &World) -> u64 {
    let sent = "SELECT p.bytes_processed::text FROM pg_stat_progress_copy p JOIN pg_stat_activity a USING (pid) \
         WHERE p.datname = current_database() AND a.wait_event = 'ClientWrite'";
    let (mut last, mut still) = (None, 0);
    let began = Instant::now();
    while still < 20 && began.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = value(&world.source(), sent).await;
        still = if now.is_some() && now == last { still + 1 } else { 0 };
        last = now;
    }
    assert_eq!(still, 20, "the server's COPY waits for the store");
    last.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stands_still_stops_the_server() {
    let rows =
        "CREATE TABLE rows AS SELECT i, repeat(md5(i::text), 10) AS t FROM generate_series(1, 100000) i";
    let world = World::with(rows).await;
    // Whoever stores the rows stands still after the fifth block, as a disk would.
    let taken = Arc::new(AtomicU64::new(0));
    let standing = Standing(Arc::new(AtomicBool::new(true)));
    let (seen, held) = (Arc::clone(&taken), Arc::clone(&standing.0));
    let hook = move |event: &Event| {
        if let Event::Progress { bytes, .. } = event
            && seen.fetch_add(*bytes, Ordering::SeqCst) > MIB
        {
            while held.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    };
    let dump = world.dump_hooked(hook, |request| (request.jobs, request.data_only) = (1, true));
    let watch = async {
        let sent = sent_when_still(&world).await;
        let ahead = sent - taken.load(Ordering::SeqCst);
        // Four blocks of a quarter of a MiB, one read of the tap, and the socket.
        assert!(ahead < 3 * MIB, "{ahead} bytes are on their way");
        assert!(sent < 6 * MIB, "of 33 MB {sent} bytes were sent");
        drop(standing);
    };
    let (report, ()) = tokio::join!(dump, watch);
    assert_eq!(report.unwrap().rows, 100_000);
}

/// One lane's memory by the goal: 64 MiB, and 128 for the lane.
const BOUND: u64 = 192 * MIB;

/// A control group that bounds memory, version 1 or 2; removed when dropped.
struct Bounded(PathBuf);

impl Bounded {
    fn new(bytes: u64) -> Option<Self> {
        let name = format!("barkeep-test-{}-{bytes}", std::process::id());
        for (folder, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group = Self(Path::new(folder).join(&name));
            let made = std::fs::create_dir(&group.0)
                .and_then(|()| std::fs::write(group.0.join(file), bytes.to_string()));
            if made.is_ok() {
                return Some(group);
            }
        }
        None
    }

    /// Whether the command ends well inside, within so many seconds.
    fn runs(&self, command: &Command, seconds: u32) -> bool {
        let mut inside = Command::new("sh");
        // Too little memory may mean to crawl, not to be killed.
        let within = format!("echo $$ > \"$0/cgroup.procs\" && exec timeout -s KILL {seconds} \"$@\"");
        inside.args(["-c", &within]).arg(&self.0);
        inside.arg(command.get_program()).args(command.get_args());
        inside.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_lives_in_its_memory_whatever_the_table() {
    let name = "flow::a_dump_lives_in_its_memory_whatever_the_table";
    let (Some(enough), Some(little)) = (Bounded::new(BOUND), Bounded::new(12 * MIB)) else {
        return not_run(&format!("{name}: needs a control group for memory that this user may make"));
    };
    // As many columns as a table can have, numbers and texts in turn, beside one with many rows.
    let kinds = ["int2", "text"];
    let columns: Vec<String> = (0..1590).map(|column| format!("c{column} {}", kinds[column % 2])).collect();
    let values: Vec<String> =
        (0..1590).map(|column| format!("((i * {column}) % 1000)::{}", kinds[column % 2])).collect();
    let sql = format!(
        "CREATE TABLE bars AS SELECT i, md5(i::text) AS note, (i * 0.01)::numeric(18,6) AS price, i % 97 AS k
             FROM generate_series(1, 2500000) i;
         CREATE TABLE broad ({});
         INSERT INTO broad SELECT {} FROM generate_series(1, 3000) i",
        columns.join(", "),
        values.join(", ")
    );
    let world = World::with(&sql).await;
    let dump = barkeep(&world, &["dump", "--data-only", "-j", "1", &uri(&world.source())]);
    // The negative control comes first: the bound is one.
    assert!(!little.runs(&dump, 20), "no dump lives in 12 MiB");
    nothing_half_made_but_garbage(&world);
    assert!(enough.runs(&dump, 300), "{} MiB are enough", BOUND / MIB);
    assert_eq!(world.vault.backups().unwrap().len(), 1);
    // The goal itself is of the program's own memory, without pages of files.
    let own = peak(&world, &["dump", "--data-only", "-j", "1", &uri(&world.source())]);
    assert!(own <= BOUND, "{} MiB of {}", own / MIB, BOUND / MIB);
}

/// What the kernel kills cannot clean up; but it leaves no backup.
fn nothing_half_made_but_garbage(world: &World) {
    assert_eq!(world.vault.backups().unwrap(), vec![]);
    let staging = world.vault.root().join("staging");
    if staging.exists() {
        std::fs::remove_dir_all(staging).unwrap();
    }
    nothing_half_made(world);
}

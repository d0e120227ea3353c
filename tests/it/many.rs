//! Many small tables: what a run does for each of them is counted, and does not grow with their number.
//!
//! Counted are system calls and processor time, never the clock: a busy machine changes neither much.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use barkeep::base::Event;
use barkeep::ops::verify::Level;

use crate::bench_world::{World, uri, value};

const FEW: u64 = 100;
const MANY: u64 = 500;

/// So many tables with a key, a sequence and a row, half of them leaves of one partitioned table.
async fn world(tables: u64) -> World {
    let world = World::with("CREATE TABLE root (id int, note text) PARTITION BY LIST (id)").await;
    world
        .run(&format!(
            "DO $$ BEGIN FOR i IN 1..{} LOOP
               EXECUTE format('CREATE TABLE t%s (id bigserial PRIMARY KEY, note text)', i);
               EXECUTE format('INSERT INTO t%s (note) VALUES (%L)', i, i);
               EXECUTE format('CREATE TABLE leaf%s PARTITION OF root FOR VALUES IN (%s)', i, i);
             END LOOP; END $$;
             INSERT INTO root SELECT i, 'row ' || i FROM generate_series(1, {}) i",
            tables / 2,
            tables / 2
        ))
        .await;
    world
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs the command and counts some of its system calls.
fn calls(world: &World, arguments: &[&str]) -> BTreeMap<String, u64> {
    let counts = world.folder.path().join("counts");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-c", "-U", "calls,name", "-o"])
        .arg(&counts)
        .args(["-e", "trace=sendto,fsync,rename,mkdir", env!("CARGO_BIN_EXE_barkeep")])
        .args(["--progress", "none", "--vault"])
        .arg(world.vault.root())
        .args(arguments)
        .output()
        .expect("strace runs; `make test` installs it");
    succeeded(output);
    let table = std::fs::read_to_string(&counts).unwrap();
    let line = |line: &str| {
        let (count, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    };
    table.lines().filter_map(line).collect()
}

/// Seconds of processor time that the command takes.
fn cpu(world: &World, arguments: &str) -> f64 {
    let script = format!(
        "TIMEFORMAT='%U %S'; time {} --progress none --vault {} {arguments} > /dev/null",
        env!("CARGO_BIN_EXE_barkeep"),
        world.vault.root().display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    succeeded(output);
    let last = text.lines().last().unwrap_or_default();
    last.split(' ').map(|part| part.parse::<f64>().unwrap_or_else(|_| panic!("{text}"))).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_costs_does_not_depend_on_how_many_there_are() {
    let mut dumps = Vec::new();
    let mut restores = Vec::new();
    for tables in [FEW, MANY] {
        let world = world(tables).await;
        // Without the schema: what pg_dump does would be counted too.
        dumps.push(calls(&world, &["dump", "--data-only", "-j", "1", &uri(&world.source())]));
        world.dump().await;
        let target = world.copy("counted");
        let to = uri(&target);
        restores.push(calls(&world, &["restore", "-j", "1", "--no-compare", "--create", "--to", &to]));
        assert_eq!(value(&target, "SELECT count(*) FROM root").await, Some((tables / 2).to_string()));
        assert!(world.compare(target).await.is_equal());
        assert_eq!(world.verify(Level::Decode).await.findings, vec![]);
    }
    let each = |runs: &[BTreeMap<String, u64>], name: &str| {
        let of = |run: &BTreeMap<String, u64>| run.get(name).copied().unwrap_or(0) as f64;
        (of(&runs[1]) - of(&runs[0])) / (MANY - FEW) as f64
    };
    // To lock, prepare, run and close a COPY; a COPY alone is two of them, so that a count below says that none is kept.
    let messages = each(&dumps, "sendto");
    assert!((2.0..=4.5).contains(&messages), "{messages} messages for each table of a dump");
    // Each file once; and the folders, which only the ordinary tables have of their own.
    let synced = each(&dumps, "fsync");
    assert!((1.45..=1.55).contains(&synced), "{synced} syncs for each table of a dump");
    let renamed = each(&dumps, "rename");
    assert!((0.99..=1.01).contains(&renamed), "{renamed} renames for each table of a dump");
    let messages = each(&restores, "sendto");
    assert!((4.0..=14.0).contains(&messages), "{messages} messages for each table of a restore");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_times_the_tables_take_no_more_than_about_five_times_the_work() {
    let mut times = Vec::new();
    for tables in [FEW, MANY] {
        let world = world(tables).await;
        let dump = format!("dump -j 1 '{}'", uri(&world.source()));
        // The second is held against the first, unit by unit.
        let first = cpu(&world, &dump);
        times.push([first, cpu(&world, &dump), cpu(&world, "verify --level decode")]);
    }
    for (what, (few, many)) in ["a dump", "a second dump", "verify"].iter().zip(times[0].iter().zip(times[1]))
    {
        // Squares would be 25; what every run does once makes it less than 5, and short times are coarse.
        assert!(many / few < 10.0, "{what}: {few} s for {FEW} tables, {many} s for {MANY}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_lets_go_of_the_tables_that_it_has_read() {
    let world = world(FEW).await;
    let (read, held) = (Mutex::new(0), Arc::new(Mutex::new(Vec::new())));
    let (source, seen) = (world.source(), Arc::clone(&held));
    // Once most tables are read: how many each connection has locked.
    let hook = move |event: &Event| {
        let Event::TableDone { .. } = event else { return };
        let mut read = read.lock().unwrap();
        *read += 1;
        if *read == FEW * 3 / 4 {
            let source = source.clone();
            let asked = std::thread::spawn(move || {
                let locks = "SELECT string_agg(n::text, ' ' ORDER BY n DESC) FROM (SELECT count(*) AS n FROM pg_locks l \
                     JOIN pg_class c ON c.oid = l.relation WHERE c.relnamespace = 'public'::regnamespace \
                     AND c.relkind = 'r' AND l.mode = 'AccessShareLock' GROUP BY l.pid) s";
                tokio::runtime::Runtime::new().unwrap().block_on(value(&source, locks))
            });
            seen.lock().unwrap().push(asked.join().unwrap().unwrap());
        }
    };
    world.dump_hooked(hook, |request| (request.jobs, request.data_only) = (1, true)).await.unwrap();
    let held = held.lock().unwrap();
    let locks: Vec<u64> = held[0].split(' ').map(|count| count.parse().unwrap()).collect();
    assert_eq!(locks[0], FEW, "the leader holds all tables to the end");
    assert!(locks[1..].iter().all(|count| *count <= 2), "a lane holds the table that it reads: {locks:?}");
}

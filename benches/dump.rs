//! A whole `barkeep dump` of market bars over one lane against the floor, `psql \copy … (format binary)`, in one run.
//!
//! Both read the same table of the same throw-away server, alternating; the table says wall time, client CPU, peak memory
//! and the ratio to the floor measured beside it. Peak memory at 1 M and at the largest number of rows stands in the same
//! table: it must not grow with the table. `BARKEEP_BENCH_ROWS=2000000` makes it small.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints its table, or fails")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use barkeep::pg::throwaway::{Throwaway, ThrowawayOptions};

/// Runs of each program; the fastest counts, because whatever disturbs a run only makes it slower.
const RUNS: usize = 3;

/// One run of a program.
#[derive(Clone, Copy)]
struct Run {
    wall: Duration,
    cpu: Duration,
    /// Peak resident memory in bytes.
    peak: u64,
}

/// What /proc says of a process that is still there.
fn look(pid: u32) -> Option<(Duration, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may have blanks; utime and stime are the 14th and 15th field.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some((Duration::from_millis(ticks * 10), kib << 10))
}

fn measure(mut command: Command) -> Run {
    let began = Instant::now();
    let mut child: Child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program starts");
    let (mut cpu, mut peak) = (Duration::ZERO, 0);
    loop {
        if let Some((used, high)) = look(child.id()) {
            (cpu, peak) = (cpu.max(used), peak.max(high));
        }
        if let Some(status) = child.try_wait().expect("the program can be waited for") {
            assert!(status.success(), "{command:?} ended with {status}");
            return Run { wall: began.elapsed(), cpu, peak };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn psql(server: &Throwaway, sql: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres"]);
    command.arg("-h").arg(server.socket_directory()).args(["-p", &server.port().to_string(), "-c", sql]);
    command
}

/// A walk of ticks for each of 200 symbols, one bar a minute, in the order in which bars are written.
fn load(server: &Throwaway, table: &str, rows: u64) {
    let sql = format!(
        "CREATE TABLE {table} (symbol text, ts timestamptz, open numeric(18,6), high numeric(18,6), \
           low numeric(18,6), close numeric(18,6), vwap numeric(18,6), volume bigint, trade_count int);
         SELECT setseed(0.25);
         INSERT INTO {table} SELECT 'SYM' || lpad((i % 200)::text, 3, '0'), \
           timestamptz '2020-01-02 14:30+00' + (i / 200) * interval '1 minute', p, p + (random() * 20)::int * 0.01, \
           p - (random() * 20)::int * 0.01, p + (random() * 10 - 5)::int * 0.01, \
           round((p + random() * 0.1)::numeric, 6), (random() * 100000)::int, (random() * 500)::int \
         FROM (SELECT i, (20 + (i % 200) * 3 + 10 * sin(i / 200 / 500.0))::numeric(18,2) AS p \
               FROM generate_series(0, {rows} - 1) i) g;
         ANALYZE {table}"
    );
    assert!(psql(server, &sql).status().expect("psql runs").success());
    assert!(psql(server, &format!("VACUUM FREEZE {table}")).status().expect("psql runs").success());
}

fn dump(server: &Throwaway, vault: &Path, table: &str) -> Command {
    if vault.exists() {
        // A second dump into the same vault would find its pieces there already.
        fs::remove_dir_all(vault).expect("the vault of the run before goes");
    }
    let barkeep = env!("CARGO_BIN_EXE_barkeep");
    let made = Command::new(barkeep).arg("init").arg("--vault").arg(vault).stdout(Stdio::null()).status();
    assert!(made.expect("barkeep runs").success());
    let database = format!(
        "host={} port={} user=postgres dbname=postgres",
        server.socket_directory().display(),
        server.port()
    );
    let mut command = Command::new(barkeep);
    command.arg("--vault").arg(vault).args(["-q", "--progress", "none", "dump", "--data-only", "-j", "1"]);
    command.args(["-t", table, &database]);
    command
}

fn line(what: &str, rows: u64, run: Run, floor: Option<Run>) {
    let ratio = floor.map(|floor| format!("{:.2}", run.wall.as_secs_f64() / floor.wall.as_secs_f64()));
    println!(
        "{what:<24} {rows:>10} {:>9.2} {:>9.2} {:>9.0} {:>9} {:>9}",
        run.wall.as_secs_f64(),
        run.cpu.as_secs_f64(),
        run.cpu.as_secs_f64() * 1e9 / rows as f64,
        run.peak >> 20,
        ratio.unwrap_or_default()
    );
}

fn main() {
    // `cargo test --benches` and friends only want to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let most =
        std::env::var("BARKEEP_BENCH_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000_000);
    let settings = ["shared_buffers=2GB", "autovacuum=off", "max_wal_size=16GB"];
    let options = ThrowawayOptions {
        settings: settings.iter().map(|line| (*line).to_owned()).collect(),
        ..ThrowawayOptions::default()
    };
    let server = Throwaway::start(&options).expect("a throw-away server starts");
    let folder = std::env::temp_dir().join(format!("barkeep-bench-{}", std::process::id()));
    println!(
        "PostgreSQL {}, market bars of 9 columns, one lane, best of {RUNS}, alternating",
        server.version()
    );
    println!(
        "{:<24} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "rows", "wall s", "cpu s", "cpu ns/row", "peak MiB", "x floor"
    );
    let mut peaks = Vec::new();
    for rows in [most / 20, most / 2, most] {
        let table = format!("bars_{rows}");
        load(&server, &table, rows);
        let mut best: [Option<Run>; 2] = [None, None];
        for _ in 0..RUNS {
            let copy = psql(&server, &format!("\\copy {table} to /dev/null (format binary)"));
            let runs = [measure(copy), measure(dump(&server, &folder.join("vault"), &table))];
            for (best, run) in best.iter_mut().zip(runs) {
                let peak = best.map_or(run.peak, |best| best.peak.max(run.peak));
                let faster = best.filter(|best| best.wall <= run.wall).unwrap_or(run);
                *best = Some(Run { peak, ..faster });
            }
        }
        let [Some(floor), Some(ours)] = best else { continue };
        line("psql \\copy (floor)", rows, floor, None);
        line("barkeep dump -j 1", rows, ours, Some(floor));
        peaks.push(ours.peak as f64);
        let dropped = psql(&server, &format!("DROP TABLE {table}")).status().expect("psql runs");
        assert!(dropped.success());
    }
    println!(
        "peak memory, largest table to smallest: x {:.2}",
        peaks.last().unwrap_or(&0.0) / peaks.first().unwrap_or(&1.0)
    );
    fs::remove_dir_all(folder).expect("the bench's folder goes");
}

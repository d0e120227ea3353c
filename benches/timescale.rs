//! Hypertables against the same rows in a plain table, in one run: dumped chunk by chunk, dumped out of compressed chunks,
//! and restored through the hypertable, each without indexes.
//!
//! The server is a container of the tests' image; what the image's edition of TimescaleDB has not, is not in the table and
//! said below it. `BARKEEP_BENCH_ROWS=1000000` makes it small.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints its table, or fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of each; the fastest counts, because whatever disturbs a run only makes it slower.
const RUNS: usize = 3;

/// Removes the container at the end, also after a panic.
struct Server {
    container: String,
    port: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.container]).stdout(Stdio::null()).status();
    }
}

#[expect(clippy::panic, reason = "whoever runs a benchmark reads why it fails")]
fn fail(why: &str) -> ! {
    panic!("{why}")
}

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Server {
    fn start(image: &str) -> Self {
        let run = [
            "run",
            "-d",
            "-e",
            "POSTGRES_HOST_AUTH_METHOD=trust",
            "-p",
            "127.0.0.1::5432",
            image,
            "postgres",
        ];
        let settings = ["-c", "shared_buffers=2GB", "-c", "autovacuum=off", "-c", "max_wal_size=16GB"];
        let container = output(Command::new("docker").args(run).args(settings));
        let address = output(Command::new("docker").args(["port", &container, "5432"]));
        let port = address.rsplit(':').next().unwrap_or_default().to_owned();
        let server = Self { container, port };
        for _ in 0..60 {
            if server.psql("postgres", "SELECT 1").status().is_ok_and(|status| status.success()) {
                return server;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        fail(&format!("the server of {image} does not answer"))
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new("docker");
        command.args(["exec", &self.container, "psql", "-h", "127.0.0.1", "-U", "postgres", "-XqAt"]);
        command.args(["-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    fn run(&self, database: &str, sql: &str) -> String {
        output(&mut self.psql(database, sql))
    }

    fn uri(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// A walk of ticks for each of 200 symbols, one bar a minute, in the order in which bars are written.
    fn load(&self, database: &str, rows: u64, hypertable: bool) {
        self.run("postgres", &format!("CREATE DATABASE {database}"));
        self.run(database, "CREATE EXTENSION IF NOT EXISTS timescaledb");
        let table = "CREATE TABLE bars (symbol text NOT NULL, ts timestamptz NOT NULL, open numeric(18,6), high numeric(18,6), \
             low numeric(18,6), close numeric(18,6), vwap numeric(18,6), volume bigint, trade_count int)";
        self.run(database, table);
        if hypertable {
            let sql = "SELECT create_hypertable('bars', 'ts', chunk_time_interval => interval '1 day', \
                       create_default_indexes => false)";
            self.run(database, sql);
        }
        let sql = format!(
            "SELECT setseed(0.25);
             INSERT INTO bars SELECT 'SYM' || lpad((i % 200)::text, 3, '0'), \
               timestamptz '2020-01-02 14:30+00' + (i / 200) * interval '1 minute', p, p + (random() * 20)::int * 0.01, \
               p - (random() * 20)::int * 0.01, p + (random() * 10 - 5)::int * 0.01, \
               round((p + random() * 0.1)::numeric, 6), (random() * 100000)::int, (random() * 500)::int \
             FROM (SELECT i, (20 + (i % 200) * 3 + 10 * sin(i / 200 / 500.0))::numeric(18,2) AS p \
                   FROM generate_series(0, {rows} - 1) i) g"
        );
        self.run(database, &sql);
        self.run(database, "VACUUM FREEZE ANALYZE");
    }

    /// 5,000 chunks of ten rows, in steps: all at once would take more locks than the server has.
    fn load_many(&self, database: &str) {
        self.run("postgres", &format!("CREATE DATABASE {database}"));
        self.run(database, "CREATE EXTENSION IF NOT EXISTS timescaledb");
        self.run(database, "CREATE TABLE many (seq bigint NOT NULL, x int)");
        self.run(database, "SELECT create_hypertable('many', 'seq', chunk_time_interval => 10)");
        for step in 0..20 {
            let (from, to) = (step * 2500, step * 2500 + 2499);
            self.run(database, &format!("INSERT INTO many SELECT i, i FROM generate_series({from}, {to}) i"));
        }
    }

    fn compress(&self, database: &str) {
        let sql = "ALTER TABLE bars SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol', \
                   timescaledb.compress_orderby = 'ts')";
        self.run(database, sql);
        self.run(database, "SELECT count(compress_chunk(c)) FROM show_chunks('bars') c");
        self.run(database, "VACUUM FREEZE ANALYZE");
    }
}

/// A fresh vault, and the configuration that names the container's pg_dump.
fn vault(server: &Server, folder: &Path) -> (PathBuf, PathBuf) {
    let (vault, config) = (folder.join("vault"), folder.join("barkeep.toml"));
    if folder.exists() {
        fs::remove_dir_all(folder).expect("the folder of the run before goes");
    }
    fs::create_dir_all(folder).expect("a folder for the vault");
    let pg_dump = format!("docker exec -i {} env PGHOST=127.0.0.1 PGPORT=5432 pg_dump", server.container);
    fs::write(&config, format!("[tools]\npg_dump = \"{pg_dump}\"\n")).expect("the configuration is written");
    output(barkeep(&vault, &config).arg("init"));
    (vault, config)
}

fn barkeep(vault: &Path, config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barkeep"));
    command.arg("--vault").arg(vault).arg("--config").arg(config).args(["-q", "--progress", "none"]);
    command
}

fn dump(server: &Server, database: &str, folder: &Path) -> Duration {
    let (vault, config) = vault(server, folder);
    let began = Instant::now();
    output(barkeep(&vault, &config).args(["dump", "--data-only", "-j", "1", &server.uri(database)]));
    began.elapsed()
}

/// The time that the rows alone take, by barkeep's own account: databases and extensions take theirs.
fn restore(server: &Server, database: &str, folder: &Path) -> Duration {
    let (vault, config) = (folder.join("vault"), folder.join("barkeep.toml"));
    server.run("postgres", "DROP DATABASE IF EXISTS back");
    let mut command = barkeep(&vault, &config);
    command.args(["restore", "--json", "--no-compare", "--create", "-j", "1", "--to", &server.uri("back")]);
    let answer = command.stdin(Stdio::null()).output().expect("barkeep starts");
    let report: serde_json::Value = serde_json::from_slice(&answer.stdout)
        .unwrap_or_else(|error| fail(&format!("{database}: {error}: {answer:?}")));
    let report = report.get("report").cloned().unwrap_or_default();
    let tables = report.get("tables").and_then(serde_json::Value::as_array).into_iter().flatten();
    let seconds: f64 = tables.filter_map(|table| table.get("seconds")?.as_f64()).sum();
    assert!(seconds > 0.0, "{database}: {report}");
    Duration::from_secs_f64(seconds)
}

fn line(what: &str, rows: u64, time: Duration, plain: Duration, goal: &str) {
    let ratio = time.as_secs_f64() / plain.as_secs_f64();
    println!("{what:<34} {rows:>10} {:>9.2} {ratio:>9.2} {goal:>9}", time.as_secs_f64());
}

fn main() {
    // `cargo test --benches` and friends only want to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let rows =
        std::env::var("BARKEEP_BENCH_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let image = std::env::var("BARKEEP_TEST_IMAGE").ok();
    let prepared = || fs::read_to_string("target/test-image").ok().map(|text| text.trim().to_owned());
    let image = image.or_else(prepared).expect("BARKEEP_TEST_IMAGE, or an image from `make setup-docker`");
    let server = Server::start(&image);
    server.run("postgres", "CREATE EXTENSION IF NOT EXISTS timescaledb");
    let edition = "SELECT extversion || ' ' || current_setting('timescaledb.license') FROM pg_extension WHERE extname = 'timescaledb'";
    let edition = server.run("postgres", edition);
    let full = edition.ends_with("timescale");
    server.load("plain", rows, false);
    server.load("chunked", rows, true);
    let mut names = vec!["plain", "chunked"];
    if full {
        server.load("packed", rows, true);
        server.compress("packed");
        names.push("packed");
    }
    let folder = std::env::temp_dir().join(format!("barkeep-bench-timescale-{}", std::process::id()));
    let chunks = server.run("chunked", "SELECT count(*) FROM show_chunks('bars')");
    println!(
        "TimescaleDB {edition}, {chunks} chunks, market bars of 9 columns, no index, one lane, best of {RUNS}, alternating"
    );
    println!("{:<34} {:>10} {:>9} {:>9} {:>9}", "", "rows", "wall s", "x plain", "goal");
    let best = |work: &dyn Fn(&str) -> Duration, names: &[&str]| -> Vec<Duration> {
        let mut best = vec![Duration::MAX; names.len()];
        for _ in 0..RUNS {
            for (best, name) in best.iter_mut().zip(names) {
                *best = work(name).min(*best);
            }
        }
        best
    };
    let dumps = best(&|name| dump(&server, name, &folder.join(name)), &names);
    line("dump of the plain table", rows, dumps[0], dumps[0], "");
    line("dump of the hypertable", rows, dumps[1], dumps[0], "1.10");
    if let Some(packed) = dumps.get(2) {
        line("dump of the compressed hypertable", rows, *packed, dumps[0], "1.30");
    }
    for name in &names[..2] {
        let (vault, config) = vault(&server, &folder.join(name));
        output(barkeep(&vault, &config).args(["dump", &server.uri(name)]));
    }
    let restores = best(&|name| restore(&server, name, &folder.join(name)), &names[..2]);
    line("restore into a plain table", rows, restores[0], restores[0], "");
    line("restore through the hypertable", rows, restores[1], restores[0], "1.30");
    server.load_many("many");
    let (vault, config) = vault(&server, &folder.join("many"));
    let began = Instant::now();
    output(barkeep(&vault, &config).args(["dump", "--dry-run", &server.uri("many")]));
    let planned = began.elapsed().as_secs_f64();
    println!("{:<34} {:>10} {planned:>9.2} {:>9} {:>9}", "catalog and plan, 5,000 chunks", "", "", "5 s");
    if !full {
        println!("not measured: compressed chunks need the full edition of TimescaleDB (BARKEEP_TEST_IMAGE)");
    }
    fs::remove_dir_all(folder).expect("the bench's folder goes");
}

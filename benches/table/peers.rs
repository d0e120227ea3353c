//! The other programs: where they are, what they are called with, and which are missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::Server;

/// DuckDB reads a table through its postgres scanner and writes Parquet: database, table, file, threads.
const DUCKDB: &str = r#"
import os, sys, duckdb, duckdb_extension_postgres_scanner as scanner
database, table, file, threads = sys.argv[1:]
folder = os.path.join(os.path.dirname(scanner.__file__), "extensions", "v" + duckdb.__version__)
connection = duckdb.connect(config={"threads": int(threads)})
connection.execute(f"LOAD '{folder}/postgres_scanner.duckdb_extension'")
connection.execute(f"ATTACH '{database}' AS pg (TYPE postgres, READ_ONLY)")
connection.execute(f"COPY pg.public.{table} TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
"#;

const VERSION: &str = r#"
import duckdb, duckdb_extension_postgres_scanner
print(duckdb.__version__)
"#;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    python: Option<PathBuf>,
    pg2parquet: Option<PathBuf>,
    pgcopydb: Option<PathBuf>,
    /// A pg_dump that compresses with zstd: 16 or newer, whatever the server is.
    pub(crate) zstd_pg_dump: Option<String>,
    /// Name and version of each.
    pub(crate) versions: Vec<(String, String)>,
    /// Name of each that is not there, and why.
    pub(crate) missing: Vec<(String, String)>,
}

fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// The folder that `make bench-peers` fills: target/peers, beside the folder of the built program.
fn folder() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_barkeep"));
    built.ancestors().nth(2).unwrap_or(built).join("peers")
}

/// The server's own pg_dump, the one of `make bench-peers`, or any other: the first that is new enough, with its version.
fn zstd_pg_dump(server: &Server) -> Option<(String, String)> {
    let brought = folder().join("bin/pg_dump").display().to_string();
    ["pg_dump".to_owned(), brought, "/usr/bin/pg_dump".to_owned()].into_iter().find_map(|program| {
        let version = answer(server.client(&program).arg("--version"))?;
        let number =
            version.split_whitespace().find_map(|word| word.split('.').next()?.parse::<u32>().ok())?;
        (number >= 16).then_some((program, version))
    })
}

impl Peers {
    pub(crate) fn find(server: &Server) -> Self {
        let mut peers = Self::default();
        for program in ["pg_dump", "pg_restore", "psql"] {
            let version = answer(server.client(program).arg("--version"));
            peers.note(program, version, "not installed");
        }
        let zstd = zstd_pg_dump(server);
        let version = zstd.as_ref().map(|(_, version)| version.clone());
        peers.note(
            "pg_dump, zstd",
            version,
            "pg_dump compresses with zstd from 16 on; make bench-peers brings it",
        );
        peers.zstd_pg_dump = zstd.map(|(program, _)| program);
        let python = folder().join("venv/bin/python");
        let found = answer(Command::new(&python).args(["-c", VERSION]));
        peers.python = peers.note("DuckDB", found, "make bench-peers installs it").then_some(python);
        let pg2parquet = folder().join("bin/pg2parquet");
        let found = answer(Command::new(&pg2parquet).arg("--version"));
        peers.pg2parquet =
            peers.note("pg2parquet", found, "make bench-peers installs it").then_some(pg2parquet);
        let found = answer(Command::new("pgcopydb").args(["--version"]));
        peers.pgcopydb = peers.note("pgcopydb", found, "not on the PATH").then(|| "pgcopydb".into());
        peers
    }

    /// Remembers what was found, and whether it was.
    fn note(&mut self, name: &str, version: Option<String>, why: &str) -> bool {
        let found = version.is_some();
        match version {
            Some(version) => self.versions.push((name.to_owned(), version)),
            None => self.missing.push((name.to_owned(), why.to_owned())),
        }
        found
    }

    /// DuckDB writing a table to a Parquet file.
    pub(crate) fn duckdb(&self, keywords: &str, table: &str, file: &Path, threads: usize) -> Option<Command> {
        let mut command = Command::new(self.python.as_ref()?);
        command.args(["-c", DUCKDB, keywords, table]).arg(file).arg(threads.to_string());
        Some(command)
    }

    /// pg2parquet writing a table to a Parquet file; numerics stay exact.
    pub(crate) fn pg2parquet(
        &self,
        server: &Server,
        database: &str,
        table: &str,
        file: &Path,
    ) -> Option<Command> {
        let mut command = Command::new(self.pg2parquet.as_ref()?);
        command.args(["export", "--host", "127.0.0.1", "--port", &server.port().to_string()]);
        command.args(["--user", "postgres", "--password", "none", "--dbname", database, "--table", table]);
        command.args(["--compression", "zstd", "--numeric-handling", "decimal"]);
        command.args(["--decimal-precision", "38", "--decimal-scale", "6", "--quiet", "--output-file"]);
        command.arg(file);
        Some(command)
    }

    /// pgcopydb copying one database into another, without a file between them.
    pub(crate) fn pgcopydb(&self, source: &str, target: &str, folder: &Path, jobs: usize) -> Option<Command> {
        let mut command = Command::new(self.pgcopydb.as_ref()?);
        let jobs = jobs.to_string();
        command.args(["clone", "--source", source, "--target", target, "--table-jobs", &jobs]);
        command.args(["--index-jobs", &jobs, "--skip-large-objects", "--no-owner", "--dir"]).arg(folder);
        Some(command)
    }
}

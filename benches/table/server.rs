//! The server that everything is measured against, and how tables get into it.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use barkeep::pg::throwaway::{Throwaway, ThrowawayOptions, binaries};

use crate::market::tuple::{HEADER, TRAILER};

/// A throw-away server that is as durable as a real one.
pub(crate) struct Server {
    throwaway: Throwaway,
    bin: PathBuf,
}

impl Server {
    pub(crate) fn start() -> Self {
        let settings = [
            "fsync=on",
            "synchronous_commit=on",
            "full_page_writes=on",
            "shared_buffers=2GB",
            "autovacuum=off",
            "max_wal_size=16GB",
            "max_locks_per_transaction=256",
        ];
        let options = ThrowawayOptions {
            settings: settings.iter().map(|line| (*line).to_owned()).collect(),
            ..ThrowawayOptions::default()
        };
        let throwaway = Throwaway::start(&options).expect("a throw-away server starts");
        let found = binaries().into_iter().find(|(version, _)| *version == throwaway.version());
        let (_, bin) = found.expect("the server's binaries are still there");
        Self { throwaway, bin }
    }

    pub(crate) fn port(&self) -> u16 {
        self.throwaway.port()
    }

    /// The process that all others of the server descend from.
    pub(crate) fn postmaster(&self) -> u32 {
        let file = self.throwaway.socket_directory().join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("the server's pid file");
        text.lines().next().and_then(|line| line.trim().parse().ok()).expect("a pid")
    }

    /// A client program of the server's own version, straight from its folder: wrappers on the PATH cost time.
    pub(crate) fn client(&self, program: &str) -> Command {
        let own = self.bin.join(program);
        let mut command = Command::new(if own.is_file() { own } else { program.into() });
        command.env("PATH", self.path()).env("PGHOST", self.throwaway.socket_directory());
        command.env("PGPORT", self.port().to_string()).env("PGUSER", "postgres");
        command
    }

    /// The PATH with the server's programs first.
    pub(crate) fn path(&self) -> OsString {
        let mut path = self.bin.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        path
    }

    /// How to reach a database, as keywords.
    pub(crate) fn keywords(&self, database: &str) -> String {
        let folder = self.throwaway.socket_directory().display();
        format!("host={folder} port={} user=postgres dbname={database}", self.port())
    }

    /// How to reach a database, as a URI.
    pub(crate) fn uri(&self, database: &str) -> String {
        let folder = self.throwaway.socket_directory().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port())
    }

    /// psql with commands, each of them an SQL statement or one of psql's own.
    pub(crate) fn psql(&self, database: &str, commands: &[&str]) -> Command {
        let mut command = self.client("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]);
        commands.iter().for_each(|one| {
            command.args(["-c", one]);
        });
        command
    }

    /// Runs SQL that is not measured and gives what it answers. Its commits need not wait for the disk.
    pub(crate) fn run(&self, database: &str, sql: &str) -> String {
        let mut command = self.psql(database, &[sql]);
        command.env("PGOPTIONS", "-c synchronous_commit=off").stdin(Stdio::null());
        let output = command.output().expect("psql starts");
        assert!(output.status.success(), "{database}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a script.
    pub(crate) fn script(&self, database: &str, sql: &str) {
        self.feed(&["-d", database, "-1"], |pipe| pipe.write_all(sql.as_bytes()));
    }

    /// A new database in the place of one of that name.
    pub(crate) fn fresh(&self, database: &str) {
        self.remove(database);
        self.run("postgres", &format!("CREATE DATABASE {database}"));
    }

    pub(crate) fn remove(&self, database: &str) {
        self.run("postgres", &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"));
    }

    /// Nothing that a run before it left is written while the next one is measured.
    pub(crate) fn settle(&self) {
        self.run("postgres", "CHECKPOINT");
    }

    /// Fills a table from COPY BINARY tuples: `rows` calls of `put`, which appends one.
    pub(crate) fn copy(
        &self,
        database: &str,
        table: &str,
        rows: u64,
        mut put: impl FnMut(u64, &mut Vec<u8>),
    ) {
        let sql = format!("COPY {table} FROM STDIN (FORMAT binary)");
        self.feed(&["-d", database, "-c", &sql], |pipe| {
            // Small: Linux counts our memory as a child's until the child is a program of its own.
            let mut buffer = HEADER.to_vec();
            for at in 0..rows {
                put(at, &mut buffer);
                if buffer.len() > 128 << 10 {
                    pipe.write_all(&buffer)?;
                    buffer.clear();
                }
            }
            buffer.extend_from_slice(&TRAILER);
            pipe.write_all(&buffer)
        });
    }

    fn feed(
        &self,
        arguments: &[&str],
        write: impl FnOnce(&mut std::process::ChildStdin) -> std::io::Result<()>,
    ) {
        let mut command = self.client("psql");
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("psql starts");
        let mut pipe = child.stdin.take().expect("a pipe to psql");
        let written = write(&mut pipe);
        drop(pipe);
        let status = child.wait().expect("psql ends");
        assert!(status.success(), "psql {arguments:?} ended with {status}");
        written.expect("psql took everything");
    }

    /// As a table is that nobody has changed for long.
    pub(crate) fn rest(&self, database: &str) {
        self.run(database, "VACUUM (FREEZE, ANALYZE)");
        self.settle();
    }

    /// Reads a table once: the first program must not be the one that brings it into memory.
    pub(crate) fn warm(&self, database: &str, table: &str) {
        self.run(database, &format!("SELECT count(*) FROM {table}"));
    }
}

/// An empty place for what a program makes.
pub(crate) fn clear(path: &Path) {
    let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    assert!(gone.is_ok() || !path.exists(), "{} stays: {gone:?}", path.display());
}

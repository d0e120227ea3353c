//! Finds and runs `pg_dump`, the only source of DDL. Only a dump needs it; a restore runs no client program.
//!
//! Connection parameters travel as environment variables, never as arguments: arguments can be read by every user of
//! the machine. Does not know what the archive means ([`crate::catalog::toc`]).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::base::{Secret, TableName, quote_ident};
use crate::catalog::ddl::SchemaDump;
use crate::catalog::toc::{self, TocError};

/// Where a client program connects to. What is `None` is left to libpq's own defaults.
#[derive(Debug, Clone, Default)]
pub struct ConnectionParameters {
    /// Host name, address or directory of a Unix socket.
    pub host: Option<String>,
    /// TCP port, or the number in the socket's name.
    pub port: Option<u16>,
    /// Role to log in as.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Database.
    pub database: Option<String>,
    /// `disable` to `verify-full`, as in libpq.
    pub sslmode: Option<String>,
    /// File of root certificates.
    pub sslrootcert: Option<String>,
    /// File of the client's certificate.
    pub sslcert: Option<String>,
    /// File of the client certificate's key.
    pub sslkey: Option<String>,
    /// Command-line options for the server: `-c role=backup`.
    pub options: Option<String>,
}

/// Every variable of ours; the containers of a `docker run` see no others.
const OURS: [&str; 11] = [
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGDATABASE",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGOPTIONS",
    "PGAPPNAME",
];

/// Variables that would make libpq connect elsewhere than barkeep did.
const MISLEADING: [&str; 4] = ["PGSERVICE", "PGHOSTADDR", "PGCLIENTENCODING", "PGTARGETSESSIONATTRS"];

impl ConnectionParameters {
    fn variables(&self) -> Vec<(&'static str, String)> {
        let values = [
            self.host.clone(),
            self.port.map(|port| port.to_string()),
            self.user.clone(),
            self.password.as_ref().map(|password| password.expose().to_owned()),
            self.database.clone(),
            self.sslmode.clone(),
            self.sslrootcert.clone(),
            self.sslcert.clone(),
            self.sslkey.clone(),
            self.options.clone(),
            Some("barkeep".to_owned()),
        ];
        OURS.into_iter().zip(values).filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }
}

/// `pg_dump` cannot be found or run.
#[derive(Debug, thiserror::Error)]
pub enum ClientToolError {
    /// None is installed where one was looked for.
    #[error("no pg_dump found on PATH or in the usual directories (the server is PostgreSQL {server})")]
    NotFound {
        /// The server's major version.
        server: u32,
    },
    /// All that were found are older than the server, and an older `pg_dump` refuses a newer server.
    #[error("{program} is version {found}, older than the server, which is PostgreSQL {server}")]
    TooOld {
        /// How it was called.
        program: String,
        /// Its major version.
        found: u32,
        /// The server's major version.
        server: u32,
    },
    /// The setting is not a command line (an open quote, or nothing at all).
    #[error("tools.pg_dump is not a command line: {0}")]
    Setting(String),
    /// It could not be started or read from.
    #[error("cannot run {program}")]
    Run {
        /// How it was called.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It prints no version that can be understood.
    #[error("{program} --version says {answer:?}, which names no version")]
    Version {
        /// How it was called.
        program: String,
        /// What it printed.
        answer: String,
    },
    /// It ran and failed.
    #[error("{program} ended with {status}: {message}")]
    Failed {
        /// How it was called.
        program: String,
        /// Exit status.
        status: ExitStatus,
        /// What it wrote to its standard error.
        message: String,
    },
    /// It succeeded, but what it wrote cannot be understood.
    #[error("{program} wrote something unexpected")]
    Archive {
        /// How it was called.
        program: String,
        /// Why.
        source: TocError,
    },
    /// It wrote more than any schema has.
    #[error("{program} wrote more than {limit} bytes of schema")]
    TooLarge {
        /// How it was called.
        program: String,
        /// The bound.
        limit: u64,
    },
}

impl ClientToolError {
    /// Whether `pg_dump` gave up waiting for a lock: somebody holds it, or waits for it in front of `pg_dump`.
    pub fn lock_not_available(&self) -> bool {
        // It keeps its --lock-wait-timeout by means of statement_timeout.
        let Self::Failed { message, .. } = self else { return false };
        message.contains("timeout") && message.contains("LOCK TABLE")
    }
}

/// A version of a client program: `16.4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolVersion {
    /// Major version, to be compared with the server's.
    pub major: u32,
    /// All that it prints after `(PostgreSQL)`.
    pub text: String,
}

/// A `pg_dump` that can be run.
#[derive(Debug, Clone)]
pub struct PgDump {
    program: OsString,
    leading: Vec<String>,
    version: ToolVersion,
}

/// What pg_dump is not to describe, nor to lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excluded {
    /// Whole schemas.
    pub schemas: Vec<String>,
    /// Single tables.
    pub tables: Vec<TableName>,
}

/// Where to look for `pg_dump`; everything from outside enters here.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// `tools.pg_dump` of the configuration: a path or a command line. If set, nothing else is tried.
    pub setting: Option<String>,
    /// The value of `PATH`.
    pub path: Option<OsString>,
}

/// Directories with one subdirectory per major version, and what comes after the version.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

impl Search {
    /// Finds a `pg_dump` that is not older than the server: the setting, else the first on `PATH`, else the newest in
    /// the usual version directories.
    pub async fn pg_dump(&self, server_major: u32) -> Result<PgDump, ClientToolError> {
        if let Some(setting) = &self.setting {
            return PgDump::from_setting(setting).await?.not_older_than(server_major);
        }
        let mut newest: Option<PgDump> = None;
        for path in self.candidates() {
            // One that cannot even print its version is as good as absent.
            let Ok(found) = PgDump::at(path.into_os_string(), Vec::new()).await else { continue };
            if found.version.major >= server_major {
                return Ok(found);
            }
            if newest.as_ref().is_none_or(|newest| newest.version.major < found.version.major) {
                newest = Some(found);
            }
        }
        match newest {
            Some(old) => old.not_older_than(server_major),
            None => Err(ClientToolError::NotFound { server: server_major }),
        }
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let on_path =
            self.path.iter().flat_map(std::env::split_paths).map(|directory| directory.join("pg_dump"));
        let mut versioned: Vec<(u32, PathBuf)> = VERSIONED
            .iter()
            .flat_map(|(parent, prefix, bin)| version_directories(Path::new(parent), prefix, bin))
            .collect();
        versioned.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        on_path.chain(versioned.into_iter().map(|(_, path)| path)).filter(|path| path.is_file()).collect()
    }
}

fn version_directories(parent: &Path, prefix: &str, bin: &str) -> Vec<(u32, PathBuf)> {
    let Ok(listing) = std::fs::read_dir(parent) else { return Vec::new() };
    listing
        .flatten()
        .filter_map(|item| {
            let name = item.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.split('.').next()?.parse().ok()?;
            Some((version, item.path().join(bin).join("pg_dump")))
        })
        .collect()
}

/// 1 GiB: PostgreSQL's own limit for one string, a thousand times the largest schema seen.
const LARGEST_SCHEMA: u64 = 1 << 30;

impl PgDump {
    /// From a setting: the path of a program (which may contain blanks), or a command line such as
    /// `docker run --rm --network host postgres:17 pg_dump`, with quotes as in a shell.
    ///
    /// Where the command is `docker` or `podman` with `run` or `exec`, `-e NAME` options are put behind that word, so
    /// that the connection's variables reach the container; their values still are in no argument.
    pub async fn from_setting(setting: &str) -> Result<Self, ClientToolError> {
        if Path::new(setting).is_file() {
            return Self::at(OsString::from(setting), Vec::new()).await;
        }
        let mut words = split_words(setting).ok_or_else(|| ClientToolError::Setting(setting.to_owned()))?;
        if words.is_empty() {
            return Err(ClientToolError::Setting(setting.to_owned()));
        }
        let program = words.remove(0);
        forward_variables(&program, &mut words);
        Self::at(OsString::from(program), words).await
    }

    async fn at(program: OsString, leading: Vec<String>) -> Result<Self, ClientToolError> {
        let mut tool = Self { program, leading, version: ToolVersion { major: 0, text: String::new() } };
        let output = tool
            .command()
            .arg("--version")
            .output()
            .await
            .map_err(|source| ClientToolError::Run { program: tool.name(), source })?;
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            return Err(ClientToolError::Failed {
                program: tool.name(),
                status: output.status,
                message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        tool.version = parse_version(&answer)
            .ok_or_else(|| ClientToolError::Version { program: tool.name(), answer: answer.clone() })?;
        Ok(tool)
    }

    fn not_older_than(self, server: u32) -> Result<Self, ClientToolError> {
        if self.version.major < server {
            return Err(ClientToolError::TooOld { program: self.name(), found: self.version.major, server });
        }
        Ok(self)
    }

    /// Its version.
    pub fn version(&self) -> &ToolVersion {
        &self.version
    }

    /// How it is called, for people.
    pub fn name(&self) -> String {
        let program = self.program.to_string_lossy().into_owned();
        match self.leading.last() {
            Some(last) => format!("{program} … {last}"),
            None => program,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.leading).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in OURS.into_iter().chain(MISLEADING) {
            command.env_remove(name);
        }
        // English messages, whatever the operator's language: they end up in reports that others read.
        command.env("LC_MESSAGES", "C").env("PGCONNECT_TIMEOUT", "30").kill_on_drop(true);
        command
    }

    /// Dumps the schema under an exported snapshot. Waits at most `lock_wait` for the lock of any one table.
    ///
    /// Dropping the future kills the program.
    pub async fn schema(
        &self,
        connection: &ConnectionParameters,
        snapshot: Option<&str>,
        lock_wait: std::time::Duration,
        excluded: &Excluded,
    ) -> Result<SchemaDump, ClientToolError> {
        let archive = self.archive(connection, snapshot, lock_wait, excluded).await?;
        toc::parse(&archive).map_err(|source| ClientToolError::Archive { program: self.name(), source })
    }

    /// As [`Self::schema`], but the archive's bytes.
    pub async fn archive(
        &self,
        connection: &ConnectionParameters,
        snapshot: Option<&str>,
        lock_wait: std::time::Duration,
        excluded: &Excluded,
    ) -> Result<Vec<u8>, ClientToolError> {
        let mut command = self.command();
        // UTF8 so that definitions are text whatever the database's encoding; SQL_ASCII is not converted.
        command.args([
            "--format=custom",
            "--compress=0",
            "--schema-only",
            "--no-password",
            "--encoding=UTF8",
        ]);
        command.arg(format!("--lock-wait-timeout={}", lock_wait.as_millis()));
        command.args(excluded.schemas.iter().map(|name| format!("--exclude-schema={}", quote_ident(name))));
        command.args(excluded.tables.iter().map(|name| format!("--exclude-table={}", name.sql())));
        if let Some(snapshot) = snapshot {
            command.arg(format!("--snapshot={snapshot}"));
        }
        command.envs(connection.variables());
        let run = |source| ClientToolError::Run { program: self.name(), source };
        let child = command.spawn().map_err(run)?;
        let (status, archive, message) = collect(child).await.map_err(run)?;
        if archive.len() as u64 > LARGEST_SCHEMA {
            return Err(ClientToolError::TooLarge { program: self.name(), limit: LARGEST_SCHEMA });
        }
        if !status.success() {
            let message = String::from_utf8_lossy(&message).trim().to_owned();
            return Err(ClientToolError::Failed { program: self.name(), status, message });
        }
        Ok(archive)
    }
}

/// Reads both streams at once (a full pipe on either would stop the program), then waits.
async fn collect(mut child: Child) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (mut archive, mut message) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let out = async {
        match stdout {
            Some(pipe) => pipe.take(LARGEST_SCHEMA + 1).read_to_end(&mut archive).await,
            None => Ok(0),
        }
    };
    let err = async {
        match stderr {
            Some(pipe) => pipe.take(1 << 20).read_to_end(&mut message).await,
            None => Ok(0),
        }
    };
    tokio::try_join!(out, err)?;
    let status = child.wait().await?;
    Ok((status, archive, message))
}

/// `15` and `15.14 (Debian …)` of `pg_dump (PostgreSQL) 15.14 (Debian …)`.
fn parse_version(answer: &str) -> Option<ToolVersion> {
    let (_, text) = answer.split_once("(PostgreSQL) ")?;
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    Some(ToolVersion { major: digits.parse().ok()?, text: text.to_owned() })
}

/// A command line into words: blanks separate, single and double quotes hold together, a backslash takes the next
/// character literally. `None` if a quote is left open.
fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().push(letters.next()?),
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn forward_variables(program: &str, words: &mut Vec<String>) {
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program);
    if !matches!(name, "docker" | "podman" | "nerdctl") {
        return;
    }
    let Some(verb) = words.iter().position(|word| word == "run" || word == "exec") else { return };
    let options = OURS.iter().flat_map(|name| ["-e".to_owned(), (*name).to_owned()]);
    words.splice(verb + 1..verb + 1, options);
}

#[cfg(test)]
mod tests;

//! `doctor`: everything that can be known before the first byte, in the order in which it would go wrong.
//!
//! It changes nothing but one probe file in the vault, which it removes again.

mod questions;
mod target;
mod timescale;

use std::path::Path;

use serde::Serialize;

use super::{ExitCode, OpsError, Services};
use crate::base::{Clock, Timestamp, chain};
use crate::pg::client_tools::Search;
use crate::pg::workbench::Workbench;
use crate::pg::{ConnectionSettings, TlsMode};
use crate::store::{Vault, free_space};
use questions::{Relations, Server};

/// What to look at.
#[derive(Debug, Clone)]
pub struct DoctorRequest {
    /// The database.
    pub database: ConnectionSettings,
    /// The vault, if one is named.
    pub vault: Option<std::path::PathBuf>,
    /// Where to look for pg_dump.
    pub tools: Search,
    /// Ask as well what would make a restore into it slow.
    pub for_restore: bool,
}

/// How one question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing to worry about.
    Ok,
    /// It works, but somebody should know.
    Warn,
    /// A dump would fail.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoctorLine {
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// How it is.
    pub answer: Answer,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
    /// The exit code that a dump would end with because of it.
    pub exit_code: u8,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct DoctorReport {
    /// In the order of the questions.
    pub lines: Vec<DoctorLine>,
}

/// Oldest and newest server that this version was tested with.
const SERVERS: std::ops::RangeInclusive<u32> = 14..=18;

/// Below this much free space a dump of any real database is a gamble.
const LITTLE_SPACE: u64 = 1 << 30;

/// Clocks further apart than this make "the age of a backup" a matter of opinion.
const CLOCK_TOLERANCE_SECONDS: i64 = 60;

impl DoctorReport {
    fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        let line = DoctorLine { what, answer: Answer::Ok, found: found.into(), advice: None, exit_code: 0 };
        self.lines.push(line);
    }

    fn warn(&mut self, what: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.lines.push(DoctorLine {
            what,
            answer: Answer::Warn,
            found: found.into(),
            advice: Some(advice.into()),
            exit_code: ExitCode::Warnings as u8,
        });
    }

    fn fail(&mut self, what: &'static str, code: u8, found: impl Into<String>, advice: impl Into<String>) {
        self.lines.push(DoctorLine {
            what,
            answer: Answer::Fail,
            found: found.into(),
            advice: Some(advice.into()),
            exit_code: code,
        });
    }

    /// The code of the first failure, else 3 if there are warnings, else 0.
    pub fn exit_code(&self) -> u8 {
        let first = |answer| self.lines.iter().find(|line| line.answer == answer).map(|line| line.exit_code);
        first(Answer::Fail).or_else(|| first(Answer::Warn)).unwrap_or(0)
    }
}

/// Asks everything. Fails itself only if a question could not be asked at all for a reason of barkeep's own.
pub async fn doctor(request: &DoctorRequest, services: &Services) -> Result<DoctorReport, OpsError> {
    let mut report = DoctorReport::default();
    tls(&mut report, &request.database);
    match Workbench::connect(&request.database).await {
        Err(error) => {
            let error = OpsError::from(error);
            let advice = "try the same address with psql; the causes say where it stopped";
            report.fail("server", error.exit_code(), chain(&error), advice);
        }
        Ok(bench) => server(&mut report, &bench, request, services.clock.as_ref()).await?,
    }
    match &request.vault {
        Some(path) => vault(&mut report, path),
        None => {
            let advice = "give --vault DIR, set BARKEEP_VAULT, or write `vault` into barkeep.toml";
            report.warn("vault", "no vault is named", advice);
        }
    }
    Ok(report)
}

fn tls(report: &mut DoctorReport, settings: &ConnectionSettings) {
    let mode = settings.tls.keyword();
    let far = !settings.host.starts_with('/')
        && !["localhost", "127.0.0.1", "::1"].contains(&settings.host.as_str());
    match settings.tls {
        TlsMode::VerifyCa | TlsMode::VerifyFull => report.ok("tls", format!("sslmode={mode}")),
        TlsMode::Require => report.warn(
            "tls",
            "sslmode=require encrypts but does not check whom it talks to",
            "use sslmode=verify-full, with sslrootcert if the authority is your own",
        ),
        _ if far => report.warn(
            "tls",
            format!("sslmode={mode}: the connection to {} may be unencrypted", settings.host),
            "use sslmode=verify-full",
        ),
        _ => report.ok("tls", format!("sslmode={mode}, on this machine")),
    }
}

async fn server(
    report: &mut DoctorReport,
    bench: &Workbench,
    request: &DoctorRequest,
    clock: &dyn Clock,
) -> Result<(), OpsError> {
    let direct = questions::is_direct(bench).await?;
    let server = questions::server(bench).await?;
    let now = clock.now();
    version(report, &server, &request.database);
    pooler(report, direct);
    role(report, &server);
    let relations = questions::relations(bench).await?;
    privileges(report, &relations);
    locks(report, &server, &relations);
    timescale::timescale(report, bench, request).await?;
    clocks(report, &server, now);
    pg_dump(report, &request.tools, server.version_num / 10_000).await;
    if request.for_restore {
        target::target(report, bench).await?;
    }
    Ok(())
}

fn version(report: &mut DoctorReport, server: &Server, settings: &ConnectionSettings) {
    let major = server.version_num / 10_000;
    let found = format!(
        "PostgreSQL {}{} at {}",
        server.version,
        if server.in_recovery { " (standby)" } else { "" },
        settings.describe()
    );
    if SERVERS.contains(&major) {
        report.ok("server", found);
    } else if major > *SERVERS.end() {
        report.warn("server", found, "this barkeep was tested with 14 to 18; look for a newer one");
    } else {
        report.fail("server", ExitCode::Usage as u8, found, "barkeep needs PostgreSQL 14 or later");
    }
}

fn pooler(report: &mut DoctorReport, direct: bool) {
    if direct {
        report.ok("pooler", "the server itself answers");
    } else {
        report.fail(
            "pooler",
            ExitCode::Connect as u8,
            "the startup options did not arrive: a connection pooler is in between",
            "connect to the server itself; a snapshot cannot live in a pooled session",
        );
    }
}

fn role(report: &mut DoctorReport, server: &Server) {
    let found = match (server.superuser, server.owner) {
        (true, _) => format!("{} is a superuser", server.role),
        (false, true) => format!("{} owns the database", server.role),
        _ => format!("{} is neither superuser nor owner of the database", server.role),
    };
    if server.superuser || server.owner {
        report.ok("role", found);
    } else {
        let advice = "fine for a dump of what it may read; large objects and grants of others may be missing";
        report.warn("role", found, advice);
    }
}

fn privileges(report: &mut DoctorReport, relations: &Relations) {
    if relations.unreadable.is_empty() {
        report.ok("privileges", format!("SELECT on all {} tables", relations.count));
    } else {
        report.fail(
            "privileges",
            ExitCode::Privileges as u8,
            format!("no SELECT on {}", relations.unreadable.join(", ")),
            "grant SELECT (or pg_read_all_data), or leave them out with -T",
        );
    }
    if relations.row_security.is_empty() {
        report.ok("row security", "no policy hides rows from this role");
    } else {
        report.fail(
            "row security",
            ExitCode::Privileges as u8,
            format!("policies would hide rows of {}", relations.row_security.join(", ")),
            "dump as the tables' owner, or as a role with BYPASSRLS; barkeep never takes a silent subset",
        );
    }
}

fn locks(report: &mut DoctorReport, server: &Server, relations: &Relations) {
    // max_locks_per_transaction is an average: the table has room for that many times all connections.
    let room = server.max_locks.saturating_mul(server.max_connections);
    let needed = relations.count as u64;
    if needed.saturating_mul(2) < room {
        report.ok("locks", format!("{needed} tables, room for {room} locks"));
    } else {
        report.warn(
            "locks",
            format!("{needed} tables to lock, room for {room} locks in the whole server"),
            "raise max_locks_per_transaction, or dump schema by schema with -n",
        );
    }
}

fn clocks(report: &mut DoctorReport, server: &Server, now: Timestamp) {
    let Some(theirs) = Timestamp::from_unix_micros(server.unix_micros) else { return };
    let seconds = (theirs.unix_micros() - now.unix_micros()) / 1_000_000;
    let found = format!("the server's clock differs by {seconds} s");
    if seconds.abs() <= CLOCK_TOLERANCE_SECONDS {
        report.ok("clock", found);
    } else {
        report.warn("clock", found, "set both clocks by NTP; the age of a backup is measured between them");
    }
}

async fn pg_dump(report: &mut DoctorReport, tools: &Search, server_major: u32) {
    match tools.pg_dump(server_major).await {
        Ok(found) => report.ok("pg_dump", format!("{} is version {}", found.name(), found.version().text)),
        Err(error) => report.fail(
            "pg_dump",
            ExitCode::Usage as u8,
            chain(&error),
            format!(
                "install the PostgreSQL {server_major} client, set tools.pg_dump, or dump with --data-only"
            ),
        ),
    }
}

fn vault(report: &mut DoctorReport, path: &Path) {
    match Vault::open(path) {
        Ok(vault) => report.ok("vault", format!("{} ({})", path.display(), vault.id())),
        Err(error) => {
            let error = OpsError::from(error);
            let advice = format!("`barkeep init --vault {}` makes one", path.display());
            return report.fail("vault", error.exit_code(), chain(&error), advice);
        }
    }
    let probe = path.join(format!("probe-{:08x}.part", rand::random::<u32>()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) => report.ok("vault write", "a file was written, synced and removed"),
        Err(error) => {
            let found = format!("cannot write into {}: {error}", path.display());
            report.fail("vault write", ExitCode::Storage as u8, found, "check owner, mode and mount options");
        }
    }
    match free_space(path) {
        Some(bytes) if bytes < LITTLE_SPACE => report.warn(
            "space",
            format!("{} MiB free", bytes >> 20),
            "make room before the dump: a full disk ends it with exit code 30",
        ),
        Some(bytes) => report.ok("space", format!("{} GiB free", bytes >> 30)),
        None => report.warn("space", "free space is not known", "`df` could not be asked"),
    }
}

#[cfg(test)]
mod tests;

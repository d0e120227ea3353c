//! `demo`: the whole way on a trading database nobody will miss, and proof that the proofs can fail: a changed row and a
//! flipped byte, planted on purpose, must both be caught.
//!
//! It runs the same operations as everybody else; it knows nothing that they do not say.

mod checks;
mod damage;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::compare::{CompareReport, CompareRequest, Side, TableVerdict, compare};
use super::dump::{DumpReport, DumpRequest, dump};
use super::restore::{RestoreRequest, restore};
use super::verify::{Level, VerifyRequest, verify};
use super::{OpsError, Services};
use crate::base::{BackupId, Event, TableName};
use crate::pg::ConnectionSettings;
use crate::pg::client_tools::Search;
use crate::pg::throwaway::{Throwaway, ThrowawayError, ThrowawayOptions};
use crate::pg::workbench::Workbench;
use crate::store::{BackupChoice, Vault};

const SCHEMA: &str = include_str!("../../fixtures/demo/schema.sql");
const DATA: &str = include_str!("../../fixtures/demo/data.sql");

/// The row that is changed in the copy: money is what people look at first.
const PLANTED: &str = "UPDATE public.accounts SET balance = balance + 0.01 WHERE id = 7";

/// What the demo needs.
#[derive(Debug, Clone)]
pub struct DemoRequest {
    /// Where the backups go; made if it is not there.
    pub vault: PathBuf,
    /// A server to use in place of a throw-away one.
    pub server: Option<ConnectionSettings>,
    /// Where to look for pg_dump.
    pub tools: Search,
    /// Lanes.
    pub jobs: usize,
}

/// What the demo showed.
#[derive(Debug, Clone, Serialize)]
pub struct DemoReport {
    /// Step by step.
    pub steps: Vec<DemoStep>,
    /// Every step went as it must.
    pub passed: bool,
    /// Where the backups are.
    pub vault: PathBuf,
    /// The first backup.
    pub backup: Option<BackupId>,
    /// From beginning to end.
    pub seconds: f64,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct DemoStep {
    /// In a word or two.
    pub name: &'static str,
    /// It went as it must (for planted damage: it was caught).
    pub ok: bool,
    /// What was seen.
    pub seen: String,
    /// How long it took.
    pub seconds: f64,
}

/// A server for the demo, and what its two databases are called.
struct Stage {
    /// Stops the server when it goes.
    _throwaway: Option<Throwaway>,
    server: ConnectionSettings,
    names: [&'static str; 2],
    what: String,
}

struct Demo<'a> {
    request: &'a DemoRequest,
    services: &'a Services,
    vault: Vault,
    source: ConnectionSettings,
    copy: ConnectionSettings,
    steps: Vec<DemoStep>,
}

/// Runs the demo. A step that does not go as it must ends in `passed: false`, not in an error.
pub async fn demo(request: &DemoRequest, services: &Services) -> Result<DemoReport, OpsError> {
    let began = Instant::now();
    services.events.emit(Event::Phase("server"));
    let vault = Vault::open_or_create(&request.vault, services.clock.now(), super::init::fresh_random())?;
    let stage = stage(request).await?;
    let admin = Workbench::connect(&stage.server).await?;
    refuse_existing(&admin, &stage).await?;
    admin.create_database(stage.names[0]).await?;
    let mut demo = Demo {
        request,
        services,
        vault,
        source: stage.server.with_database(stage.names[0]),
        copy: stage.server.with_database(stage.names[1]),
        steps: Vec::new(),
    };
    demo.step("server", began, true, stage.what.clone());
    let outcome = demo.all().await;
    if request.server.is_some() {
        // Somebody's server: leave it as it was found, also after a failure, which must not hide behind this.
        for name in stage.names {
            if let Err(error) = admin.drop_database(name).await {
                tracing::warn!(database = name, %error, "a database of the demo stays behind");
            }
        }
    }
    let backup = outcome?;
    Ok(DemoReport {
        passed: demo.steps.iter().all(|step| step.ok),
        steps: demo.steps,
        vault: request.vault.clone(),
        backup,
        seconds: began.elapsed().as_secs_f64(),
    })
}

async fn stage(request: &DemoRequest) -> Result<Stage, OpsError> {
    if let Some(server) = &request.server {
        return Ok(Stage {
            _throwaway: None,
            server: server.clone(),
            names: ["barkeep_demo", "barkeep_demo_restored"],
            what: server.describe(),
        });
    }
    let started = tokio::task::spawn_blocking(|| Throwaway::start(&ThrowawayOptions::default())).await;
    let throwaway = started
        .map_err(|_| OpsError::Internal("the thread that starts the server died".to_owned()))?
        .map_err(no_server)?;
    Ok(Stage {
        server: throwaway.settings("postgres"),
        names: ["trading", "trading_restored"],
        what: format!("throw-away PostgreSQL {} started", throwaway.version()),
        _throwaway: Some(throwaway),
    })
}

fn no_server(error: ThrowawayError) -> OpsError {
    let advice = match error {
        ThrowawayError::NoBinaries { .. } => "; install a PostgreSQL server, or give one with --server URL",
        _ => "",
    };
    OpsError::Usage(format!("{}{advice}", crate::base::chain(&error)))
}

async fn refuse_existing(admin: &Workbench, stage: &Stage) -> Result<(), OpsError> {
    let there = admin.databases().await?;
    match stage.names.iter().find(|name| there.iter().any(|other| other == *name)) {
        None => Ok(()),
        Some(name) => Err(OpsError::Usage(format!(
            "the database {name} is there already; the demo does not touch what it did not make: drop it, or use another server"
        ))),
    }
}

impl Demo<'_> {
    fn step(&mut self, name: &'static str, began: Instant, ok: bool, seen: String) {
        self.steps.push(DemoStep { name, ok, seen, seconds: began.elapsed().as_secs_f64() });
    }

    async fn all(&mut self) -> Result<Option<BackupId>, OpsError> {
        self.load().await?;
        let Some(id) = self.dump().await? else { return Ok(None) };
        self.verify(&id).await?;
        self.check(&id).await?;
        self.restore(&id).await?;
        self.compare(&id).await?;
        self.planted_row(&id).await?;
        self.planted_byte(&id).await?;
        self.dump_again().await?;
        Ok(Some(id))
    }

    async fn load(&mut self) -> Result<(), OpsError> {
        let began = Instant::now();
        self.services.events.emit(Event::Phase("load"));
        let bench = Workbench::connect(&self.source).await?;
        bench.run("making the demo's tables", SCHEMA).await?;
        bench.run("filling the demo's tables", DATA).await?;
        let sql = "SELECT count(*) FROM public.market_bars";
        let bars = bench.value("counting the bars", sql).await?.unwrap_or_default();
        let what =
            format!("a trading database with {bars} market bars, orders, trades, a ledger, an audit chain");
        self.step("load", began, true, what);
        Ok(())
    }

    fn dump_request(&self) -> DumpRequest {
        DumpRequest {
            jobs: self.request.jobs,
            pg_dump: self.request.tools.setting.clone(),
            path: self.request.tools.path.clone(),
            ..DumpRequest::new(self.source.clone())
        }
    }

    async fn dump(&mut self) -> Result<Option<BackupId>, OpsError> {
        let began = Instant::now();
        let request = DumpRequest { tag: Some("demo".to_owned()), ..self.dump_request() };
        let report = dump(&self.vault, &request, self.services).await?;
        self.step("dump", began, report.backup.is_some(), dumped(&report));
        Ok(report.backup)
    }

    async fn verify(&mut self, id: &BackupId) -> Result<(), OpsError> {
        let began = Instant::now();
        let request = VerifyRequest { choice: BackupChoice::named(id.as_str()), level: Level::Decode };
        let report = verify(&self.vault, &request, self.services).await?;
        let seen = match report.findings.first() {
            None => {
                format!("{} files hashed, {} rows decoded again: all as dumped", report.files, report.rows)
            }
            Some(finding) => format!("{}: {}", finding.path, finding.problem),
        };
        self.step("verify", began, report.findings.is_empty(), seen);
        Ok(())
    }

    async fn check(&mut self, id: &BackupId) -> Result<(), OpsError> {
        let began = Instant::now();
        let (sound, seen) = checks::of_backup(&self.vault, id, self.services).await?;
        self.step("check", began, sound, seen);
        Ok(())
    }

    async fn restore(&mut self, id: &BackupId) -> Result<(), OpsError> {
        let began = Instant::now();
        let choice = BackupChoice::named(id.as_str());
        let request = RestoreRequest {
            create: true,
            jobs: self.request.jobs,
            ..RestoreRequest::new(&self.vault, choice, self.copy.clone())
        };
        let report = restore(&request, self.services).await?;
        let rows: u64 = report.tables.iter().map(|table| table.rows).sum();
        let seen = format!("{rows} rows in {} tables into {}", report.tables.len(), self.copy.database);
        self.step("restore", began, report.violations.is_empty(), seen);
        Ok(())
    }

    async fn compared(&self, id: &BackupId) -> Result<CompareReport, OpsError> {
        let request = CompareRequest {
            choice: BackupChoice::named(id.as_str()),
            rows: true,
            ..CompareRequest::new(self.copy.clone())
        };
        compare(&self.vault, &request, self.services).await
    }

    async fn compare(&mut self, id: &BackupId) -> Result<(), OpsError> {
        let began = Instant::now();
        let report = self.compared(id).await?;
        let seen = match report.is_equal() {
            true => format!(
                "{} tables, {} rows: every one is the row that was dumped",
                report.tables.len(),
                report.rows
            ),
            false => format!("NOT EQUAL: {}", different(&report).join(", ")),
        };
        self.step("compare", began, report.is_equal(), seen);
        Ok(())
    }

    /// Negative control: one cent in one row of the copy.
    async fn planted_row(&mut self, id: &BackupId) -> Result<(), OpsError> {
        let began = Instant::now();
        Workbench::connect(&self.copy).await?.run("changing a row of the copy", PLANTED).await?;
        let report = self.compared(id).await?;
        let compared = is_exactly_the_planted_row(&report);
        let checked = checks::sees_the_cent(&self.copy, self.services).await?;
        let seen = match (compared, checked) {
            (true, true) => {
                "caught: public.accounts, the row id=7, and nothing else; its ledger gives it away, too"
                    .to_owned()
            }
            (true, false) => "NOT CAUGHT by the check of balances against the ledger".to_owned(),
            (false, _) => format!("NOT CAUGHT as it must be: {:?}", different(&report)),
        };
        self.step("a cent moved", began, compared && checked, seen);
        Ok(())
    }

    /// Negative control: one bit of the largest piece, in a copy of the vault.
    async fn planted_byte(&mut self, id: &BackupId) -> Result<(), OpsError> {
        let began = Instant::now();
        let folder = tempfile::tempdir()
            .map_err(|source| damage::failed("create", Path::new("a temporary folder"), source))?;
        let (copy, path) = damage::damaged_copy(&self.vault, id, folder.path())?;
        let request = VerifyRequest { choice: BackupChoice::named(id.as_str()), level: Level::Hash };
        let report = verify(&copy, &request, self.services).await?;
        let caught = matches!(report.findings.as_slice(), [finding] if finding.path == path);
        let found: Vec<&str> = report.findings.iter().map(|finding| finding.path.as_str()).collect();
        let name = path.rsplit("/tables/").next().unwrap_or(&path);
        let seen = match caught {
            true => format!("caught: {name}, and no other file"),
            false => format!("NOT CAUGHT as it must be: {name} was damaged, found: {found:?}"),
        };
        self.step("a bit flipped", began, caught, seen);
        Ok(())
    }

    /// Nothing has changed, so nothing is stored twice.
    async fn dump_again(&mut self) -> Result<(), OpsError> {
        let began = Instant::now();
        let report = dump(&self.vault, &self.dump_request(), self.services).await?;
        let (all, reused) = report
            .tables
            .iter()
            .fold((0, 0), |(all, reused), table| (all + table.pieces, reused + table.reused));
        let seen = format!("every row read again, {reused} of {all} pieces reused");
        self.step("dump again", began, all == reused, seen);
        Ok(())
    }
}

fn dumped(report: &DumpReport) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "{} rows of {} tables, {:.1} MiB of COPY data into {:.1} MiB of Parquet and schema",
        report.rows,
        report.tables.len(),
        mebibytes(report.bytes),
        mebibytes(report.stored)
    )
}

fn different(report: &CompareReport) -> Vec<String> {
    let tables = report.tables.iter().filter(|table| table.verdict != TableVerdict::Equal);
    tables.map(|table| table.table.to_string()).chain(report.sequences.iter().cloned()).collect()
}

/// One table differs, by one row on each side, and both are the row that was changed.
fn is_exactly_the_planted_row(report: &CompareReport) -> bool {
    let accounts = TableName::new("public", "accounts");
    let Some(table) = report.tables.iter().find(|table| table.table == accounts) else { return false };
    let sides: Vec<Side> = table.differences.iter().map(|row| row.side).collect();
    let planted = ("id".to_owned(), Some("7".to_owned()));
    different(report) == ["public.accounts"]
        && sides.len() == 2
        && sides.contains(&Side::OnlyInBackup)
        && sides.contains(&Side::OnlyInDatabase)
        && table.differences.iter().all(|row| row.columns.contains(&planted))
}

//! The steps of a drill, one after the other, each with its proof.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::control::{Control, deleted_row, flipped_byte};
use super::target::Provisioned;
use super::times::newest;
use super::{ComparedTable, DrillPhase, DrillReport, DrillRequest, Proof, SmokeOutcome};
use crate::base::{Event, TableName, chain};
use crate::checks::{Mapping, Verdict};
use crate::manifest::SealedManifest;
use crate::ops::check::{CheckReport, CheckRequest, CheckTarget, check};
use crate::ops::compare::{CompareRequest, TableComparison, TableVerdict, compare};
use crate::ops::restore::{RestoreReport, RestoreRequest, RolesMode, restore};
use crate::ops::verify::{Level, VerifyRequest, verify};
use crate::ops::{ExitCode, OpsError, Services};
use crate::pg::Probe;
use crate::pg::workbench::Workbench;
use crate::store::{BackupChoice, Vault};

/// Phases of a restore that applications need not wait for.
const AFTERWARDS: [&str; 2] = ["analyze", "materialized views"];

pub(super) struct Drill<'a> {
    vault: &'a Vault,
    sealed: &'a SealedManifest,
    request: &'a DrillRequest,
    services: &'a Services,
    place: &'a Provisioned,
    choice: BackupChoice,
    pub(super) report: DrillReport,
    /// What each failed proof would end the program with.
    codes: Vec<ExitCode>,
}

impl<'a> Drill<'a> {
    pub(super) fn new(
        vault: &'a Vault,
        sealed: &'a SealedManifest,
        request: &'a DrillRequest,
        services: &'a Services,
        place: &'a Provisioned,
        report: DrillReport,
    ) -> Self {
        let choice = BackupChoice::named(sealed.manifest.head.id.to_string());
        Self { vault, sealed, request, services, place, choice, report, codes: Vec::new() }
    }

    pub(super) fn phase(&mut self, name: &str, took: Duration, service: bool) {
        let (name, seconds) = (name.to_owned(), took.as_secs_f64());
        self.report.rto.phases.push(DrillPhase { name, seconds, rows: None, bytes: None, service });
    }

    fn prove(
        &mut self,
        (id, title, proves): (&'static str, &'static str, &'static str),
        verdict: Verdict,
        text: String,
        code: ExitCode,
    ) {
        if verdict > Verdict::Warn {
            self.codes.push(code);
        }
        self.report.proofs.push(Proof { id, title, verdict, text, proves });
    }

    /// Everything. An error is only what says that nothing can be said: no room, or stopped by a signal.
    pub(super) async fn all(&mut self) -> Result<(), OpsError> {
        self.limits_of_age();
        if self.files().await? && self.restored().await? {
            let equal = self.compared().await?;
            let mapping = self.checked().await;
            self.smoked().await;
            self.newest_rows(mapping.as_ref()).await;
            self.controls(&equal).await;
        }
        self.limits_of_time();
        self.not_proven();
        self.conclude();
        Ok(())
    }

    async fn files(&mut self) -> Result<bool, OpsError> {
        const WHAT: (&str, &str, &str) = (
            "files",
            "The stored files are what was written",
            "Every byte of every file in this backup has the digest that was noted when it was dumped.",
        );
        let began = Instant::now();
        let request = VerifyRequest { choice: self.choice.clone(), level: Level::Hash };
        let report = verify(self.vault, &request, self.services).await?;
        self.phase("verify files", began.elapsed(), false);
        let sound = report.findings.is_empty();
        let text = match report.findings.first() {
            None => format!("{} files, {} bytes, read from end to end.", report.files, report.bytes),
            Some(first) => format!(
                "{} of {} files are damaged: {} ({}).",
                report.findings.len(),
                report.files,
                first.path,
                first.problem
            ),
        };
        let verdict = if sound { Verdict::Pass } else { Verdict::Fail };
        self.prove(WHAT, verdict, text, ExitCode::Integrity);
        Ok(sound)
    }

    async fn restored(&mut self) -> Result<bool, OpsError> {
        const WHAT: (&str, &str, &str) = (
            "restore",
            "The backup restores",
            "A database can be made from this backup with nothing but barkeep and a PostgreSQL server.",
        );
        let began = Instant::now();
        let mut request = RestoreRequest::new(self.vault, self.choice.clone(), self.place.database.clone());
        request.create = !self.place.exists;
        request.jobs = self.request.jobs;
        // Owners and grantees belong to the production server; a drill's place has none of them.
        (request.roles, request.tablespaces) = (RolesMode::Create, false);
        match restore(&request, self.services).await {
            Ok(report) => {
                self.phases_of(&report);
                self.report
                    .warnings
                    .extend(report.warnings.iter().map(|text| format!("of the restore: {text}")));
                if let Err(error) = self.facts().await {
                    // Whether the database is still there is for the comparison to say.
                    self.report
                        .warnings
                        .push(format!("the target's versions are not known: {}", chain(&error)));
                }
                let tables = report.tables.len();
                let rows: u64 = report.tables.iter().map(|table| table.rows).sum();
                let text = format!(
                    "{rows} rows of {tables} tables, schema, indexes and constraints, in {:.1} s.",
                    report.seconds
                );
                let verdict = if report.warnings.is_empty() { Verdict::Pass } else { Verdict::Warn };
                self.prove(WHAT, verdict, text, ExitCode::Restore);
                self.violated(&report);
                self.report.compare.tables = compared_tables(&report);
                Ok(true)
            }
            // Nothing is known about the backup where there is no room, or somebody stops the drill.
            Err(OpsError::NoSpace(text)) => {
                Err(OpsError::Unavailable(format!("no room for a restore: {text}")))
            }
            Err(error @ OpsError::Interrupted(_)) => Err(error),
            Err(error) => {
                self.phase("restore", began.elapsed(), true);
                let code = match error.exit_code() {
                    40 => ExitCode::Integrity,
                    _ => ExitCode::Restore,
                };
                self.prove(WHAT, Verdict::Fail, format!("It failed: {}.", chain(&error)), code);
                Ok(false)
            }
        }
    }

    /// Constraints that the rows violate: the source was corrupt when it was dumped.
    fn violated(&mut self, report: &RestoreReport) {
        const WHAT: (&str, &str, &str) = (
            "constraints",
            "The rows keep the rules of their database",
            "Every key, foreign key and check constraint of the source holds for the restored rows.",
        );
        let Some(first) = report.violations.first() else {
            return self.prove(
                WHAT,
                Verdict::Pass,
                "All constraints were built and validated.".to_owned(),
                ExitCode::Checks,
            );
        };
        let text = format!(
            "{} constraints are violated by rows as they were in the source: {}{}.",
            report.violations.len(),
            first.constraint,
            first.rows.map(|rows| format!(" ({rows} rows)")).unwrap_or_default()
        );
        self.prove(WHAT, Verdict::Fail, text, ExitCode::Checks);
    }

    fn phases_of(&mut self, report: &RestoreReport) {
        let rows = report.tables.iter().map(|table| table.rows).sum();
        let bytes = report.tables.iter().map(|table| table.bytes).sum();
        for phase in &report.phases {
            let data = phase.name == "data";
            self.report.rto.phases.push(DrillPhase {
                name: format!("restore: {}", phase.name),
                seconds: phase.seconds,
                rows: data.then_some(rows),
                bytes: data.then_some(bytes),
                service: !AFTERWARDS.contains(&phase.name),
            });
        }
        let waited = self.report.rto.phases.iter().filter(|phase| phase.service);
        self.report.rto.service_seconds = Some(waited.map(|phase| phase.seconds).sum());
    }

    /// What the place turned out to be.
    async fn facts(&mut self) -> Result<(), OpsError> {
        let probe = Probe::connect(&self.place.database).await?;
        self.report.target.server_version = probe.facts().await?.server_version;
        let sql = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'";
        let extension = probe.ask("asking for TimescaleDB", sql).await?;
        self.report.target.timescaledb = extension.rows.into_iter().next().and_then(|mut row| row.pop()?);
        Ok(())
    }

    /// Compares every table; gives those that are equal.
    async fn compared(&mut self) -> Result<Vec<TableName>, OpsError> {
        const WHAT: (&str, &str, &str) = (
            "compare",
            "The restored rows are the dumped rows",
            "Every row of every table in the restored database is, bit by bit, one that was read from the source, and none is missing.",
        );
        let began = Instant::now();
        let mut request = CompareRequest::new(self.place.database.clone());
        request.choice = self.choice.clone();
        let report = match compare(self.vault, &request, self.services).await {
            Ok(report) => report,
            Err(error @ OpsError::Interrupted(_)) => return Err(error),
            Err(error) => {
                self.phase("compare", began.elapsed(), false);
                let text = format!("It could not be compared: {}.", chain(&error));
                self.prove(WHAT, Verdict::Error, text, code_of(&error, ExitCode::Integrity));
                return Ok(Vec::new());
            }
        };
        self.phase("compare", began.elapsed(), false);
        for table in &report.tables {
            self.note_comparison(table);
        }
        let equal: Vec<TableName> = report
            .tables
            .iter()
            .filter(|table| table.verdict == TableVerdict::Equal)
            .map(|table| table.table.clone())
            .collect();
        let text = match report.is_equal() {
            true => format!("{} rows of {} tables have equal digests.", report.rows, equal.len()),
            false => format!(
                "{} of {} tables are not equal{}.",
                report.tables.len() - equal.len(),
                report.tables.len(),
                if report.sequences.is_empty() { "" } else { ", and sequences stand elsewhere" }
            ),
        };
        let verdict = if report.is_equal() { Verdict::Pass } else { Verdict::Fail };
        self.prove(WHAT, verdict, text, ExitCode::Integrity);
        Ok(equal)
    }

    fn note_comparison(&mut self, found: &TableComparison) {
        let compared = &mut self.report.compare;
        let (verdict, note) = match &found.verdict {
            TableVerdict::Equal => ("equal", None),
            TableVerdict::Different => ("different", None),
            TableVerdict::Missing(why) => ("not compared", Some(why.clone())),
        };
        match verdict {
            "equal" => compared.equal += 1,
            "different" => compared.different += 1,
            _ => compared.not_compared += 1,
        }
        let name = found.table.to_string();
        if compared.tables.iter().all(|table| table.table != name) {
            compared.tables.push(ComparedTable {
                table: name.clone(),
                rows: found.expected.rows,
                bytes: 0,
                verdict,
                restored_rows: None,
                seconds: 0.0,
                note: None,
            });
        }
        if let Some(table) = compared.tables.iter_mut().find(|table| table.table == name) {
            (table.verdict, table.note) = (verdict, note);
            table.restored_rows = found.found.map(|digest| digest.rows);
        }
    }

    fn questions(&self, target: CheckTarget) -> CheckRequest {
        CheckRequest {
            packs: self.request.packs.clone(),
            settings: self.request.checks.clone(),
            calendars: self.request.calendars.clone(),
            now: Some(self.sealed.manifest.head.snapshot_time),
            charts: true,
            ..CheckRequest::new(target)
        }
    }

    /// Runs the checks on the restored database, and on the files; both must give the same findings.
    async fn checked(&mut self) -> Option<Mapping> {
        const WHAT: (&str, &str, &str) = (
            "checks",
            "The data is right",
            "The questions listed under Checks were asked of the restored rows, with the time of the backup as now.",
        );
        let began = Instant::now();
        let restored = check(&self.questions(self.place.database.clone().into()), self.services).await;
        self.phase("checks", began.elapsed(), false);
        let report = match restored {
            Ok(report) => report,
            Err(OpsError::Usage(why)) => {
                self.report.not_proven.push(format!("That the data is right: {why}"));
                self.prove(WHAT, Verdict::Skipped, why, ExitCode::Checks);
                return None;
            }
            Err(error) => {
                let text = format!("They could not be asked: {}.", chain(&error));
                self.prove(WHAT, Verdict::Error, text, code_of(&error, ExitCode::Checks));
                return None;
            }
        };
        let count = |verdict| report.count(verdict);
        let text = format!(
            "{} passed, {} warned, {} failed, {} could not be answered, {} do not apply.",
            count(Verdict::Pass),
            count(Verdict::Warn),
            count(Verdict::Fail),
            count(Verdict::Error),
            count(Verdict::Skipped)
        );
        self.prove(WHAT, report.verdict(), text, ExitCode::Checks);
        self.agreed(&report).await;
        let command = format!("barkeep check {}", self.sealed.manifest.head.id);
        self.report.checks = report.document(&command, self.services.clock.now()).ok();
        Some(report.mapping)
    }

    /// The files answer as the restored database does, or one of them is not what was dumped.
    async fn agreed(&mut self, restored: &CheckReport) {
        const WHAT: (&str, &str, &str) = (
            "same answers",
            "Files and restored database answer alike",
            "The same questions have the same answers on the files of the backup, read without a server.",
        );
        if cfg!(not(feature = "query")) {
            return;
        }
        let began = Instant::now();
        let target = CheckTarget::Backup(self.vault.clone(), self.choice.clone());
        let files = check(&self.questions(target), self.services).await;
        self.phase("checks on files", began.elapsed(), false);
        let files = match files {
            Ok(report) => report,
            Err(error) => {
                let text = format!("The files could not be asked: {}.", chain(&error));
                return self.prove(WHAT, Verdict::Error, text, ExitCode::Integrity);
            }
        };
        let answers = |report: &CheckReport| -> BTreeMap<(String, Option<String>), (Verdict, u64)> {
            let all = report.checks.iter().filter(|check| check.verdict != Verdict::Skipped);
            all.map(|check| ((check.id.clone(), check.object.clone()), (check.verdict, check.findings)))
                .collect()
        };
        let (one, other) = (answers(restored), answers(&files));
        // Some can be asked of one of them only: two backups, or what is not in rows.
        let both = one.iter().filter_map(|(id, answer)| Some((id, answer, other.get(id)?)));
        let unlike: Vec<&str> =
            both.clone().filter(|(_, a, b)| a != b).map(|((id, _), _, _)| id.as_str()).collect();
        match unlike.is_empty() {
            true => self.prove(
                WHAT,
                Verdict::Pass,
                format!("{} checks, asked of both.", both.count()),
                ExitCode::Integrity,
            ),
            false => {
                let text = format!("These differ: {}.", unlike.join(", "));
                self.prove(WHAT, Verdict::Fail, text, ExitCode::Integrity);
            }
        }
    }

    async fn smoked(&mut self) {
        const WHAT: (&str, &str, &str) = (
            "smoke",
            "The operator's own questions have the expected answers",
            "What the operator wants to know of every restored copy is as it should be.",
        );
        let began = Instant::now();
        for smoke in &self.request.smoke {
            let asked = async {
                let bench = Workbench::connect(&self.place.database).await?;
                bench.run("making the session read-only", "SET default_transaction_read_only = on").await?;
                bench.value(&format!("asking {:?}", smoke.name), &smoke.sql).await
            };
            let (got, verdict) = match asked.await {
                Ok(got) if got.as_deref() == Some(smoke.expect.as_str()) => (got, Verdict::Pass),
                Ok(got) => (got, Verdict::Fail),
                Err(error) => (Some(chain(&error)), Verdict::Error),
            };
            let (name, sql, expected) = (smoke.name.clone(), smoke.sql.clone(), smoke.expect.clone());
            self.report.smoke.push(SmokeOutcome { name, sql, expected, got, verdict });
        }
        if self.request.smoke.is_empty() {
            return;
        }
        self.phase("smoke", began.elapsed(), false);
        let failed = self.report.smoke.iter().filter(|smoke| smoke.verdict != Verdict::Pass).count();
        let text = format!("{} asked, {failed} not as expected.", self.report.smoke.len());
        let worst = self.report.smoke.iter().map(|smoke| smoke.verdict).max().unwrap_or(Verdict::Pass);
        self.prove(WHAT, worst, text, ExitCode::Checks);
    }

    async fn newest_rows(&mut self, mapping: Option<&Mapping>) {
        let Some(mapping) = mapping else { return };
        let asked = async {
            let bench = Workbench::connect(&self.place.database).await?;
            newest(&bench, mapping, self.sealed.manifest.head.snapshot_time).await
        };
        match asked.await {
            Ok(found) => self.report.rpo.newest = found,
            Err(error) => self
                .report
                .warnings
                .push(format!("the newest rows could not be asked for: {}", chain(&error))),
        }
    }

    async fn controls(&mut self, equal: &[TableName]) {
        const FILE: (&str, &str, &str) = (
            "control-file",
            "A damaged file is noticed",
            "The check of files can fail: one bit that was flipped on purpose, in a copy, was caught.",
        );
        const ROW: (&str, &str, &str) = (
            "control-row",
            "A lost row is noticed",
            "The comparison of rows can fail: one row that was deleted on purpose, in the restored copy, was caught.",
        );
        self.services.events.emit(Event::Phase("negative control"));
        let began = Instant::now();
        let manifest = &self.sealed.manifest;
        let file = flipped_byte(self.vault, manifest);
        let row = deleted_row(self.vault, manifest, &self.place.database, equal, self.services).await;
        self.phase("negative control", began.elapsed(), false);
        for (what, outcome) in [(FILE, file), (ROW, row)] {
            let mut code = ExitCode::Integrity;
            let (verdict, text) = match outcome {
                Ok(Control::Caught(text)) => (Verdict::Pass, text),
                Ok(Control::Missed(text)) => (Verdict::Fail, text),
                Ok(Control::Nothing(why)) => (Verdict::Skipped, format!("Not done: {why}.")),
                Err(error) => {
                    code = code_of(&error, code);
                    (Verdict::Error, format!("It could not be done: {}.", chain(&error)))
                }
            };
            self.prove(what, verdict, text, code);
        }
        if self.request.keep {
            let text = "the kept database lacks the row that the negative control deleted";
            self.report.warnings.push(text.to_owned());
        }
    }

    fn limits_of_age(&mut self) {
        const WHAT: (&str, &str, &str) = (
            "rpo",
            "The backup is young enough",
            "If the source had been lost when the drill began, no more than this would be gone.",
        );
        let rpo = &self.report.rpo;
        let (Some(measured), Some(limit)) = (rpo.measured_seconds, rpo.limit_seconds) else { return };
        let text = format!("Its snapshot is {measured:.0} s old, and {limit} s are allowed.");
        self.prove(WHAT, self.report.rpo.verdict, text, ExitCode::Limits);
    }

    fn limits_of_time(&mut self) {
        const WHAT: (&str, &str, &str) = (
            "rto",
            "It is back in time",
            "On a machine like this one, applications would wait no longer than this.",
        );
        let (Some(measured), Some(limit)) = (self.report.rto.service_seconds, self.request.rto) else {
            return;
        };
        let verdict = if measured <= limit.as_secs_f64() { Verdict::Pass } else { Verdict::Fail };
        self.report.rto.verdict = verdict;
        let text = format!(
            "It took {measured:.1} s until applications could use it, and {} s are allowed.",
            limit.as_secs()
        );
        self.prove(WHAT, verdict, text, ExitCode::Limits);
    }

    /// What stays open after every drill, and after this one.
    fn not_proven(&mut self) {
        let body = &self.sealed.manifest.body;
        let said = &mut self.report.not_proven;
        said.push(
            "That the production machine is as fast as this one: times are of the place named above."
                .to_owned(),
        );
        said.push("What was written to the source after the snapshot.".to_owned());
        said.push("That the source was right when it was dumped, beyond the checks listed here.".to_owned());
        if self.request.smoke.is_empty() {
            said.push("Anything of the applications' own: no [[drill.smoke]] is configured.".to_owned());
        }
        if !body.consistent {
            said.push("That all rows are of one moment: some were read under a later snapshot, the warnings say which.".to_owned());
        }
        if body.timescale.is_some() {
            said.push("That policies and jobs of TimescaleDB run: a drill restores them paused.".to_owned());
        }
        if let (None, None) = (self.request.rto, self.request.rpo) {
            said.push("That it is fast or fresh enough: no limits are set (--rto, --rpo).".to_owned());
        }
    }

    fn conclude(&mut self) {
        let worst = self.report.proofs.iter().map(|proof| proof.verdict).max().unwrap_or(Verdict::Error);
        // A proof that did not apply makes nothing worse.
        let worst = if worst == Verdict::Skipped { Verdict::Pass } else { worst };
        // The restore itself counts before what was restored, and that before how fast it was.
        let order = [ExitCode::Restore, ExitCode::Integrity, ExitCode::Checks, ExitCode::Limits];
        let code = order.into_iter().find(|code| self.codes.contains(code)).unwrap_or(ExitCode::Ok);
        (self.report.verdict, self.report.exit_code) = (worst, code as u8);
        self.report.verdict_text = match code {
            ExitCode::Restore => "The backup could not be restored.",
            ExitCode::Integrity => "What came back is not what was dumped, or a proof of it failed.",
            ExitCode::Checks => {
                "The backup was restored and is what was dumped; the data in it is not right."
            }
            ExitCode::Limits => {
                "The backup was restored and is what was dumped; it is too old or was too slow."
            }
            _ => "The backup was restored, and is what was dumped.",
        }
        .to_owned();
    }
}

/// A place that went away says nothing about rows: the restored database could not be looked at.
fn code_of(error: &OpsError, otherwise: ExitCode) -> ExitCode {
    let gone = error.is_connection_lost() || error.exit_code() == ExitCode::Connect as u8;
    if gone { ExitCode::Restore } else { otherwise }
}

/// What a restore tells of its tables, until they are compared.
fn compared_tables(report: &RestoreReport) -> Vec<ComparedTable> {
    let table = |table: &crate::ops::restore::RestoredTable| ComparedTable {
        table: table.name.to_string(),
        rows: table.rows,
        bytes: table.stored,
        verdict: "not compared",
        restored_rows: None,
        seconds: table.seconds,
        note: None,
    };
    report.tables.iter().map(table).collect()
}

//! `drill`: the restore test with a verdict. A backup is picked, restored into a place of its own, compared row by row,
//! asked whether its data is right; damage is planted and must be caught; and it is measured how long one would wait and how
//! much would be lost.
//!
//! It runs the operations that everybody runs. What goes wrong becomes a proof that did not hold, so that there is always a
//! report; an error is only what keeps a drill from beginning.

mod control;
mod pick;
mod report;
mod steps;
mod target;
mod times;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use self::steps::Drill;
use self::target::Provisioned;
use super::check::CheckSettings;
use super::{ExitCode, OpsError, Services};
use crate::base::{Event, Timestamp};
use crate::checks::{Calendar, Verdict};
use crate::manifest::SealedManifest;
use crate::pg::ConnectionSettings;
use crate::store::{BackupChoice, Vault};

pub use pick::Policy;
pub use report::*;

/// Where a drill restores to.
#[derive(Debug, Clone)]
pub enum DrillTarget {
    /// A server that is started for it, from binaries of this machine.
    Embedded,
    /// A container of this image.
    Container(String),
    /// A database that is empty or does not exist.
    Scratch(ConnectionSettings),
}

/// `[[drill.smoke]]`: a question of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smoke {
    /// Its name.
    pub name: String,
    /// A query whose first value counts.
    pub sql: String,
    /// That value, as text.
    pub expect: String,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct DrillRequest {
    /// Which backup.
    pub policy: Policy,
    /// Where to.
    pub target: DrillTarget,
    /// It may be the server that the backup came from.
    pub allow_source_server: bool,
    /// Leave the restored database, to look at it.
    pub keep: bool,
    /// How long applications may wait.
    pub rto: Option<Duration>,
    /// How much may be lost.
    pub rpo: Option<Duration>,
    /// Connections that load and build.
    pub jobs: usize,
    /// Checks, as for `check`.
    pub checks: CheckSettings,
    /// Only these packs; none: all.
    pub packs: Vec<String>,
    /// Calendars of one's own.
    pub calendars: BTreeMap<String, Calendar>,
    /// The operator's own questions.
    pub smoke: Vec<Smoke>,
    /// What was said beside the backup's name, for whoever wants to say it again.
    pub arguments: String,
}

impl DrillRequest {
    /// The latest backup on a server of its own, all checks, no limits.
    pub fn new() -> Self {
        Self {
            policy: Policy::Named(BackupChoice::latest()),
            target: DrillTarget::Embedded,
            allow_source_server: false,
            keep: false,
            rto: None,
            rpo: None,
            jobs: 2,
            checks: CheckSettings::default(),
            packs: Vec::new(),
            calendars: BTreeMap::new(),
            smoke: Vec::new(),
            arguments: String::new(),
        }
    }
}

impl Default for DrillRequest {
    fn default() -> Self {
        Self::new()
    }
}

/// Drills. The report is also appended to the backup's attestations.
pub async fn drill(
    vault: &Vault,
    request: &DrillRequest,
    services: &Services,
) -> Result<DrillReport, OpsError> {
    let (began, started) = (Instant::now(), services.clock.now());
    let sealed = request.policy.pick(vault)?;
    super::verify::rowset_key(vault, &sealed.manifest)?;
    services.events.emit(Event::Phase("provision"));
    let source = sealed.manifest.body.source.system_identifier.as_deref();
    let place = Provisioned::make(&request.target, source, request.allow_source_server, started).await?;
    let provisioned = began.elapsed();
    let report = blank(request, &sealed, &place, started);
    let mut drill = Drill::new(vault, &sealed, request, services, &place, report);
    drill.phase("provision", provisioned, true);
    drill.all().await?;
    let mut report = drill.report;
    if request.keep {
        report.target.kept = true;
        report.warnings.push(format!("kept: {}", place.keep()));
    } else {
        let removing = Instant::now();
        // It blocks: a server is stopped, a database dropped.
        tokio::task::block_in_place(|| drop(place));
        let seconds = removing.elapsed().as_secs_f64();
        let name = "teardown".to_owned();
        report.rto.phases.push(DrillPhase { name, seconds, rows: None, bytes: None, service: false });
    }
    report.seconds = began.elapsed().as_secs_f64();
    report.rto.total_seconds = report.seconds;
    report.finished = services.clock.now();
    let attestation = serde_json::json!({
        "level": "drill", "root": report.backup.root, "verdict": report.verdict, "exit_code": report.exit_code,
        "proofs": report.proofs.iter().map(|proof| (proof.id, proof.verdict)).collect::<BTreeMap<_, _>>(),
        "target": report.target.kind, "server": report.target.server_version, "seconds": report.seconds,
        "rto_seconds": report.rto.service_seconds, "rpo_seconds": report.rpo.measured_seconds,
        "barkeep": report.barkeep,
    });
    vault.attest(&sealed.manifest.head.id, services.clock.now(), "drill", &attestation)?;
    Ok(report)
}

/// A report of nothing yet.
fn blank(
    request: &DrillRequest,
    sealed: &SealedManifest,
    place: &Provisioned,
    started: Timestamp,
) -> DrillReport {
    let (head, body) = (&sealed.manifest.head, &sealed.manifest.body);
    let warnings = body.warnings.iter().map(|warning| format!("of the backup: {}", warning.message));
    DrillReport {
        barkeep: env!("CARGO_PKG_VERSION"),
        verdict: Verdict::Error,
        exit_code: ExitCode::Internal as u8,
        verdict_text: String::new(),
        command: format!("barkeep drill {} {}", head.id, request.arguments).trim_end().to_owned(),
        started,
        finished: started,
        seconds: 0.0,
        host: times::host(),
        backup: DrilledBackup {
            id: head.id.clone(),
            root: sealed.root,
            taken: head.snapshot_time,
            policy: request.policy.word(),
            database: body.source.database.clone(),
            server_version: body.source.server_version.clone(),
            timescaledb: body.timescale.as_ref().map(|timescale| timescale.version.clone()),
            tables: body.tables.len(),
            rows: sealed.manifest.rows(),
            bytes: sealed.manifest.stored_bytes(),
            age_seconds: times::between(head.snapshot_time, started),
            tags: body.tag.iter().cloned().collect(),
        },
        target: DrilledTarget {
            kind: place.kind,
            server_version: String::new(),
            timescaledb: None,
            note: place.note.clone(),
            database: place.database.database.clone(),
            kept: false,
        },
        proofs: Vec::new(),
        not_proven: Vec::new(),
        rpo: times::rpo(head.snapshot_time, started, request.rpo),
        rto: Rto {
            service_seconds: None,
            total_seconds: 0.0,
            limit_seconds: request.rto.map(|limit| limit.as_secs()),
            verdict: Verdict::Skipped,
            phases: Vec::new(),
        },
        compare: Compared::default(),
        checks: None,
        smoke: Vec::new(),
        warnings: warnings.collect(),
        omitted: body.omitted.iter().map(|omission| format!("{}: {}", omission.what, omission.why)).collect(),
    }
}

//! `check`: is the data in a database right? Every check of the packs is asked under one snapshot; answers are bad rows.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::list::chain;
use super::{OpsError, Services};
use crate::base::{Event, Timestamp, quote_ident};
use crate::checks::{
    Calendar, Check, ColumnSort, Kind, Mapping, MappingError, Pack, QuestionError, Role, RoleSettings,
    Severity, Threshold, Times, Verdict, judge, packs, question, roles,
};
use crate::pg::workbench::{TextRow, TextTable};
use crate::pg::{ConnectionSettings, PgError, Probe};

mod sessions;

/// `[checks]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    /// Tables and columns, by role.
    #[serde(default)]
    pub map: BTreeMap<String, RoleSettings>,
    /// By a check's id.
    #[serde(default, rename = "override")]
    pub overrides: BTreeMap<String, Override>,
    /// How long one check may take: `5min`, as PostgreSQL spells it.
    pub timeout: Option<String>,
}

/// `[checks.override.T1]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Instead of the check's own.
    pub severity: Option<Severity>,
    /// From how many findings on it warns.
    pub warn_if: Option<Threshold>,
    /// From how many findings on it fails.
    pub error_if: Option<Threshold>,
    /// Parameters, by name.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// It is not asked.
    #[serde(default)]
    pub off: bool,
}

/// What to check.
#[derive(Debug, Clone)]
pub struct CheckRequest {
    /// Which database.
    pub database: ConnectionSettings,
    /// Only these packs; none: all.
    pub packs: Vec<String>,
    /// Only these checks, by id or name; none: all.
    pub only: Vec<String>,
    /// Findings shown of each check.
    pub sample: u64,
    /// What the configuration says.
    pub settings: CheckSettings,
    /// Only say what is mapped to what.
    pub explain: bool,
    /// Calendars of one's own, by name.
    pub calendars: BTreeMap<String, Calendar>,
    /// Another "now" than the time of the snapshot: for data that ends at a known time.
    pub now: Option<Timestamp>,
}

impl CheckRequest {
    /// All checks, by recognised names.
    pub fn new(database: ConnectionSettings) -> Self {
        let settings = CheckSettings::default();
        Self {
            database,
            packs: Vec::new(),
            only: Vec::new(),
            sample: 20,
            settings,
            explain: false,
            calendars: BTreeMap::new(),
            now: None,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The database.
    pub database: String,
    /// "Now" to every check: the time of the snapshot.
    pub snapshot_time: Timestamp,
    /// What plays which role.
    pub mapping: Mapping,
    /// The checks, in the order of the packs.
    pub checks: Vec<CheckOutcome>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct CheckOutcome {
    /// `T1`.
    pub id: String,
    /// Its pack.
    pub pack: &'static str,
    /// `filled-without-trade`.
    pub name: String,
    /// What was asked.
    pub question: String,
    /// What a finding means.
    pub why: String,
    /// How bad one is.
    pub severity: Severity,
    /// What came of it.
    pub verdict: Verdict,
    /// Why it was skipped, or what went wrong.
    pub note: Option<String>,
    /// Bad rows in all.
    pub findings: u64,
    /// Rows looked at.
    pub scanned: u64,
    /// Names of a finding's columns; those of its key come first.
    pub columns: Vec<String>,
    /// The first findings by key.
    pub sample: Vec<TextRow>,
    /// How long it took.
    pub seconds: f64,
}

impl CheckReport {
    /// How many checks have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// No check failed or could not be answered.
    pub fn is_sound(&self) -> bool {
        self.count(Verdict::Fail) == 0 && self.count(Verdict::Error) == 0
    }
}

/// Runs checks on a database.
pub async fn check(request: &CheckRequest, services: &Services) -> Result<CheckReport, OpsError> {
    let began = Instant::now();
    let internal = |error: crate::checks::DefinitionError| OpsError::Internal(error.to_string());
    let (packs, roles) = (packs().map_err(internal)?, roles().map_err(internal)?);
    let chosen = choose(&packs, request)?;
    services.events.emit(Event::Phase("mapping"));
    let probe = Probe::connect(&request.database).await?;
    let facts = probe.facts().await?;
    let snapshot_time = match request.now {
        Some(now) => now,
        None => probe.time().await?,
    };
    let survey = probe.survey().await?;
    let all: Vec<&Check> = packs.iter().flat_map(|pack| &pack.checks).collect();
    let mapping = Mapping::find(&roles, &all, &survey.relations, &request.settings.map).map_err(usage)?;
    let asked: Vec<&Check> = chosen.iter().map(|(_, check)| *check).collect();
    let times = sessions::times(request, &asked, &mapping, &probe, snapshot_time).await?;
    let run = Run { request, roles: &roles, mapping: &mapping, probe: &probe, times };
    services.events.emit(Event::Phase("checks"));
    let mut checks = Vec::new();
    if !request.explain {
        run.limit_time().await?;
        for (pack, check) in &chosen {
            checks.push(run.ask(pack.name, check).await?);
        }
        if checks.iter().all(|check| check.verdict == Verdict::Skipped) {
            return Err(nothing_to_check(&checks));
        }
    }
    let warnings = money_as_float(&mapping, &roles);
    let seconds = began.elapsed().as_secs_f64();
    Ok(CheckReport { database: facts.database, snapshot_time, mapping, checks, warnings, seconds })
}

fn usage(error: MappingError) -> OpsError {
    OpsError::Usage(error.to_string())
}

/// A green report about nothing would be the worst of all.
fn nothing_to_check(checks: &[CheckOutcome]) -> OpsError {
    let why = checks.iter().find_map(|check| Some(format!("{}: {}", check.id, check.note.as_ref()?)));
    OpsError::Usage(format!(
        "no check could be asked ({}); `barkeep check --explain` shows what is recognised, and [checks.map] in barkeep.toml \
         names tables and columns",
        why.unwrap_or_else(|| "none is left".to_owned())
    ))
}

/// Whether a check is meant: by id or name.
fn is(check: &Check, wanted: &str) -> bool {
    check.id.eq_ignore_ascii_case(wanted) || check.name == wanted
}

/// The checks that are asked for. A name that fits nothing is a mistake.
fn choose<'a>(packs: &'a [Pack], request: &CheckRequest) -> Result<Vec<(&'a Pack, &'a Check)>, OpsError> {
    let all = || packs.iter().flat_map(|pack| pack.checks.iter().map(move |check| (pack, check)));
    if let Some(unknown) = request.packs.iter().find(|name| packs.iter().all(|pack| pack.name != **name)) {
        let known = packs.iter().map(|pack| pack.name).collect::<Vec<_>>().join(", ");
        return Err(OpsError::Usage(format!("there is no pack {unknown:?}; packs are {known}")));
    }
    let written = request.only.iter().chain(request.settings.overrides.keys());
    if let Some(unknown) = written.clone().find(|name| !all().any(|(_, check)| is(check, name))) {
        return Err(OpsError::Usage(format!("there is no check {unknown:?}; `docs/checks.md` lists them")));
    }
    for (name, set) in &request.settings.overrides {
        let known =
            |param: &String| all().any(|(_, check)| is(check, name) && check.params.contains_key(param));
        if let Some(unknown) = set.params.keys().find(|param| !known(param)) {
            return Err(OpsError::Usage(format!("[checks.override.{name}] params: there is no {unknown:?}")));
        }
    }
    let wanted = |(pack, check): &(&Pack, &Check)| {
        (request.packs.is_empty() || request.packs.iter().any(|name| name == pack.name))
            && (request.only.is_empty() || request.only.iter().any(|name| is(check, name)))
    };
    Ok(all().filter(wanted).collect())
}

/// Doubles lose cents; a check of them can only be about right.
fn money_as_float(mapping: &Mapping, roles: &BTreeMap<String, Role>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, mapped) in &mapping.roles {
        for (column, found) in &mapped.columns {
            let amount = roles.get(name).and_then(|role| role.columns.get(column)).map(|known| known.kind);
            if found.sort == ColumnSort::Float && amount == Some(Kind::Amount) {
                warnings.push(format!(
                    "{}.{} ({name}.{column}) is a {}: amounts in floating point are not exact, and sums of them need a tolerance",
                    mapped.table, found.name, found.type_sql
                ));
            }
        }
    }
    warnings
}

struct Run<'a> {
    request: &'a CheckRequest,
    roles: &'a BTreeMap<String, Role>,
    mapping: &'a Mapping,
    probe: &'a Probe,
    times: Times,
}

impl Run<'_> {
    async fn limit_time(&self) -> Result<(), OpsError> {
        if let Some(timeout) = &self.request.settings.timeout {
            let sql = format!("SET LOCAL statement_timeout = {}", crate::base::quote_literal(timeout));
            self.probe.ask("setting the timeout of checks", &sql).await?;
        }
        Ok(())
    }

    async fn ask(&self, pack: &'static str, check: &Check) -> Result<CheckOutcome, OpsError> {
        let began = Instant::now();
        let none = Override::default();
        let mut overrides = self.request.settings.overrides.iter();
        let settings = overrides.find(|(name, _)| is(check, name)).map_or(&none, |(_, settings)| settings);
        let severity = settings.severity.unwrap_or(check.severity);
        let mut outcome = CheckOutcome {
            id: check.id.clone(),
            pack,
            name: check.name.clone(),
            question: check.question.clone(),
            why: check.why.clone(),
            severity,
            verdict: Verdict::Skipped,
            note: None,
            findings: 0,
            scanned: 0,
            columns: Vec::new(),
            sample: Vec::new(),
            seconds: 0.0,
        };
        if settings.off {
            outcome.note = Some("switched off in the configuration".to_owned());
            return Ok(outcome);
        }
        match question(check, self.roles, self.mapping, &settings.params, &self.times) {
            Ok(question) => {
                self.answer(check, &question.sql, &question.scanned, &mut outcome).await?;
                if outcome.verdict != Verdict::Error {
                    let (findings, scanned) = (outcome.findings, outcome.scanned);
                    outcome.verdict = judge(findings, scanned, severity, settings.warn_if, settings.error_if);
                }
            }
            Err(error @ QuestionError::Word(_)) => {
                return Err(OpsError::Internal(format!("{}: {error}", check.id)));
            }
            Err(error) => outcome.note = Some(error.to_string()),
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        Ok(outcome)
    }

    /// Asks the server. A check that it refuses is an error of that check only.
    async fn answer(
        &self,
        check: &Check,
        sql: &str,
        scanned: &str,
        outcome: &mut CheckOutcome,
    ) -> Result<(), OpsError> {
        self.probe.mark().await?;
        let order: Vec<String> =
            check.key.iter().map(|column| format!("f.{}", quote_ident(column))).collect();
        let sql = format!(
            "SELECT f.*, count(*) OVER () AS barkeep_findings FROM ({}) AS f ORDER BY {} LIMIT {}",
            sql.trim_end(),
            order.join(", "),
            self.request.sample.max(1)
        );
        let answers = async {
            let doing = format!("asking check {}", check.id);
            let counted = self.probe.ask(&doing, scanned).await?.rows;
            Ok::<_, PgError>((counted, self.probe.ask(&doing, &sql).await?))
        };
        let (counted, TextTable { mut columns, mut rows }) = match answers.await {
            Ok(answers) => answers,
            Err(error) if error.is_connection_lost() => return Err(error.into()),
            Err(error) => {
                self.probe.back().await?;
                (outcome.verdict, outcome.note) = (Verdict::Error, Some(chain(&error)));
                return Ok(());
            }
        };
        let number = |value: Option<&Option<String>>| value.and_then(|text| text.as_ref()?.parse().ok());
        outcome.scanned = number(counted.first().and_then(|row| row.first())).unwrap_or(0);
        // Bad rows whose number cannot be read are bad rows all the same.
        outcome.findings = number(rows.first().and_then(|row| row.last())).unwrap_or(rows.len() as u64);
        columns.pop();
        rows.iter_mut().for_each(|row| drop(row.pop()));
        rows.truncate(self.request.sample as usize);
        (outcome.columns, outcome.sample) = (columns, rows);
        if outcome.scanned == 0 {
            let text = format!("no row of {} was there to look at", check.scans);
            (outcome.verdict, outcome.note) = (Verdict::Error, Some(text));
        }
        Ok(())
    }
}

//! `check`: is the data of a database, or of a backup, right? Every check of the packs is asked under one snapshot; answers
//! are bad rows.

#[cfg(feature = "query")]
mod backup;
mod charts;
mod custom;
mod document;
mod drift;
mod engine;
mod history;
mod sessions;
mod store;
mod structure;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use self::charts::{Bar, Chart};
use self::custom::CUSTOM;
pub use self::custom::{Custom, EngineKind};
use self::engine::{Engine, Ground, Refusal};
use super::{OpsError, Services};
use crate::base::{Event, Timestamp, quote_ident};
use crate::checks::drift::{DRIFT, DriftSettings};
use crate::checks::structure::STRUCTURE;
use crate::checks::{
    Calendar, Candidate, Check, ColumnSort, DeclaredAccepted, DeclaredNotNull, DeclaredRelation,
    DeclaredUnique, Interview, Kind, Mapping, MappingError, Pack, QuestionError, Role, RoleSettings,
    Severity, Threshold, Verdict, judge, packs, question, roles,
};
use crate::manifest::Link;
use crate::pg::ConnectionSettings;
use crate::pg::workbench::{TextRow, TextTable};
use crate::store::{BackupChoice, Vault};

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
    /// Columns that refer to rows of another table.
    #[serde(default)]
    pub relation: Vec<DeclaredRelation>,
    /// Columns that no two rows share.
    #[serde(default)]
    pub unique: Vec<DeclaredUnique>,
    /// Columns that always have a value.
    #[serde(default)]
    pub not_null: Vec<DeclaredNotNull>,
    /// Columns that have a value out of a list.
    #[serde(default)]
    pub accepted: Vec<DeclaredAccepted>,
    /// Checks of one's own.
    #[serde(default)]
    pub custom: Vec<Custom>,
    /// Tables whose rows stay as they are.
    #[serde(default)]
    pub append_only: Vec<AppendOnly>,
    /// What is unusual between backups.
    #[serde(default)]
    pub drift: DriftSettings,
}

/// `[[checks.append_only]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppendOnly {
    /// Which table.
    pub table: String,
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

/// Whose rows are looked at.
#[derive(Debug, Clone)]
pub enum CheckTarget {
    /// A database, live or restored.
    Database(ConnectionSettings),
    /// The files of a backup; no server.
    Backup(Vault, BackupChoice),
}

impl From<ConnectionSettings> for CheckTarget {
    fn from(database: ConnectionSettings) -> Self {
        Self::Database(database)
    }
}

/// What to check.
#[derive(Debug, Clone)]
pub struct CheckRequest {
    /// Whose rows.
    pub target: CheckTarget,
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
    /// Fetch the bars around findings, for a report with pictures.
    pub charts: bool,
    /// Where all findings are written, a Parquet file for each check.
    pub store: Option<PathBuf>,
    /// Calendars of one's own, by name.
    pub calendars: BTreeMap<String, Calendar>,
    /// Another "now" than the time of the snapshot: for data that ends at a known time.
    pub now: Option<Timestamp>,
    /// The time of the rows that play `previous_balances`, where an earlier backup does not say it.
    pub previous: Option<Timestamp>,
}

impl CheckRequest {
    /// All checks, by recognised names.
    pub fn new(target: impl Into<CheckTarget>) -> Self {
        Self {
            target: target.into(),
            packs: Vec::new(),
            only: Vec::new(),
            sample: 20,
            settings: CheckSettings::default(),
            explain: false,
            charts: false,
            store: None,
            calendars: BTreeMap::new(),
            now: None,
            previous: None,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The database, or the one that was backed up.
    pub database: String,
    /// The backup, where its files were asked.
    pub backup: Option<Link>,
    /// Who answered: `PostgreSQL 17.2`, `DataFusion 54.1.0`.
    pub engine: String,
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
    /// Which of several that the check was asked of: a constraint.
    pub object: Option<String>,
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
    /// How many of them are its key.
    pub key_columns: usize,
    /// The first findings by key.
    pub sample: Vec<TextRow>,
    /// The file with all of them, where that was asked for.
    pub stored: Option<String>,
    /// The first ones among their neighbours, where that was asked for.
    pub charts: Vec<Chart>,
    /// How long it took.
    pub seconds: f64,
}

impl CheckOutcome {
    /// Before it is asked: id, name, question and meaning, and how bad a finding is.
    fn unasked(pack: &'static str, words: [&str; 4], severity: Severity) -> Self {
        let [id, name, question, why] = words.map(str::to_owned);
        Self {
            id,
            pack,
            name,
            object: None,
            question,
            why,
            severity,
            verdict: Verdict::Skipped,
            note: None,
            findings: 0,
            scanned: 0,
            columns: Vec::new(),
            key_columns: 0,
            sample: Vec::new(),
            stored: None,
            charts: Vec::new(),
            seconds: 0.0,
        }
    }
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

/// Findings of one check that are stored at most: they are in memory while they are written.
const MOST_STORED: u64 = 1_000_000;

/// Runs checks.
pub async fn check(request: &CheckRequest, services: &Services) -> Result<CheckReport, OpsError> {
    let began = Instant::now();
    let internal = |error: crate::checks::DefinitionError| OpsError::Internal(error.to_string());
    let (mut packs, roles) = (packs().map_err(internal)?, roles().map_err(internal)?);
    packs.push(custom::pack(&request.settings.custom, &roles, &packs)?);
    let chosen = choose(&packs, request)?;
    services.events.emit(Event::Phase("mapping"));
    let (mut engine, ground) = Engine::open(&request.target).await?;
    let all: Vec<&Check> = packs.iter().flat_map(|pack| &pack.checks).collect();
    let find = |tables: &[Candidate], settings: &BTreeMap<String, RoleSettings>| {
        Mapping::find(&roles, &all, tables, settings).map_err(usage)
    };
    let mut mapping = find(&ground.tables, &request.settings.map)?;
    if let Some(earlier) = &ground.earlier {
        let mut settings = request.settings.map.clone();
        settings.retain(|role, _| role == "balances");
        if let Some(balances) = find(&earlier.tables, &settings)?.roles.remove("balances") {
            let then = earlier.renamed(balances);
            mapping.roles.entry("previous_balances".to_owned()).or_insert(then);
        }
    }
    engine.prepare(&mapping, request.settings.timeout.as_deref()).await?;
    let now = request.now.unwrap_or(ground.snapshot_time);
    let asked: Vec<&Check> = chosen.iter().map(|(_, check)| *check).collect();
    let sessions = sessions::sessions(request, &asked, &mapping, &engine, now).await?;
    let interview = Interview {
        roles: &roles,
        mapping: &mapping,
        dialect: engine.dialect(),
        now,
        sessions,
        previous: request.previous.or(ground.earlier.as_ref().map(|earlier| earlier.snapshot_time)),
    };
    let run = Run { request, interview: &interview, engine: &engine, counted: Mutex::default() };
    services.events.emit(Event::Phase("checks"));
    let structure = structure::read(request, &engine, &ground).await?;
    let mut checks = Vec::new();
    if !request.explain {
        for (pack, check) in &chosen {
            checks.push(run.ask(pack.name, check).await?);
        }
        if let Some(structure) = &structure {
            checks.extend(structure::ask(&run, structure).await?);
        }
        checks.extend(drift::ask(&run, &ground).await?);
        if checks.iter().all(|check| check.verdict == Verdict::Skipped) {
            return Err(nothing_to_check(&checks));
        }
    }
    let (mut warnings, snapshot_time) = (money_as_float(&mapping, &roles), interview.now);
    warnings.extend(structure.iter().flat_map(structure::unread));
    warnings.extend(ground.history.iter().flat_map(|history| history.warnings.clone()));
    let seconds = began.elapsed().as_secs_f64();
    let Ground { database, backup, engine, .. } = ground;
    Ok(CheckReport { database, backup, engine, snapshot_time, mapping, checks, warnings, seconds })
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
    let names = || packs.iter().map(|pack| pack.name).chain([STRUCTURE, DRIFT]);
    if let Some(unknown) = request.packs.iter().find(|name| names().all(|pack| pack != **name)) {
        let known = names().collect::<Vec<_>>().join(", ");
        return Err(OpsError::Usage(format!("there is no pack {unknown:?}; packs are {known}")));
    }
    let written = request.only.iter().chain(request.settings.overrides.keys());
    let has =
        |name: &String| all().any(|(_, check)| is(check, name)) || structure::has(name) || drift::has(name);
    if let Some(unknown) = written.clone().find(|name| !has(name)) {
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
    interview: &'a Interview<'a>,
    engine: &'a Engine,
    /// Rows by what counts them: under one snapshot no table is counted twice.
    counted: Mutex<BTreeMap<String, u64>>,
}

impl Run<'_> {
    async fn ask(&self, pack: &'static str, check: &Check) -> Result<CheckOutcome, OpsError> {
        let began = Instant::now();
        let none = Override::default();
        let mut overrides = self.request.settings.overrides.iter();
        let settings = overrides.find(|(name, _)| is(check, name)).map_or(&none, |(_, settings)| settings);
        let severity = settings.severity.unwrap_or(check.severity);
        let words = [&check.id, &check.name, &check.question, &check.why].map(String::as_str);
        let mut outcome = CheckOutcome::unasked(pack, words, severity);
        outcome.key_columns = check.key.len();
        if settings.off {
            outcome.note = Some("switched off in the configuration".to_owned());
            return Ok(outcome);
        }
        let custom =
            self.request.settings.custom.iter().find(|custom| pack == CUSTOM && custom.id == check.id);
        if let Some(custom) = custom {
            outcome.key_columns = custom.key_columns.unwrap_or(1);
            outcome.note = custom::beyond(custom, check, self.interview, self.engine.kind());
            if outcome.note.is_some() {
                return Ok(outcome);
            }
        }
        match question(check, self.interview, &settings.params) {
            Ok(question) => match self.answer(check, &question.sql, &question.scanned, &mut outcome).await {
                Err(Refusal::Run(error)) => return Err(error),
                Err(Refusal::Check(why)) => {
                    (outcome.verdict, outcome.note) = (Verdict::Error, Some(why));
                }
                Ok(()) => {
                    if self.request.charts {
                        outcome.charts = charts::charts(check, &outcome, self.interview, self.engine).await?;
                    }
                    let (findings, scanned) = (outcome.findings, outcome.scanned);
                    outcome.verdict = judge(findings, scanned, severity, settings.warn_if, settings.error_if);
                }
            },
            Err(error @ QuestionError::Word(_)) if pack == CUSTOM => {
                return Err(OpsError::Usage(format!("[[checks.custom]] {}: {error}", check.id)));
            }
            Err(error @ QuestionError::Word(_)) => {
                return Err(OpsError::Internal(format!("{}: {error}", check.id)));
            }
            Err(error) => outcome.note = Some(error.to_string()),
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        Ok(outcome)
    }

    /// Asks for bad rows. A check that the server refuses is an error of that check only.
    async fn answer(
        &self,
        check: &Check,
        sql: &str,
        scanned: &str,
        outcome: &mut CheckOutcome,
    ) -> Result<(), Refusal> {
        let doing = format!("asking check {}", check.id);
        outcome.scanned = self.count(&doing, scanned).await?;
        let order: Vec<String> =
            check.key.iter().map(|column| format!("f.{}", quote_ident(column))).collect();
        // A check of one's own names no key: its first column is one.
        let order = if order.is_empty() { "1".to_owned() } else { order.join(", ") };
        self.findings(&doing, sql, &order, &check.id, outcome).await?;
        if outcome.scanned == 0 {
            return Err(Refusal::Check(format!("no row of {} was there to look at", check.scans)));
        }
        Ok(())
    }

    async fn count(&self, doing: &str, sql: &str) -> Result<u64, Refusal> {
        let known = || self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = known().get(sql) {
            return Ok(*rows);
        }
        let answer = self.engine.ask(doing, sql).await?;
        let rows = number(answer.rows.first().and_then(|row| row.first())).unwrap_or(0);
        known().insert(sql.to_owned(), rows);
        Ok(rows)
    }

    /// Counts bad rows and takes the first of them. `file` is what all of them are stored as.
    async fn findings(
        &self,
        doing: &str,
        sql: &str,
        order: &str,
        file: &str,
        outcome: &mut CheckOutcome,
    ) -> Result<(), Refusal> {
        let shown = match self.request.store {
            Some(_) => self.request.sample.max(MOST_STORED),
            None => self.request.sample.max(1),
        };
        let answer =
            self.engine.ask(doing, &format!("SELECT count(*) FROM ({}) AS f", sql.trim_end())).await?;
        let counted = number(answer.rows.first().and_then(|row| row.first()));
        outcome.findings = counted.ok_or_else(|| Refusal::Check("its rows cannot be counted".to_owned()))?;
        if outcome.findings == 0 {
            return Ok(());
        }
        // Counted first, and OFFSET 0: for some rows in the order of their key PostgreSQL would walk the key's index over
        // the whole table, as if every row were a finding.
        let sql = format!(
            "SELECT f.* FROM (SELECT * FROM ({}) AS f OFFSET 0) AS f ORDER BY {order} LIMIT {shown}",
            sql.trim_end(),
        );
        let TextTable { mut columns, mut rows } = self.engine.ask(doing, &sql).await?;
        if let Some(folder) = &self.request.store {
            let name = format!("{file}.parquet");
            let table = TextTable { columns, rows };
            store::store(folder, &name, &table)?;
            outcome.stored = Some(match outcome.findings > table.rows.len() as u64 {
                true => format!("{name}, the first {} of them", table.rows.len()),
                false => name,
            });
            TextTable { columns, rows } = table;
        }
        rows.truncate(self.request.sample as usize);
        (outcome.columns, outcome.sample) = (columns, rows);
        Ok(())
    }
}

fn number(value: Option<&Option<String>>) -> Option<u64> {
    value.and_then(|text| text.as_ref()?.parse().ok())
}

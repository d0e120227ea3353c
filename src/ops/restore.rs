//! `barkeep restore`: a backup, or a part of one, into a database.
//!
//! The order is the file's: choose, look before touching anything, make the database, schema before the rows, sequences,
//! rows, schema after the rows (indexes and keys of a table beside the rows of others), large objects, statistics, and last of
//! all the journal goes. Every step is recorded in the transaction that does it, so the same request goes on where a killed one stopped. Restoring runs the
//! backup's SQL as the connecting role. It does not compare: that is another operation, for the caller to run.

mod after;
mod create;
mod memory;
mod phases;
mod preflight;
mod rows;
mod scope;
mod space;
mod timescale;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::Serialize;

use super::verify::rowset_key;
use super::{OpsError, Services};
use crate::base::{Digest, Event, TableName};
use crate::catalog::Pattern;
use crate::catalog::ddl::SchemaDump;
use crate::manifest::SealedManifest;
use crate::pg::{ConnectionSettings, Target};
use crate::pipeline::beside::{Beside, Rest};
use crate::pipeline::journal::{JournalError, RestoreJournal};
use crate::pipeline::load::LoadError;
use crate::pipeline::schema::{Run, Violation, prepare};
use crate::plan::chunks::TimeSlice;
use crate::plan::ddl::{PostDataSchedule, RestoreOptions, Stage, pre_data};
use crate::plan::load::LoadJob;
pub use crate::plan::load::Mode;
use crate::plan::timescale::entries::{Parts, parts};
use crate::store::{BackupChoice, Vault};
pub use memory::Memory;
pub use phases::Phase;
use scope::Scope;
pub use timescale::{RestoredJob, TimescaleMode, start_jobs};

/// What to do about roles that the backup names and the server lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolesMode {
    /// Stop before the first statement and name them all.
    #[default]
    Require,
    /// Make them, without LOGIN.
    Create,
    /// Leave out what names them.
    Skip,
}

/// What to restore, where to, and how.
#[derive(Debug, Clone)]
pub struct RestoreRequest<'a> {
    /// The vault.
    pub vault: &'a Vault,
    /// Which backup.
    pub choice: BackupChoice,
    /// Where to.
    pub target: ConnectionSettings,
    /// Make the database first.
    pub create: bool,
    /// Tables wanted; none and no schemas: all.
    pub tables: Vec<Pattern>,
    /// Tables not wanted.
    pub exclude_tables: Vec<Pattern>,
    /// Schemas wanted.
    pub schemas: Vec<Pattern>,
    /// Schemas not wanted.
    pub exclude_schemas: Vec<Pattern>,
    /// Rows wanted of some tables, as SQL conditions.
    pub where_: Vec<(Pattern, String)>,
    /// Rows wanted of hypertables and continuous aggregates, by time.
    pub slice: TimeSlice,
    /// How much of TimescaleDB has to come back.
    pub timescale: TimescaleMode,
    /// Schemas under other names.
    pub map_schema: Vec<(String, String)>,
    /// Tables under other names.
    pub rename: Vec<(TableName, TableName)>,
    /// What to do with rows that are there.
    pub mode: Mode,
    /// Rows only, into tables that are there.
    pub data_only: bool,
    /// No rows.
    pub schema_only: bool,
    /// Give objects to their owners.
    pub owners: bool,
    /// Restore grants.
    pub privileges: bool,
    /// Use the tablespaces of the source.
    pub tablespaces: bool,
    /// Missing roles.
    pub roles: RolesMode,
    /// Let users' triggers fire where tables are there already.
    pub triggers: bool,
    /// Connections that load and build.
    pub jobs: usize,
    /// `maintenance_work_mem` of each connection that builds, where it is not to be chosen.
    pub maintenance_work_mem: Option<Memory>,
    /// Say what would be done; do nothing.
    pub dry_run: bool,
    /// Tables whose rows come before those of others.
    pub first: Vec<Pattern>,
    /// Allow the very database the backup came from.
    pub yes_overwrite_source: bool,
    /// The caller compares afterwards; kept here so that a request is complete.
    pub compare: bool,
}

impl<'a> RestoreRequest<'a> {
    /// A full restore of one backup into one database, everything else by default.
    pub fn new(vault: &'a Vault, choice: BackupChoice, target: ConnectionSettings) -> Self {
        Self {
            vault,
            choice,
            target,
            create: false,
            tables: Vec::new(),
            exclude_tables: Vec::new(),
            schemas: Vec::new(),
            exclude_schemas: Vec::new(),
            where_: Vec::new(),
            slice: TimeSlice::default(),
            timescale: TimescaleMode::Auto,
            map_schema: Vec::new(),
            rename: Vec::new(),
            mode: Mode::Fail,
            data_only: false,
            schema_only: false,
            owners: true,
            privileges: true,
            tablespaces: true,
            roles: RolesMode::Require,
            triggers: false,
            jobs: 4,
            maintenance_work_mem: None,
            dry_run: false,
            first: Vec::new(),
            yes_overwrite_source: false,
            compare: true,
        }
    }

    fn options(&self) -> RestoreOptions {
        RestoreOptions {
            owners: self.owners,
            privileges: self.privileges,
            tablespaces: self.tablespaces,
            access_methods: true,
        }
    }

    /// Rows go into tables that may be there already.
    fn fills_existing(&self) -> bool {
        self.data_only || self.mode != Mode::Fail
    }

    /// Stands for everything that decides what a restore does, and nothing that only decides how fast.
    fn fingerprint(&self, sealed: &SealedManifest) -> String {
        let list = |patterns: &[Pattern]| patterns.iter().map(Pattern::to_string).collect::<Vec<_>>();
        let conditions: Vec<(String, &String)> =
            self.where_.iter().map(|(pattern, sql)| (pattern.to_string(), sql)).collect();
        let bounds = [self.slice.since, self.slice.until].map(|bound| bound.map(|bound| bound.to_string()));
        let value = serde_json::json!([
            sealed.root.to_string(),
            list(&self.tables),
            list(&self.exclude_tables),
            list(&self.schemas),
            list(&self.exclude_schemas),
            conditions,
            self.map_schema,
            self.rename,
            self.mode,
            [self.data_only, self.schema_only, self.owners, self.privileges, self.tablespaces, self.triggers],
            self.roles,
            self.timescale,
            bounds,
        ]);
        Digest::of(value.to_string().as_bytes()).to_string()
    }
}

/// One table's rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoredTable {
    /// Its name in the backup.
    pub name: TableName,
    /// Rows sent; fewer may have been wanted of them.
    pub rows: u64,
    /// Bytes of COPY data.
    pub bytes: u64,
    /// Bytes of the pieces they were read from.
    pub stored: u64,
    /// Time spent on it, all lanes together.
    pub seconds: f64,
}

/// What a restore did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RestoreReport {
    /// The backup.
    pub backup: String,
    /// Tables with rows.
    pub tables: Vec<RestoredTable>,
    /// Constraints that the rows violate.
    pub violations: Vec<Violation>,
    /// What a person should know: something is not as it was.
    pub warnings: Vec<String>,
    /// What is as it should be, and worth a word.
    pub notes: Vec<String>,
    /// Databases and roles that were made.
    pub created: Vec<String>,
    /// TimescaleDB's policies and jobs; they are paused.
    pub jobs: Vec<RestoredJob>,
    /// An interrupted restore was gone on with.
    pub resumed: bool,
    /// How long it took.
    pub seconds: f64,
    /// The same, phase by phase.
    pub phases: Vec<Phase>,
    /// The steps, where nothing was done.
    pub dry_run_plan: Vec<String>,
}

/// What all steps share once the decision has fallen.
struct Restore<'a> {
    request: &'a RestoreRequest<'a>,
    services: &'a Services,
    sealed: &'a SealedManifest,
    scope: &'a Scope,
    target: &'a Target,
    journal: &'a RestoreJournal,
    /// When it began, preflight included.
    began: Instant,
}

/// Restores.
pub async fn restore(request: &RestoreRequest<'_>, services: &Services) -> Result<RestoreReport, OpsError> {
    let began = Instant::now();
    let sealed = request.choice.find(request.vault)?;
    // Without it no row could be proven, and that would be noticed only after the database was made.
    rowset_key(request.vault, &sealed.manifest)?;
    let mut report =
        RestoreReport { backup: sealed.manifest.head.id.to_string(), ..RestoreReport::default() };
    services.events.emit(Event::Phase("preflight"));
    report.begin("preflight", began.elapsed());
    let fingerprint = request.fingerprint(&sealed);
    let (ground, existing) = preflight::ground(request, &sealed, &fingerprint).await?;
    let scope = scope::choose(request, &sealed, &ground)?;
    preflight::check(request, &sealed, &scope, &ground)?;
    // What the target cannot have is said before anything is done.
    for loss in &scope.replay.losses {
        services.events.emit(Event::Warning(loss.clone()));
    }
    if !request.schema_only {
        report.warnings.extend(space::check(&ground.facts, &sealed.manifest, &scope)?);
    }
    report.warnings.extend(scope.replay.losses.iter().chain(&scope.warnings).cloned());
    report.warnings.extend(preflight::warnings(&sealed, &ground));
    report.notes.extend(scope.replay.notes.iter().cloned());
    if request.dry_run {
        report.dry_run_plan = scope.plan(request, &sealed.manifest, &ground);
        report.end(began.elapsed());
        report.seconds = began.elapsed().as_secs_f64();
        return Ok(report);
    }
    report.created = create::roles(request, &scope, &ground, &existing).await?;
    let target = match ground.exists {
        true => existing,
        false => {
            let target = create::database(request, &sealed.manifest, &existing, &mut report.warnings).await?;
            report.created.push(format!("database {}", request.target.database));
            target
        }
    };
    let journal = RestoreJournal::open(target.client(), &sealed.manifest.head.id, &fingerprint).await?;
    report.resumed = journal.is_resumed();
    if let (Some(dump), None) = (&scope.schema, journal.chosen()) {
        let chosen = dump.entries.iter().map(|entry| entry.dump_id).collect();
        journal.choose(target.client(), &chosen).await?;
    }
    let (sealed, scope, target, journal) = (&sealed, &scope, &target, &journal);
    let run = Restore { request, services, sealed, scope, target, journal, began };
    run.all(&mut report).await?;
    RestoreJournal::remove(target.client()).await?;
    for warning in report.warnings.iter().filter(|warning| !scope.replay.losses.contains(warning)) {
        services.events.emit(Event::Warning(warning.clone()));
    }
    report.end(began.elapsed());
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

impl Restore<'_> {
    async fn all(&self, report: &mut RestoreReport) -> Result<(), OpsError> {
        let options = self.request.options();
        let parts = self.scope.schema.as_ref().and_then(parts);
        let run = |dump| self.run(dump, &options);
        // Without aggregates all of it is early.
        let early = parts.as_ref().map(|parts| &parts.early).or(self.scope.schema.as_ref()).map(run);
        if let Some(run) = &early {
            self.phase("schema", report);
            let client = self.target.lane().await?;
            prepare(&client, run.dump).await?;
            run.pre_data(&client, &pre_data(run.dump)).await?;
            self.hypertables(report).await?;
            self.journal.settle(self.target.client()).await?;
        }
        report.violations = self.journal.violations();
        let levels = if self.request.schema_only { Vec::new() } else { self.row_levels().await? };
        let schedule = early.map(|run| self.schedule(run.dump, &levels));
        if self.request.schema_only {
            self.post_data(early.zip(schedule.as_ref()), None, report).await?;
            return self.after_post_data(parts.as_ref(), &options, report).await;
        }
        self.phase("sequences", report);
        self.sequences(report).await?;
        self.phase("data", report);
        let beside = early.zip(schedule.as_ref()).filter(|_| !self.request.fills_existing());
        let beside = beside.map(|(run, schedule)| self.beside(run, schedule, &levels));
        let deferred = self.rows(levels, beside.as_ref(), report).await?;
        let mut rest = beside.map(Beside::rest);
        let mut analyzed = rest.as_mut().map(|rest| std::mem::take(&mut rest.analyzed)).unwrap_or_default();
        // Their rows are still to come.
        deferred.iter().for_each(|job| drop(analyzed.take(&job.into)));
        self.post_data(early.zip(schedule.as_ref()), rest, report).await?;
        self.deferred_rows(deferred, report).await?;
        self.large_objects(report).await?;
        self.after_post_data(parts.as_ref(), &options, report).await?;
        self.phase("analyze", report);
        self.analyze(&analyzed).await
    }

    /// What steps of the schema share.
    fn run<'r>(&'r self, dump: &'r SchemaDump, options: &'r RestoreOptions) -> Run<'r> {
        Run { dump, options, journal: self.journal, events: &*self.services.events }
    }

    /// TimescaleDB's part: compression, aggregates and what needs them, jobs.
    async fn after_post_data(
        &self,
        parts: Option<&Parts>,
        options: &RestoreOptions,
        report: &mut RestoreReport,
    ) -> Result<(), OpsError> {
        self.compression(report).await?;
        if let Some(parts) = parts {
            let run = |dump| self.run(dump, options);
            self.aggregates(run(&parts.late), &parts.aggregates, report).await?;
            let schedule = self.schedule(&parts.late, &[]);
            self.post_data(Some((run(&parts.late), &schedule)), None, report).await?;
        }
        self.jobs(report).await
    }

    /// Everything after the rows, the largest tables first.
    fn schedule(&self, dump: &SchemaDump, levels: &[Vec<LoadJob>]) -> PostDataSchedule {
        let body = &self.sealed.manifest.body;
        let populated: Vec<TableName> = match self.request.schema_only {
            true => Vec::new(),
            false => body.populated_views.iter().map(|view| self.scope.relation(view)).collect(),
        };
        let mut bytes: BTreeMap<TableName, u64> = BTreeMap::new();
        levels.iter().flatten().for_each(|job| *bytes.entry(job.into.clone()).or_default() += job.bytes);
        PostDataSchedule::new(dump, &populated).by_size(&bytes)
    }

    /// What is left of everything after the rows.
    async fn post_data(
        &self,
        what: Option<(Run<'_>, &PostDataSchedule)>,
        begun: Option<Rest<'_>>,
        report: &mut RestoreReport,
    ) -> Result<(), OpsError> {
        let Some((run, schedule)) = what else { return Ok(()) };
        if report.phases.last().is_none_or(|phase| phase.name != phases::stage(Stage::Build)) {
            self.phase(phases::stage(Stage::Build), report);
        }
        let Rest { dispatcher, violations, sessions: mut lanes, .. } = begun.unwrap_or_else(|| Rest {
            dispatcher: schedule.dispatch(),
            violations: Vec::new(),
            sessions: Vec::new(),
            analyzed: BTreeSet::new(),
        });
        report.violations.extend(violations);
        let count = self.request.jobs.max(1).min(schedule.jobs().len());
        while lanes.len() < count.min(dispatcher.left()) {
            let lane = self.target.lane().await?;
            prepare(&lane, run.dump).await?;
            self.memory(&lane, count).await?;
            lanes.push(lane);
        }
        if !lanes.is_empty() {
            let clients: Vec<_> = lanes.iter().map(|lane| &**lane).collect();
            let mut tell = |stage| {
                if stage != Stage::Build {
                    self.phase(phases::stage(stage), report);
                }
            };
            let violations = run.go_on(&clients, schedule, dispatcher, &mut tell).await?;
            report.violations.extend(violations);
            self.journal.settle(self.target.client()).await?;
        }
        Ok(())
    }
}

/// What the server said about a step, with the step's name.
fn refused(step: &str, error: crate::pg::PgError) -> OpsError {
    match error.is_connection_lost() {
        true => OpsError::Pg(error),
        false => OpsError::Restore(format!("{step}: {}", spoken(&error))),
    }
}

impl From<JournalError> for OpsError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Pg(error) => Self::Pg(error),
            JournalError::Busy(_) => Self::Locked(error.to_string()),
            other => Self::Restore(other.to_string()),
        }
    }
}

impl From<LoadError> for OpsError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Pg(error) => Self::Pg(error),
            LoadError::Store(error) => Self::Store(error),
            LoadError::Schema(error) => Self::Schema(error),
            LoadError::Rows { table, path, source } => Self::Rows { table, source: source.in_file(&path) },
            LoadError::Mismatch { .. } | LoadError::Lacks(_) => Self::Mismatch(error.to_string()),
            LoadError::Refused { table, source } if source.is_connection_lost() => {
                tracing::debug!(%table, "the connection was lost for good");
                Self::Pg(source)
            }
            LoadError::Refused { table, source } => Self::Restore(format!("{table}: {}", spoken(&source))),
        }
    }
}

/// The server's message and code, without the detail, which may have values in it.
fn spoken(error: &crate::pg::PgError) -> String {
    use std::error::Error as _;
    let server = error.source().and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    let boxed = error.source().and_then(|source| source.downcast_ref::<Box<tokio_postgres::Error>>());
    match server.or(boxed.map(|error| &**error)).and_then(|error| error.as_db_error()) {
        Some(server) => format!("{error}: {} ({})", server.message(), server.code().code()),
        None => error.to_string(),
    }
}

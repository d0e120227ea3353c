//! `dump`: a database, or parts of it, into a new backup of a vault.
//!
//! The order is the algorithm: survey → choose → privileges → lock, snapshot, check → plan → data by lanes (pg_dump
//! beside them) → counts, sequences → check again → manifest → commit. Until the last step nothing looks like a backup.

mod chunks;
mod data;
mod earlier;
mod finish;
mod timescale;
mod waiters;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{OpsError, Services};
use crate::base::{BackupId, Digest, Event, TableName};
use crate::catalog::{Pattern, Relation, SourceFacts};
use crate::codec::copy::MAX_TUPLE;
use crate::manifest::{SealedManifest, SelectionRecord, Warning};
use crate::pg::client_tools::{ConnectionParameters, PgDump, Search};
use crate::pg::timescale::Surveyed;
use crate::pg::{ConnectionSettings, LockOutcome, Locked, Pace, STARTUP_OPTIONS, Source, Survey};
use crate::plan::chunks::TimeSlice;
use crate::plan::cluster::{self, ClusterBy};
use crate::plan::dump::{Chosen, choose_relations, unreadable};
use crate::plan::selection::TableSelection;
use crate::store::{Staging, Vault};

/// Rounds of lock and check before giving up on a schema that will not hold still.
const ROUNDS: usize = 5;
/// Waits of 10 ms for encoders that were given up.
const RELEASES: usize = 500;
/// Versions a source may have.
const SUPPORTED: std::ops::RangeInclusive<u32> = 14..=18;

/// What to dump, and how.
#[derive(Debug, Clone)]
pub struct DumpRequest {
    /// The database.
    pub database: ConnectionSettings,
    /// Which tables.
    pub selection: TableSelection,
    /// Row conditions by table pattern.
    pub conditions: Vec<(Pattern, String)>,
    /// Columns in whose order rows are stored, by table pattern.
    pub cluster_by: ClusterBy,
    /// Only the schema.
    pub schema_only: bool,
    /// Only the rows.
    pub data_only: bool,
    /// A name for it.
    pub tag: Option<String>,
    /// Never to be pruned.
    pub keep_forever: bool,
    /// Any warning ends the run before the commit.
    pub strict: bool,
    /// Lanes.
    pub jobs: usize,
    /// Bytes of rows that all lanes together may read in a second.
    pub rate: Option<u64>,
    /// The largest row that is taken, in bytes of COPY; memory is for four of them. Above 1 GiB it is 1 GiB, which is what
    /// PostgreSQL can send.
    pub max_row: u64,
    /// How long to wait for one lock, as `lock_timeout` takes it.
    pub lock_timeout: Duration,
    /// Rows of hypertables from one position on, or before one.
    pub slice: TimeSlice,
    /// Leave out chunks in tiered storage.
    pub skip_tiered: bool,
    /// Keep TimescaleDB's jobs from changing chunks meanwhile, as far as this role may.
    pub pause_jobs: bool,
    /// Sessions that wait for one of the dump's locks for longer than this are named.
    pub name_waiters_after: Duration,
    /// `tools.pg_dump` of the configuration.
    pub pg_dump: Option<String>,
    /// The value of PATH, for finding pg_dump.
    pub path: Option<std::ffi::OsString>,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl DumpRequest {
    /// A whole database with two lanes.
    pub fn new(database: ConnectionSettings) -> Self {
        Self {
            database,
            selection: TableSelection::default(),
            conditions: Vec::new(),
            cluster_by: Vec::new(),
            schema_only: false,
            data_only: false,
            tag: None,
            keep_forever: false,
            strict: false,
            jobs: 2,
            rate: None,
            max_row: MAX_TUPLE as u64,
            lock_timeout: Duration::from_secs(30),
            slice: TimeSlice::default(),
            skip_tiered: false,
            pause_jobs: true,
            name_waiters_after: Duration::from_secs(30),
            pg_dump: None,
            path: None,
            dry_run: false,
        }
    }
}

/// What a dump did.
#[derive(Debug, Clone, Serialize)]
pub struct DumpReport {
    /// The new backup; absent after a dry run.
    pub backup: Option<BackupId>,
    /// Its root digest.
    pub root: Option<Digest>,
    /// Table by table.
    pub tables: Vec<TableReport>,
    /// Rows in all.
    pub rows: u64,
    /// Bytes of COPY data.
    pub bytes: u64,
    /// Bytes stored, schema included.
    pub stored: u64,
    /// Bytes of them that an earlier backup had already.
    pub reused: u64,
    /// How long it took.
    pub seconds: f64,
    /// What is not in it.
    pub omitted: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// True for a dry run.
    pub dry_run: bool,
}

/// One table of a report.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// Which.
    pub table: TableName,
    /// Rows (estimated in a dry run).
    pub rows: u64,
    /// Bytes of COPY data (heap and TOAST in a dry run).
    pub bytes: u64,
    /// Bytes stored.
    pub stored: u64,
    /// Pieces.
    pub pieces: usize,
    /// Pieces an earlier backup had already.
    pub reused: usize,
    /// Units it was read in.
    pub units: usize,
    /// Values in the exceptions sidecar.
    pub exceptions: u64,
    /// Rows that `--cluster-by` put in order; none where it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clustered: Option<u64>,
}

/// What the phases hand on to each other.
struct Run<'a> {
    request: &'a DumpRequest,
    services: &'a Services,
    vault: &'a Vault,
    facts: SourceFacts,
    /// Everything in the database, under the snapshot.
    relations: Vec<Relation>,
    timescale: Option<Surveyed>,
    chosen: Chosen,
    warnings: Vec<Warning>,
    /// Shared by everything that reads rows.
    pace: Option<Arc<Pace>>,
    known: earlier::Known,
}

/// Takes a backup.
pub async fn dump(vault: &Vault, request: &DumpRequest, services: &Services) -> Result<DumpReport, OpsError> {
    let began = Instant::now();
    if request.schema_only && request.data_only {
        return Err(OpsError::Usage("--schema-only and --data-only exclude each other".to_owned()));
    }
    services.events.emit(Event::Phase("survey"));
    let source = Source::connect(&request.database).await?;
    let facts = source.facts().await?;
    let major = facts.server_version_num / 10_000;
    if !SUPPORTED.contains(&major) {
        let text = format!("the server is PostgreSQL {}; barkeep dumps 14 to 18", facts.server_version);
        return Err(OpsError::Usage(text));
    }
    let tool = find_pg_dump(request, major).await?;
    let survey = source.survey(&[]).await?;
    let chosen = choose_relations(&survey.relations, &request.selection, facts.in_recovery);
    strictly_matched(request, &survey.relations)?;
    cluster::check(&chosen.tables, &request.cluster_by)?;
    permitted(&facts, &chosen)?;
    timescale::permitted(request, survey.timescale.as_ref(), &chosen)?;
    if request.dry_run {
        let oids: Vec<u32> = chosen.tables.iter().map(|relation| relation.oid).collect();
        let measured = source.survey(&oids).await?;
        let chosen = choose_relations(&measured.relations, &request.selection, facts.in_recovery);
        return Ok(finish::dry_run(request, &chosen, measured.timescale.as_ref(), began));
    }
    let jobs = timescale::pause_jobs(request, services, &facts, survey.timescale.as_ref(), &chosen).await;
    let result = timescale::while_paused(&jobs, async {
        let (locked, survey, chosen) = lock(&source, request, &facts, chosen).await?;
        timescale::permitted(request, survey.timescale.as_ref(), &chosen)?;
        timescale::nothing_stranded(&locked, &chosen).await?;
        let Survey { relations, timescale } = survey;
        let warnings = Vec::new();
        let known = Default::default();
        let pace = request.rate.map(|rate| Arc::new(Pace::new(rate)));
        let run =
            Run { request, services, vault, facts, relations, timescale, chosen, warnings, pace, known };
        // On the heap: all that a dump holds while it waits would be copied about on the stack.
        match Box::pin(run.through(&source, &locked, tool, began)).await {
            Err(error) if error.is_connection_lost() && !locked.stands().await => {
                Err(OpsError::SnapshotLost(Box::new(error)))
            }
            result => result,
        }
    })
    .await;
    timescale::resume_jobs(services, jobs).await;
    result
}

impl Run<'_> {
    async fn through(
        mut self,
        source: &Source,
        locked: &Locked,
        tool: Option<PgDump>,
        began: Instant,
    ) -> Result<DumpReport, OpsError> {
        let id = BackupId::new(locked.time, rand::random());
        let staging = Arc::new(self.vault.begin(&id)?);
        let result = self.staged(source, locked, tool, &staging).await;
        // Encoders of lanes that were given up still write; what they hold is removed when they have noticed.
        for _ in 0..RELEASES {
            if Arc::strong_count(&staging) == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let sealed = result?;
        self.commit(staging, &sealed)?;
        self.services.events.emit(Event::Committed(id));
        Ok(finish::report(&sealed, began))
    }

    /// Everything but the commit.
    async fn staged(
        &mut self,
        source: &Source,
        locked: &Locked,
        tool: Option<PgDump>,
        staging: &Arc<Staging>,
    ) -> Result<SealedManifest, OpsError> {
        let parameters = parameters(&self.request.database);
        let wait = self.request.lock_timeout;
        let excluded = self.excluded_from_schema();
        let earlier = if self.request.schema_only { None } else { self.earlier()? };
        let schema = async {
            match &tool {
                None => Ok(None),
                Some(tool) => tool
                    .schema(&parameters, Some(&locked.snapshot.name), wait, &excluded)
                    .await
                    .map(Some)
                    .map_err(OpsError::from),
            }
        };
        self.services.events.emit(Event::Phase("data"));
        let after = self.request.name_waiters_after;
        let events = Arc::clone(&self.services.events);
        let work = futures_util::future::try_join(schema, self.data(locked, staging, earlier.as_ref()));
        let (schema, (mut planned, changed)) = tokio::select! {
            done = work => done?,
            never = waiters::name_them(source, locked, after, events.as_ref()) => match never {},
        };
        self.services.events.emit(Event::Phase("checking"));
        if let Some(change) = locked.still_unchanged(&self.chosen.tables).await? {
            return Err(OpsError::SourceChanged(change));
        }
        let mut tail = self.tail(locked).await?;
        if self.read_late(locked, &mut planned, changed, staging).await? {
            // Late rows can be newer than what was read of the sequences.
            tail.sequences = self.sequences(locked).await?;
        }
        let data = self.gather(planned)?;
        let sealed = self.manifest(locked, staging, data, tail, schema, tool.as_ref())?;
        if self.request.strict && !sealed.manifest.body.warnings.is_empty() {
            return Err(finish::strict(&sealed));
        }
        Ok(sealed)
    }

    fn commit(&self, staging: Arc<Staging>, sealed: &SealedManifest) -> Result<(), OpsError> {
        let staging = Arc::into_inner(staging)
            .ok_or_else(|| OpsError::Internal("a thread still holds the staging folder".to_owned()))?;
        staging.commit(sealed)?;
        // What cannot be read back does not exist.
        let read = self.vault.manifest(&sealed.manifest.head.id)?;
        if read.root != sealed.root {
            return Err(OpsError::Mismatch(
                "the manifest on disk is not the one that was written".to_owned(),
            ));
        }
        Ok(())
    }
}

async fn find_pg_dump(request: &DumpRequest, major: u32) -> Result<Option<PgDump>, OpsError> {
    if request.data_only {
        return Ok(None);
    }
    let search = Search { setting: request.pg_dump.clone(), path: request.path.clone() };
    Ok(Some(search.pg_dump(major).await?))
}

/// A pattern that matches nothing is a mistake that would otherwise be found on the worst day.
fn strictly_matched(request: &DumpRequest, relations: &[Relation]) -> Result<(), OpsError> {
    let names: Vec<&TableName> = relations.iter().map(|relation| &relation.name).collect();
    let mut missing = request.selection.unmatched(names.iter().copied());
    let patterns = request.conditions.iter().map(|(pattern, _)| pattern);
    let patterns = patterns.chain(request.cluster_by.iter().map(|(pattern, _)| pattern));
    let unused = patterns.filter(|pattern| !names.iter().any(|name| pattern.matches(name)));
    missing.extend(unused.map(ToString::to_string));
    if missing.is_empty() {
        return Ok(());
    }
    Err(OpsError::Usage(format!("nothing in the database matches {}", missing.join(", "))))
}

fn permitted(facts: &SourceFacts, chosen: &Chosen) -> Result<(), OpsError> {
    let offending = unreadable(&chosen.tables);
    if offending.is_empty() {
        return Ok(());
    }
    let list = offending.join("\n  ");
    Err(OpsError::Privileges(format!(
        "the role {} cannot read every row of {} tables:\n  {list}",
        facts.role,
        offending.len()
    )))
}

/// Lock, snapshot, check; again if something moved in between.
async fn lock(
    source: &Source,
    request: &DumpRequest,
    facts: &SourceFacts,
    mut chosen: Chosen,
) -> Result<(Locked, Survey, Chosen), OpsError> {
    let timeout = format!("{}ms", request.lock_timeout.as_millis());
    let mut last = String::new();
    for _ in 0..ROUNDS {
        match source.lock(&chosen.tables, &timeout, facts.server_version_num).await? {
            LockOutcome::Locked(found) => {
                let (locked, survey) = *found;
                let seen = choose_relations(&survey.relations, &request.selection, facts.in_recovery);
                let same = |a: &Chosen, b: &Chosen| {
                    a.tables.iter().map(|r| r.oid).eq(b.tables.iter().map(|r| r.oid))
                };
                if same(&seen, &chosen) {
                    return Ok((locked, survey, seen));
                }
                last = "a table appeared between survey and lock".to_owned();
            }
            LockOutcome::Changed(change) => last = change,
        }
        let survey = source.survey(&[]).await?;
        chosen = choose_relations(&survey.relations, &request.selection, facts.in_recovery);
        permitted(facts, &chosen)?;
    }
    Err(OpsError::SourceChanged(format!("{last}, {ROUNDS} times in a row")))
}

fn parameters(settings: &ConnectionSettings) -> ConnectionParameters {
    let text = |path: &std::path::PathBuf| path.display().to_string();
    ConnectionParameters {
        host: Some(settings.host.clone()),
        port: Some(settings.port),
        user: Some(settings.user.clone()),
        password: settings.password.clone(),
        database: Some(settings.database.clone()),
        sslmode: Some(settings.tls.keyword().to_owned()),
        sslrootcert: settings.root_cert.as_ref().map(text),
        sslcert: settings.client_cert.as_ref().map(text),
        sslkey: settings.client_key.as_ref().map(text),
        // Its first statements run before it has switched the role's timeouts off.
        options: Some(STARTUP_OPTIONS.to_owned()),
    }
}

/// The request as the manifest keeps it.
fn selection_record(request: &DumpRequest) -> SelectionRecord {
    let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect();
    SelectionRecord {
        tables: texts(&request.selection.tables),
        exclude_tables: texts(&request.selection.exclude_tables),
        schemas: texts(&request.selection.schemas),
        exclude_schemas: texts(&request.selection.exclude_schemas),
        schema_only: request.schema_only,
        data_only: request.data_only,
        since: request.slice.since.map(|bound| bound.to_string()),
        until: request.slice.until.map(|bound| bound.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_of_a_dump_fits_on_a_threads_stack() {
        let folder = tempfile::tempdir().unwrap();
        let now = crate::base::Clock::now(&crate::base::SystemClock);
        let vault = Vault::open_or_create(&folder.path().join("vault"), now, rand::random()).unwrap();
        let database =
            ConnectionSettings::resolve("postgres://nobody@localhost/none", &crate::pg::ProcessSurroundings)
                .unwrap();
        let (request, services) = (DumpRequest::new(database), Services::default());
        let size = size_of_val(&dump(&vault, &request, &services));
        // A worker's stack is 2 MiB, and unoptimised code copies a future several times.
        assert!(size < 16 << 10, "{size} bytes");
    }
}

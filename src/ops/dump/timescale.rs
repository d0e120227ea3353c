//! TimescaleDB around the data phase: what would hide rows is refused, jobs are held, pg_dump is kept off what is not the
//! user's, and the manifest says what the database was.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use super::{DumpRequest, OpsError, Run, chunks};
use crate::base::{Event, TableName};
use crate::catalog::SourceFacts;
use crate::catalog::timescale::{Hypertable, Timescale};
use crate::manifest::{Omission, Table, Warning};
use crate::ops::Services;
use crate::pg::Locked;
use crate::pg::client_tools::Excluded;
use crate::pg::timescale::{PausedJobs, Surveyed, pause};
use crate::plan::chunks::label;
use crate::plan::ddl::timescale::INTERNAL_SCHEMAS;
use crate::plan::dump::Chosen;

use super::data::SLICE;

/// The code of the warning that a chunk was read later than the rest.
pub(super) const LATE: &str = "LATE";

/// How long jobs that run are waited for.
const JOBS_PATIENCE: Duration = Duration::from_secs(30);

/// Refuses what cannot be dumped whole, with the reason.
pub(super) fn permitted(
    request: &DumpRequest,
    surveyed: Option<&Surveyed>,
    chosen: &Chosen,
) -> Result<(), OpsError> {
    let chunked = chosen.tables.iter().any(|relation| relation.hypertable.is_some());
    if !request.slice.is_everything() && !chunked {
        let text = "--since and --until cut hypertables and continuous aggregates, and none is chosen; --where cuts others";
        return Err(OpsError::Usage(text.to_owned()));
    }
    let Some(surveyed) = surveyed else { return Ok(()) };
    if request.schema_only {
        return Ok(());
    }
    let names: BTreeSet<&TableName> = chosen.tables.iter().map(|relation| &relation.name).collect();
    let stops = surveyed.refusals.iter().filter(|refusal| {
        let tables = [Some(&refusal.table), view_of(surveyed, &refusal.table)];
        let wanted = tables.iter().flatten().any(|table| names.contains(table));
        wanted && !(request.skip_tiered && refusal.tiered.is_some())
    });
    let mut problems: Vec<String> = stops.map(|refusal| refusal.why.clone()).collect();
    let hypertables: Vec<i32> = chosen.tables.iter().filter_map(|relation| relation.hypertable).collect();
    if let Some(chunk) = surveyed.hidden_by_license(&hypertables) {
        problems.push(format!(
            "timescaledb.license is {}, under which the compressed rows of {} and others are hidden: set it to timescale \
             and restart the server",
            surveyed.timescale.license.as_deref().unwrap_or("not set"),
            chunk.chunk.name
        ));
    }
    match problems.as_slice() {
        [] => Ok(()),
        problems => Err(OpsError::Privileges(problems.join("\n"))),
    }
}

/// The view under which a materialisation goes.
fn view_of<'a>(surveyed: &'a Surveyed, table: &TableName) -> Option<&'a TableName> {
    let aggregates = &surveyed.timescale.aggregates;
    aggregates.iter().find(|aggregate| aggregate.hypertable.name == *table).map(|aggregate| &aggregate.view)
}

/// Refuses hypertables with rows in no chunk.
pub(super) async fn nothing_stranded(locked: &Locked, chosen: &Chosen) -> Result<(), OpsError> {
    let roots = chosen.tables.iter().filter(|relation| relation.hypertable.is_some());
    let roots: Vec<u32> = roots.map(|relation| relation.oid).collect();
    if roots.is_empty() {
        return Ok(());
    }
    let stranded = locked.stranded(&roots).await?;
    if stranded.is_empty() {
        return Ok(());
    }
    Err(OpsError::Privileges(format!(
        "rows lie in the root of {}, outside of every chunk, where no query shows them (timescaledb.restoring was on when \
         they were written): read them with SET timescaledb.restoring = on, delete them there, and insert them again",
        stranded.join(", ")
    )))
}

/// Holds the jobs, where there are any and it may.
pub(super) async fn pause_jobs(
    request: &DumpRequest,
    services: &Services,
    facts: &SourceFacts,
    surveyed: Option<&Surveyed>,
    chosen: &Chosen,
) -> Option<PausedJobs> {
    let surveyed = surveyed.filter(|found| found.timescale.jobs.iter().any(|job| job.scheduled))?;
    let chunked = chosen.tables.iter().any(|relation| relation.hypertable.is_some());
    if !request.pause_jobs || request.schema_only || facts.in_recovery || !chunked {
        return None;
    }
    services.events.emit(Event::Phase("pausing jobs"));
    match pause(&request.database, &surveyed.timescale.schema, JOBS_PATIENCE).await {
        Ok(paused) => {
            if !paused.unheld.is_empty() {
                let text = format!("jobs that may change chunks meanwhile: {}", paused.unheld.join(", "));
                services.events.emit(Event::Warning(text));
            }
            Some(paused)
        }
        Err(error) => {
            services.events.emit(Event::Warning(format!("TimescaleDB's jobs cannot be paused: {error}")));
            None
        }
    }
}

/// Runs the dump, and holds the jobs as long as it runs.
pub(super) async fn while_paused<T>(jobs: &Option<PausedJobs>, work: impl Future<Output = T>) -> T {
    let Some(jobs) = jobs else { return work.await };
    tokio::select! {
        done = work => done,
        never = jobs.keep() => match never {},
    }
}

/// Lets them go.
pub(super) async fn resume_jobs(services: &Services, jobs: Option<PausedJobs>) {
    let Some(jobs) = jobs else { return };
    for failed in jobs.resume().await {
        let text = format!("{failed}; it goes on by itself within 20 minutes");
        services.events.emit(Event::Warning(text));
    }
}

impl Run<'_> {
    /// What pg_dump is kept off: it would lock every chunk for as long as the dump runs.
    pub(super) fn excluded_from_schema(&self) -> Excluded {
        let Some(surveyed) = &self.timescale else { return Excluded::default() };
        let chunks = surveyed.chunks.values().flatten();
        let tables = chunks.flat_map(|chunk| [Some(&chunk.chunk.name), chunk.companion.as_ref()]);
        let outside = |name: &&TableName| !INTERNAL_SCHEMAS.contains(&&*name.schema);
        Excluded {
            schemas: INTERNAL_SCHEMAS.iter().map(|name| (*name).to_owned()).collect(),
            tables: tables.flatten().filter(outside).cloned().collect(),
        }
    }

    /// TimescaleDB as far as it is in the backup: what was chosen, with its policies; jobs of users with the whole.
    pub(super) fn kept_timescale(&mut self) -> Option<Timescale> {
        let surveyed = self.timescale.as_ref()?;
        let chosen: BTreeSet<&TableName> = self.chosen.tables.iter().map(|relation| &relation.name).collect();
        let mut kept = surveyed.timescale.clone();
        kept.hypertables.retain(|hypertable| chosen.contains(&hypertable.name));
        kept.aggregates.retain(|aggregate| chosen.contains(&aggregate.view));
        let everything = self.request.selection.is_everything();
        kept.jobs.retain(|job| match &job.hypertable {
            Some(table) => chosen.contains(table),
            None => everything,
        });
        let all: Vec<&Hypertable> = kept
            .hypertables
            .iter()
            .chain(kept.aggregates.iter().map(|aggregate| &aggregate.hypertable))
            .collect();
        if !self.request.slice.is_everything() {
            for name in chunks::taken_whole(self.request, &all) {
                let message =
                    format!("{name}: its dimension is of another kind than --since and --until; it is whole");
                self.warnings.push(Warning { code: SLICE.to_owned(), message });
            }
        }
        let nothing = all.is_empty() && !everything;
        for refusal in surveyed.refusals.iter().filter(|_| self.request.skip_tiered) {
            if let Some(chunk) = refusal.tiered.as_ref().filter(|_| chosen.contains(&refusal.table)) {
                let what = format!("rows of {} in tiered storage ({chunk})", refusal.table);
                self.chosen.omitted.push(Omission { what, why: "--skip-tiered".to_owned() });
            }
        }
        (!nothing).then_some(kept)
    }

    /// Names every chunk that was read later than the rest; false if there are any.
    pub(super) fn note_late(&mut self, tables: &[Table]) -> bool {
        let before = self.warnings.len();
        for table in tables {
            let chunked = self.timescale.as_ref().and_then(|found| found.timescale.rows_of(&table.name));
            for unit in table.units.iter().filter_map(|unit| unit.chunk.as_ref()) {
                let Some(late) = &unit.late else { continue };
                let range = chunked
                    .and_then(Hypertable::time)
                    .and_then(|time| unit.chunk.ranges.get(&time.column).map(|range| label(time, *range)));
                let message = format!(
                    "{}, {}: {}; its rows are those of {}, later than the rest of the backup",
                    table.name,
                    range.unwrap_or_default(),
                    late.why,
                    late.time.readable()
                );
                self.warnings.push(Warning { code: LATE.to_owned(), message });
            }
        }
        self.warnings.len() == before
    }
}

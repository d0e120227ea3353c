//! [`Beside`]: rows on several lanes, and beside them the indexes and keys of tables whose rows are all there.
//!
//! A lane does one thing at a time: rows of one transaction (`pipeline::load`), or one job of the schedule after the rows
//! (`pipeline::schema`), each with its journal row. Where it would have to wait, it analyzes a table that is ready for it. Of
//! what could begin, it takes what belongs to the largest table, because
//! that table's chain of rows, key and indexes is what the whole restore waits for. Which jobs may begin is decided in
//! `plan::ddl`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use tokio::sync::Notify;

use super::load::{LoadError, Loading, Outcome};
use super::schema::{Run, Violation, prepare};
use crate::base::{Event, TableName};
use crate::catalog::ddl::SchemaEntry;
use crate::pg::{PgError, Session};
use crate::plan::ddl::{Ahead, Dispatcher, Lanes, PostDataSchedule, Settled};
use crate::plan::load::LoadJob;

/// What is built beside the rows.
pub struct Beside<'a> {
    run: Run<'a>,
    schedule: &'a PostDataSchedule,
    entries: HashMap<i32, &'a SchemaEntry>,
    /// SQL for each session that builds.
    settings: String,
    state: Mutex<State<'a>>,
    /// Something has ended.
    changed: Notify,
}

struct State<'a> {
    dispatcher: Dispatcher<'a>,
    ahead: Ahead<'a>,
    settled: Settled<'a>,
    analyzed: BTreeSet<TableName>,
    loads: VecDeque<LoadJob>,
    /// Where the rows go that are loaded right now, once for each load.
    loading: Vec<TableName>,
    /// Bytes of all rows to come, by where they go.
    sizes: BTreeMap<TableName, u64>,
    /// Loads that may run at once.
    lanes: usize,
    /// Loads and jobs together.
    all: usize,
    building: usize,
    analyzing: usize,
    /// No rows come after these.
    last: bool,
    told: bool,
    violations: Vec<Violation>,
    sessions: Vec<Session>,
}

/// What is left when the rows are there.
pub struct Rest<'a> {
    /// Knows which jobs are done.
    pub dispatcher: Dispatcher<'a>,
    /// Constraints that the rows violate.
    pub violations: Vec<Violation>,
    /// Sessions that can go on building.
    pub sessions: Vec<Session>,
    /// Tables whose statistics are there.
    pub analyzed: BTreeSet<TableName>,
}

/// Rows that may be loaded at the same time.
pub struct Level {
    /// One transaction each.
    pub jobs: Vec<LoadJob>,
    /// How many at once.
    pub lanes: usize,
    /// No rows come after them, so that what needs all rows can begin.
    pub last: bool,
}

enum Step {
    Load(Box<LoadJob>),
    Build(usize),
    Analyze(TableName),
    Wait,
    Done,
}

impl<'a> Beside<'a> {
    /// Nothing is done. `jobs` are all the rows to come; what is on a table of `held` waits for all of them; tables to `analyze`,
    /// who takes longest last, are where there is time; `settings` is run in each session that builds.
    pub fn new<'j>(
        run: Run<'a>,
        schedule: &'a PostDataSchedule,
        jobs: impl Iterator<Item = &'j LoadJob> + Clone,
        held: &BTreeSet<TableName>,
        analyze: Vec<TableName>,
        settings: String,
    ) -> Self {
        let mut sizes = BTreeMap::new();
        jobs.clone().for_each(|job| *sizes.entry(job.into.clone()).or_default() += job.bytes);
        let state = State {
            dispatcher: schedule.dispatch(),
            ahead: Ahead::new(schedule, jobs.map(|job| job.into.clone()), held),
            settled: Settled::new(schedule, analyze),
            analyzed: BTreeSet::new(),
            loads: VecDeque::new(),
            loading: Vec::new(),
            sizes,
            lanes: 0,
            all: 0,
            building: 0,
            analyzing: 0,
            last: false,
            told: false,
            violations: Vec::new(),
            sessions: Vec::new(),
        };
        Self {
            run,
            schedule,
            entries: run.entries(),
            settings,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads a level on `lanes` lanes and builds beside it. After the last level it goes on until no job of the first stage is
    /// left, and calls `rows_done` when the last rows are there.
    pub async fn run(
        &self,
        loading: &Loading<'_>,
        level: Level,
        lanes: usize,
        rows_done: &mut (dyn FnMut() + Send),
    ) -> Result<Vec<(LoadJob, Outcome)>, LoadError> {
        {
            let mut state = self.state();
            let mut jobs = level.jobs;
            let size = |job: &LoadJob| state.sizes.get(&job.into).copied().unwrap_or_default();
            // The pieces of one table after each other, so that it can be built while others are loaded; see `Ahead::next_rows`.
            jobs.sort_by_cached_key(|job| (Reverse(size(job)), job.into.clone(), Reverse(job.bytes)));
            state.loads = jobs.into();
            (state.lanes, state.all, state.last) = (level.lanes.max(1), lanes.max(1), level.last);
        }
        let rows_done = Mutex::new(rows_done);
        let lanes = (0..lanes.max(1)).map(|_| self.lane(loading, &rows_done));
        Ok(try_join_all(lanes).await?.into_iter().flatten().collect())
    }

    async fn lane(
        &self,
        loading: &Loading<'_>,
        rows_done: &Mutex<&mut (dyn FnMut() + Send)>,
    ) -> Result<Vec<(LoadJob, Outcome)>, LoadError> {
        let (mut loads, mut builds) = (None, None);
        let mut done = Vec::new();
        loop {
            let changed = self.changed.notified();
            let (step, rows_are_done) = self.state().next();
            if rows_are_done {
                (*rows_done.lock().unwrap_or_else(PoisonError::into_inner))();
            }
            match step {
                Step::Load(job) => {
                    let outcome = loading.one(&mut loads, &job).await?;
                    let mut state = self.state();
                    state.loaded(&job.into);
                    done.push((*job, outcome));
                }
                Step::Build(number) => self.build(loading, &mut builds, number).await?,
                Step::Analyze(table) => self.analyze(loading, &mut builds, table).await?,
                Step::Wait => {
                    changed.await;
                    continue;
                }
                Step::Done => break,
            }
            self.changed.notify_waiters();
        }
        self.state().sessions.extend(builds);
        Ok(done)
    }

    async fn build(
        &self,
        loading: &Loading<'_>,
        slot: &mut Option<Session>,
        number: usize,
    ) -> Result<(), LoadError> {
        let session = self.builder(loading, slot).await?;
        let job = &self.schedule.jobs()[number];
        let lanes = self.state().at_work();
        let violation = self.run.job(&session, job, &self.entries, lanes).await?;
        *slot = Some(session);
        let mut state = self.state();
        state.building -= 1;
        let violation = self.run.ended(&mut state.dispatcher, self.schedule, number, violation);
        state.violations.extend(violation);
        Ok(())
    }

    /// A session that builds: the lane's, or one that an earlier level opened, if there is one.
    async fn builder(&self, loading: &Loading<'_>, slot: &mut Option<Session>) -> Result<Session, LoadError> {
        let held = slot.take().or_else(|| self.state().sessions.pop());
        match held {
            Some(session) => Ok(session),
            None => self.session(loading).await,
        }
    }

    async fn analyze(
        &self,
        loading: &Loading<'_>,
        slot: &mut Option<Session>,
        table: TableName,
    ) -> Result<(), LoadError> {
        let session = self.builder(loading, slot).await?;
        if let Err(warning) = session.analyze(&table).await {
            self.run.events.emit(Event::Warning(warning));
        }
        *slot = Some(session);
        let mut state = self.state();
        state.analyzing -= 1;
        state.analyzed.insert(table);
        Ok(())
    }

    async fn session(&self, loading: &Loading<'_>) -> Result<Session, LoadError> {
        let session = loading.target.lane().await?;
        prepare(&session, self.run.dump).await?;
        let set = session.batch_execute(&self.settings).await;
        set.map_err(|error| PgError::query("setting up a session that builds", error))?;
        Ok(session)
    }

    /// What is left to do.
    pub fn rest(self) -> Rest<'a> {
        let State { dispatcher, violations, sessions, analyzed, .. } =
            self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        Rest { dispatcher, violations, sessions, analyzed }
    }
}

impl State<'_> {
    fn at_work(&self) -> Lanes {
        Lanes { all: self.all, busy: self.loading.len() + self.building + self.analyzing }
    }

    fn loaded(&mut self, into: &TableName) {
        if let Some(place) = self.loading.iter().position(|table| table == into) {
            self.loading.swap_remove(place);
        }
        self.ahead.ended(into);
    }

    /// The next thing to do, and whether the last rows have just come.
    fn next(&mut self) -> (Step, bool) {
        let all_there = self.last && self.loads.is_empty() && self.loading.is_empty();
        let rows_are_done = all_there && !std::mem::replace(&mut self.told, all_there);
        let build = match all_there {
            true => self.dispatcher.next_of_first_stage(),
            false => self.early(),
        };
        if let Some(number) = build {
            self.building += 1;
            return (Step::Build(number), rows_are_done);
        }
        if self.loading.len() < self.lanes
            && let Some(job) = self.next_load()
        {
            self.loading.push(job.into.clone());
            return (Step::Load(Box::new(job)), rows_are_done);
        }
        let more = !self.loading.is_empty() || (self.last && self.building > 0);
        // Between levels others are to come, which do not wait for this.
        let ready = if more || self.last { self.settled.next(&self.ahead, &self.dispatcher) } else { None };
        let step = match ready {
            Some(table) => {
                self.analyzing += 1;
                Step::Analyze(table)
            }
            None if more => Step::Wait,
            None => Step::Done,
        };
        (step, rows_are_done)
    }

    fn next_load(&mut self) -> Option<LoadJob> {
        let tables = self.loads.iter().map(|job| &job.into);
        let next = self.ahead.next_rows(tables, &self.loading, self.all);
        self.loads.remove(next)
    }

    /// A job beside the rows, unless the next rows belong to a larger table.
    fn early(&mut self) -> Option<usize> {
        let (number, weight) = self.ahead.next(&self.dispatcher)?;
        let rows = self.loads.front().filter(|_| self.loading.len() < self.lanes);
        let larger = rows.is_some_and(|job| self.sizes.get(&job.into).is_some_and(|size| *size > weight));
        if larger {
            return None;
        }
        self.dispatcher.start(number);
        Some(number)
    }
}

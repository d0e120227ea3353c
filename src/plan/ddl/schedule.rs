//! The order of a restore: entries before the rows, one after the other, and entries after them, on several lanes.
//!
//! Stages follow `pg_restore`: its main pass, then grants, then what runs with those grants in force (materialised
//! views, event triggers). A lane claims every lock its job will need before the job starts, and jobs whose locks
//! conflict never run at the same time: so lanes cannot deadlock. Does not run anything.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::statements::{is_acl, is_data};
use crate::base::TableName;
use crate::catalog::ddl::{SchemaDump, SchemaEntry, Section};

/// The steps after the rows, in order. A stage begins when all earlier ones have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Indexes, keys, checks, and views that need a key to exist. Parallel.
    Build,
    /// Indexes of partitions become part of their parent's index.
    Attach,
    /// Foreign keys: every key they refer to is there. Parallel.
    ForeignKeys,
    /// Statistics, rules, triggers, policies, publications, comments: short, one at a time, in `pg_dump`'s order.
    Rest,
    /// Grants and default privileges, one at a time.
    Privileges,
    /// Materialised views are filled, as their owners, with the grants in force. Parallel.
    Refresh,
    /// Event triggers: last, so that none fires on a restore.
    EventTriggers,
}

impl Stage {
    fn is_parallel(self) -> bool {
        matches!(self, Self::Build | Self::Attach | Self::ForeignKeys | Self::Refresh)
    }
}

/// How a job uses a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Others may use it in the same way at the same time (`CREATE INDEX`, reading).
    Shared,
    /// No one else (`ALTER TABLE`).
    Exclusive,
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Runs the statements of the entry with this `dump_id`.
    Entry(i32),
    /// Fills a materialised view.
    Refresh(TableName),
}

/// One thing to do after the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What to do.
    pub work: Work,
    /// When.
    pub stage: Stage,
    /// What it is called, for people.
    pub label: String,
    /// Jobs, by index, that must have succeeded before.
    pub depends_on: Vec<usize>,
    /// Tables it locks, each once.
    pub locks: Vec<(TableName, Access)>,
    /// It is about the rows of one table, and no function of the user's takes part, which might read others: it can be
    /// done as soon as the rows of that table are there.
    pub early: bool,
    /// Bytes of the largest table it locks: who takes longest begins first.
    pub weight: u64,
    /// Bytes of the smallest: a table without its ancestors, whose rows are those of all their partitions.
    pub own: u64,
}

/// Entries to run before the rows, in order.
pub fn pre_data(dump: &SchemaDump) -> Vec<&SchemaEntry> {
    let post = post_data_ids(dump);
    dump.entries.iter().filter(|entry| !is_data(entry) && !post.contains(&entry.dump_id)).collect()
}

/// Everything that waits for the rows: what `pg_dump` says so of, grants, and comments on such objects.
fn post_data_ids(dump: &SchemaDump) -> BTreeSet<i32> {
    let mut post = BTreeSet::new();
    for entry in dump.entries.iter().filter(|entry| !is_data(entry)) {
        let of_such = entry.section == Section::None && entry.depends_on.iter().any(|id| post.contains(id));
        if entry.section == Section::PostData || of_such || is_acl(entry) || entry.kind == "EVENT TRIGGER" {
            post.insert(entry.dump_id);
        }
    }
    post
}

fn stage(entry: &SchemaEntry) -> Stage {
    match &*entry.kind {
        "INDEX" | "CONSTRAINT" | "CHECK CONSTRAINT" => Stage::Build,
        // A view that groups by a key is made after the key; other jobs of the first stage may need it.
        "VIEW" | "MATERIALIZED VIEW" | "FUNCTION" | "PROCEDURE" | "AGGREGATE" | "TABLE" => Stage::Build,
        "INDEX ATTACH" => Stage::Attach,
        "FK CONSTRAINT" => Stage::ForeignKeys,
        "EVENT TRIGGER" => Stage::EventTriggers,
        _ if is_acl(entry) => Stage::Privileges,
        "COMMENT" | "SECURITY LABEL" if entry.name.starts_with("EVENT TRIGGER ") => Stage::EventTriggers,
        _ => Stage::Rest,
    }
}

/// The work after the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostDataSchedule {
    jobs: Vec<Job>,
    /// Partition to parent, and parent to partitions.
    parents: BTreeMap<TableName, TableName>,
    children: BTreeMap<TableName, Vec<TableName>>,
}

impl PostDataSchedule {
    /// Plans everything after the rows. `populated` are the materialised views that held rows in the source.
    pub fn new(dump: &SchemaDump, populated: &[TableName]) -> Self {
        let facts = Facts::of(dump);
        let post = post_data_ids(dump);
        let mut jobs: Vec<Job> = Vec::new();
        let mut job_of: HashMap<i32, usize> = HashMap::new();
        for entry in dump.entries.iter().filter(|entry| post.contains(&entry.dump_id)) {
            let depends_on: Vec<usize> =
                entry.depends_on.iter().filter_map(|id| job_of.get(id)).copied().collect();
            // A stage waits for the earlier ones, so a job can never be earlier than what it needs.
            let earliest = depends_on.iter().map(|job| jobs[*job].stage).max();
            let stage = earliest.map_or(stage(entry), |earliest| earliest.max(stage(entry)));
            job_of.insert(entry.dump_id, jobs.len());
            let locks = facts.locks(entry);
            jobs.push(Job {
                work: Work::Entry(entry.dump_id),
                stage,
                label: entry.label(),
                depends_on,
                locks,
                early: facts.is_early(entry),
                weight: 0,
                own: 0,
            });
        }
        facts.refreshes(populated, &mut jobs);
        let parents = facts.parents_by_name();
        let mut children: BTreeMap<TableName, Vec<TableName>> = BTreeMap::new();
        for (child, parent) in &parents {
            children.entry(parent.clone()).or_default().push(child.clone());
        }
        Self { jobs, parents, children }
    }

    /// The same with the sizes of tables known: of jobs that could begin, the one on the largest table does.
    pub fn by_size(mut self, own: &BTreeMap<TableName, u64>) -> Self {
        // A tree is as large as all of its partitions: its keys are one chain.
        let mut bytes: BTreeMap<&TableName, u64> = BTreeMap::new();
        for (table, size) in own {
            let mut at = Some(table);
            while let Some(table) = at {
                *bytes.entry(table).or_default() += size;
                at = self.parents.get(table);
            }
        }
        // One at a time jobs run in, they keep pg_dump's order.
        for job in self.jobs.iter_mut().filter(|job| job.stage.is_parallel()) {
            let sizes = || job.locks.iter().filter_map(|(table, _)| bytes.get(table)).copied();
            job.weight = sizes().max().unwrap_or(0);
            job.own = sizes().min().unwrap_or(0);
        }
        self
    }

    /// How rows on their way into a table use it and its relatives: they fill its partitions too, and look at its ancestors.
    pub fn claims(&self, into: &TableName) -> Vec<(TableName, Access)> {
        let mut claims = BTreeMap::from([(into.clone(), Access::Exclusive)]);
        let mut above = into;
        while let Some(parent) = self.parents.get(above).filter(|parent| !claims.contains_key(*parent)) {
            claims.insert(parent.clone(), Access::Shared);
            above = parent;
        }
        let mut filled = vec![into];
        while let Some(table) = filled.pop() {
            for child in self.children.get(table).into_iter().flatten() {
                if claims.insert(child.clone(), Access::Exclusive).is_none() {
                    filled.push(child);
                }
            }
        }
        claims.into_iter().collect()
    }

    /// The jobs; their index is their number.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// Begins to hand them out.
    pub fn dispatch(&self) -> Dispatcher<'_> {
        Dispatcher::new(&self.jobs)
    }
}

/// What the schedule asks of a dump, looked up once.
struct Facts<'a> {
    entries: HashMap<i32, &'a SchemaEntry>,
    /// Partition to parent, both by `dump_id`.
    parents: HashMap<i32, i32>,
}

impl<'a> Facts<'a> {
    fn of(dump: &'a SchemaDump) -> Self {
        let entries: HashMap<i32, &SchemaEntry> = dump.entries.iter().map(|e| (e.dump_id, e)).collect();
        let mut parents = HashMap::new();
        for attach in dump.entries.iter().filter(|entry| entry.kind == "TABLE ATTACH") {
            let is_child = |id: &&i32| {
                entries.get(id).is_some_and(|e| e.name == attach.name && e.schema == attach.schema)
            };
            let child = attach.depends_on.iter().find(is_child);
            let parent = attach
                .depends_on
                .iter()
                .find(|id| !is_child(id) && entries.get(id).is_some_and(|entry| entry.relation().is_some()));
            if let (Some(child), Some(parent)) = (child, parent) {
                parents.insert(*child, *parent);
            }
        }
        Self { entries, parents }
    }

    fn is_early(&self, entry: &SchemaEntry) -> bool {
        let calls = |id: &i32| {
            let kind = self.entries.get(id).map(|needed| &*needed.kind);
            matches!(kind, Some("FUNCTION" | "PROCEDURE" | "AGGREGATE"))
        };
        matches!(&*entry.kind, "INDEX" | "CONSTRAINT") && !entry.depends_on.iter().any(calls)
    }

    fn parents_by_name(&self) -> BTreeMap<TableName, TableName> {
        let name = |id: &i32| self.entries.get(id).and_then(|entry| entry.relation());
        self.parents.iter().filter_map(|(child, parent)| Some((name(child)?, name(parent)?))).collect()
    }

    /// The relations an entry touches: those it depends on, and those of the indexes and keys it depends on. An index or a key
    /// touches its own table only: that of a partition depends on that of its parent, and does not lock it.
    fn relations(&self, entry: &SchemaEntry) -> BTreeSet<i32> {
        let is_relation = |id: &&i32| self.entries.get(id).is_some_and(|entry| entry.relation().is_some());
        let mut found: BTreeSet<i32> = entry.depends_on.iter().filter(is_relation).copied().collect();
        if matches!(&*entry.kind, "INDEX" | "CONSTRAINT") && !found.is_empty() {
            return found;
        }
        let needed = entry.depends_on.iter().filter_map(|id| self.entries.get(id));
        for needed in needed.filter(|one| matches!(&*one.kind, "INDEX" | "CONSTRAINT" | "INDEX ATTACH")) {
            found.extend(needed.depends_on.iter().filter(is_relation));
        }
        found
    }

    fn locks(&self, entry: &SchemaEntry) -> Vec<(TableName, Access)> {
        // `CREATE INDEX` alone lets other indexes be built on the same table; with `CLUSTER ON` or `REPLICA
        // IDENTITY` behind it, it alters the table.
        let reads = entry.kind == "INDEX" && super::ast::split(&entry.definition).len() < 2;
        let access = if reads { Access::Shared } else { Access::Exclusive };
        let mut locks = BTreeMap::new();
        for id in self.relations(entry) {
            self.lock(&mut locks, id, access);
        }
        locks.into_iter().collect()
    }

    /// Whoever alters a partitioned table alters its partitions; so who touches a partition shares all its ancestors.
    fn lock(&self, locks: &mut BTreeMap<TableName, Access>, id: i32, access: Access) {
        let mut claim = |id: i32, access: Access| {
            if let Some(name) = self.entries.get(&id).and_then(|entry| entry.relation()) {
                let held = locks.entry(name).or_insert(access);
                *held = access.max(*held);
            }
        };
        claim(id, access);
        let (mut id, mut seen) = (id, BTreeSet::new());
        while let Some(parent) = self.parents.get(&id)
            && seen.insert(*parent)
        {
            claim(*parent, Access::Shared);
            id = *parent;
        }
    }

    fn refreshes(&self, populated: &[TableName], jobs: &mut Vec<Job>) {
        let mut views: Vec<(&SchemaEntry, TableName)> = self
            .entries
            .values()
            .filter(|entry| entry.kind == "MATERIALIZED VIEW")
            .filter_map(|entry| Some((*entry, entry.relation()?)))
            .filter(|(_, name)| populated.contains(name))
            .collect();
        views.sort_by(|a, b| a.1.cmp(&b.1));
        let needs: Vec<BTreeSet<i32>> = views.iter().map(|(entry, _)| self.closure(entry)).collect();
        let first = jobs.len();
        for ((_, name), needs) in views.iter().zip(&needs) {
            let depends_on =
                (0..views.len()).filter(|i| needs.contains(&views[*i].0.dump_id)).map(|i| first + i);
            let mut locks = BTreeMap::new();
            for id in needs {
                self.lock(&mut locks, *id, Access::Shared);
            }
            locks.insert(name.clone(), Access::Exclusive);
            jobs.push(Job {
                work: Work::Refresh(name.clone()),
                stage: Stage::Refresh,
                label: format!("REFRESH MATERIALIZED VIEW {name}"),
                depends_on: depends_on.collect(),
                locks: locks.into_iter().collect(),
                early: false,
                weight: 0,
                own: 0,
            });
        }
    }

    /// All that an entry needs, directly or through others; through rules too, which can be what a view reads.
    fn closure(&self, entry: &SchemaEntry) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        let mut open: Vec<i32> = entry.depends_on.clone();
        while let Some(id) = open.pop() {
            if id != entry.dump_id
                && found.insert(id)
                && let Some(needed) = self.entries.get(&id)
            {
                open.extend(&needed.depends_on);
            }
        }
        found
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Succeeded,
    Failed,
}

/// Hands out the jobs of a schedule to lanes.
#[derive(Debug, Clone)]
pub struct Dispatcher<'a> {
    jobs: &'a [Job],
    state: Vec<State>,
    /// Jobs not handed out yet. By stage, so that finding the next one does not look at all that are done; the largest first.
    waiting: BTreeMap<Stage, BTreeSet<(Reverse<u64>, usize)>>,
    running: Vec<usize>,
}

impl<'a> Dispatcher<'a> {
    fn new(jobs: &'a [Job]) -> Self {
        let mut waiting: BTreeMap<Stage, BTreeSet<(Reverse<u64>, usize)>> = BTreeMap::new();
        for (number, job) in jobs.iter().enumerate() {
            waiting.entry(job.stage).or_default().insert((Reverse(job.weight), number));
        }
        Self { jobs, state: vec![State::Waiting; jobs.len()], waiting, running: Vec::new() }
    }

    /// The next job that can start now, and marks it as running; `None` if all that remain have to wait.
    pub fn next_job(&mut self) -> Option<usize> {
        let (stage, waiting) = self.waiting.first_key_value()?;
        if self.running.iter().any(|job| self.jobs[*job].stage != *stage) {
            return None;
        }
        let next = waiting.iter().map(|(_, job)| *job).find(|job| self.can_start(*job))?;
        self.start(next);
        Some(next)
    }

    /// The same, of the first stage only.
    pub fn next_of_first_stage(&mut self) -> Option<usize> {
        self.waiting.contains_key(&Stage::Build).then(|| self.next_job()).flatten()
    }

    /// Hands out this job.
    pub fn start(&mut self, job: usize) {
        self.take(job);
        self.running.push(job);
    }

    /// Whether a job of the first stage waits to be handed out.
    pub(super) fn is_waiting(&self, job: usize) -> bool {
        self.state[job] == State::Waiting && !self.running.contains(&job)
    }

    /// Whether nothing is to come of a job.
    pub(super) fn is_over(&self, job: usize) -> bool {
        self.state[job] != State::Waiting
    }

    fn take(&mut self, job: usize) {
        let Job { stage, weight, .. } = self.jobs[job];
        if let Some(waiting) = self.waiting.get_mut(&stage) {
            waiting.remove(&(Reverse(weight), job));
            if waiting.is_empty() {
                self.waiting.remove(&stage);
            }
        }
    }

    pub(super) fn can_start(&self, job: usize) -> bool {
        let wanted = &self.jobs[job];
        if !wanted.stage.is_parallel() {
            return self.running.is_empty();
        }
        wanted.depends_on.iter().all(|needed| self.state[*needed] == State::Succeeded)
            && self.running.iter().all(|other| !conflict(&wanted.locks, &self.jobs[*other].locks))
    }

    /// A running job is done.
    pub fn succeeded(&mut self, job: usize) {
        self.ended(job, State::Succeeded);
    }

    fn ended(&mut self, job: usize, state: State) {
        self.state[job] = state;
        self.running.retain(|running| *running != job);
    }

    /// A running job has failed or was left out. Returns the jobs that need it, directly or not, in order: they will
    /// not be handed out any more.
    pub fn failed(&mut self, job: usize) -> Vec<usize> {
        self.ended(job, State::Failed);
        let mut lost = Vec::new();
        // Jobs only depend on earlier ones, so one pass finds all.
        for later in job + 1..self.jobs.len() {
            let needs_failed =
                self.jobs[later].depends_on.iter().any(|needed| self.state[*needed] == State::Failed);
            if self.state[later] == State::Waiting && needs_failed {
                self.state[later] = State::Failed;
                self.take(later);
                lost.push(later);
            }
        }
        lost
    }

    /// How many jobs have not been handed out.
    pub fn left(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// Whether nothing waits or runs any more.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}

fn conflict(one: &[(TableName, Access)], other: &[(TableName, Access)]) -> bool {
    one.iter().any(|(table, access)| {
        other.iter().any(|(theirs, their_access)| {
            table == theirs && (*access == Access::Exclusive || *their_access == Access::Exclusive)
        })
    })
}

#[cfg(test)]
mod tests;

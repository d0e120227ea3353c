//! Runs schema entries on a database: those before the rows in one session, those after on several lanes.
//!
//! Every entry is run in a transaction together with its journal row, so that an interrupted restore goes on where it
//! stopped. A constraint that the restored rows violate does not end the run: it is reported (`schema/violation.rs`).
//! Does not open connections and does not decide what to run or when (`plan::ddl`).

mod violation;

use std::collections::HashMap;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_postgres::Client;
use tokio_postgres::SimpleQueryMessage::Row;

use crate::base::{Event, Events, quote_literal};
use crate::catalog::ddl::{SchemaDump, SchemaEntry};
use crate::plan::ddl::{
    Dispatcher, Job, Lanes, PostDataSchedule, RestoreOptions, Stage, Statement, Work, Workspace, statements,
};

pub use violation::{Fate, Violation, ViolationKind};

/// What remembers which steps of a restore are done. Implementations MUST NOT block.
pub trait Journal: Send + Sync {
    /// Whether the step with this key was committed, now or by an earlier run.
    fn done(&self, key: &str) -> bool;
    /// The SQL that records the step; it is run in the step's own transaction. `None` keeps no record.
    ///
    /// A step that ended in a constraint being added `NOT VALID` hands its violation over, so that a resumed run can
    /// still report it.
    fn record(&self, key: &str, violation: Option<&Violation>) -> Option<String>;
    /// The violation for which an earlier run left the step's object out. It is not tried again: what depends on it has
    /// to be left out again too.
    fn left_out(&self, key: &str) -> Option<Violation>;
}

/// A journal that remembers nothing, for a restore that is not to be resumed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn done(&self, _key: &str) -> bool {
        false
    }

    fn record(&self, _key: &str, _violation: Option<&Violation>) -> Option<String> {
        None
    }

    fn left_out(&self, _key: &str) -> Option<Violation> {
        None
    }
}

/// A schema cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The server refused a statement.
    #[error("{object}: {message}{}{}", labelled("detail", .detail), labelled("hint", .hint))]
    Statement {
        /// The object that the statement was for: `INDEX public.orders_by_day`.
        object: String,
        /// The server's message.
        message: String,
        /// Its detail.
        detail: Option<String>,
        /// Its hint.
        hint: Option<String>,
        /// SQLSTATE, if it was the server that spoke.
        sqlstate: Option<String>,
        /// The error itself.
        source: tokio_postgres::Error,
    },
    /// No lane was given, or a schedule cannot go on (a job waits for one that never comes).
    #[error("the schema's schedule is stuck with {0} jobs left")]
    Stuck(usize),
}

fn labelled(what: &str, text: &Option<String>) -> String {
    text.as_ref().map(|text| format!("; {what}: {text}")).unwrap_or_default()
}

impl SchemaError {
    fn new(object: &str, source: tokio_postgres::Error) -> Self {
        let server = source.as_db_error();
        Self::Statement {
            object: object.to_owned(),
            message: server.map_or_else(|| source.to_string(), |error| error.message().to_owned()),
            detail: server.and_then(|error| error.detail()).map(str::to_owned),
            hint: server.and_then(|error| error.hint()).map(str::to_owned),
            sqlstate: source.code().map(|code| code.code().to_owned()),
            source,
        }
    }

    /// The SQLSTATE, if the server gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Statement { sqlstate, .. } => sqlstate.as_deref(),
            Self::Stuck(_) => None,
        }
    }
}

/// What every step of one restore shares.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The entries.
    pub dump: &'a SchemaDump,
    /// What of them is wanted.
    pub options: &'a RestoreOptions,
    /// What is done already.
    pub journal: &'a dyn Journal,
    /// Who wants to know.
    pub events: &'a dyn Events,
}

/// Entries per transaction before the rows: enough that commits cost nothing, few enough that the locks of one
/// transaction (about three for each table with a key) stay far below the default of 6400.
const BATCH: usize = 200;

/// Puts a session into the state in which `pg_dump`'s definitions mean what they say. Wanted on every client.
pub async fn prepare(client: &Client, dump: &SchemaDump) -> Result<(), SchemaError> {
    let conforming = if dump.standard_conforming_strings { "on" } else { "off" };
    // A SQL_ASCII source has no encoding to announce: its bytes are taken as they are, as UTF-8.
    let encoding = if dump.encoding == "SQL_ASCII" { "UTF8" } else { &dump.encoding };
    let sql = format!(
        "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
         SET client_encoding = {}; SET standard_conforming_strings = {conforming};
         SET search_path = ''; SET check_function_bodies = false; SET xmloption = content;
         SET client_min_messages = warning; SET row_security = off",
        quote_literal(encoding)
    );
    client.batch_execute(&sql).await.map_err(|error| SchemaError::new("session", error))
}

impl<'a> Run<'a> {
    /// The entries by their numbers.
    pub(super) fn entries(&self) -> HashMap<i32, &'a SchemaEntry> {
        self.dump.entries.iter().map(|entry| (entry.dump_id, entry)).collect()
    }

    /// Runs entries before the rows, in the order given, in transactions of at most 200.
    pub async fn pre_data(&self, client: &Client, entries: &[&SchemaEntry]) -> Result<(), SchemaError> {
        let open: Vec<&SchemaEntry> =
            entries.iter().copied().filter(|entry| !self.journal.done(&entry_key(entry.dump_id))).collect();
        for batch in open.chunks(BATCH) {
            begin(client).await?;
            for entry in batch {
                let done = self.entry(client, entry, None).await;
                if let Err(error) = done {
                    // The connection may be gone; the first error is the one that counts.
                    let _ = client.batch_execute("ROLLBACK").await;
                    return Err(error);
                }
            }
            commit(client).await?;
            for entry in batch {
                self.events.emit(Event::Step { what: entry.label() });
            }
        }
        Ok(())
    }

    /// Runs an entry's statements and its journal row in the open transaction.
    async fn entry(
        &self,
        client: &Client,
        entry: &SchemaEntry,
        workspace: Option<Workspace>,
    ) -> Result<(), SchemaError> {
        let run = statements(entry, self.options);
        let mut text = workspace.map(Workspace::sql).unwrap_or_default();
        for setting in &run.settings {
            text.push_str(&setting.local());
            text.push_str(";\n");
        }
        for statement in &run.statements {
            if !is_needless(client, statement).await {
                text.push_str(&statement.sql);
                text.push_str(";\n");
            }
        }
        text.extend(self.journal.record(&entry_key(entry.dump_id), None));
        client.batch_execute(&text).await.map_err(|error| SchemaError::new(&entry.label(), error))
    }

    /// Runs everything after the rows on as many lanes as there are clients. Each stage is told to `tell` when its first
    /// job begins.
    ///
    /// Returns the constraints that the rows violate. Any other error ends the run, after the jobs under way.
    pub async fn post_data(
        &self,
        clients: &[&Client],
        schedule: &PostDataSchedule,
        tell: &mut (dyn FnMut(Stage) + Send),
    ) -> Result<Vec<Violation>, SchemaError> {
        self.go_on(clients, schedule, schedule.dispatch(), tell).await
    }

    /// The same, where some of it is done.
    pub async fn go_on(
        &self,
        clients: &[&Client],
        schedule: &PostDataSchedule,
        mut dispatcher: Dispatcher<'_>,
        tell: &mut (dyn FnMut(Stage) + Send),
    ) -> Result<Vec<Violation>, SchemaError> {
        let mut told = None;
        let entries = &self.entries();
        let mut free: Vec<&Client> = clients.to_vec();
        let mut running = FuturesUnordered::new();
        let mut violations = Vec::new();
        let mut failure = None;
        loop {
            let mut next = Vec::new();
            while failure.is_none()
                && !free.is_empty()
                && let Some(number) = dispatcher.next_job()
                && let Some(client) = free.pop()
            {
                let job = &schedule.jobs()[number];
                if told.replace(job.stage) != Some(job.stage) {
                    tell(job.stage);
                }
                next.push((number, client, job));
            }
            let lanes = Lanes { all: clients.len(), busy: running.len() + next.len() };
            for (number, client, job) in next {
                running.push(async move { (number, client, self.job(client, job, entries, lanes).await) });
            }
            let Some((number, client, outcome)) = running.next().await else { break };
            free.push(client);
            match outcome {
                Ok(violation) => violations.extend(self.ended(&mut dispatcher, schedule, number, violation)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) => Err(error),
            None if !dispatcher.is_done() => Err(SchemaError::Stuck(dispatcher.left())),
            None => Ok(violations),
        }
    }

    /// Tells the dispatcher, and whoever wants to know, that a job has ended; gives its violation with what is lost by it.
    pub(super) fn ended(
        &self,
        dispatcher: &mut Dispatcher<'_>,
        schedule: &PostDataSchedule,
        number: usize,
        mut violation: Option<Violation>,
    ) -> Option<Violation> {
        match violation.as_mut().filter(|violation| violation.fate == Fate::LeftOut) {
            Some(violation) => {
                let lost = dispatcher.failed(number);
                violation.lost = lost.iter().map(|job| schedule.jobs()[*job].label.clone()).collect();
            }
            None => dispatcher.succeeded(number),
        }
        self.events.emit(Event::Step { what: schedule.jobs()[number].label.clone() });
        violation
    }

    /// Does a job; gives the constraint that the rows violate.
    pub(super) async fn job(
        &self,
        client: &Client,
        job: &Job,
        entries: &HashMap<i32, &SchemaEntry>,
        lanes: Lanes,
    ) -> Result<Option<Violation>, SchemaError> {
        match &job.work {
            Work::Entry(dump_id) => {
                let key = entry_key(*dump_id);
                match entries.get(dump_id) {
                    Some(entry) if !self.journal.done(&key) => {
                        self.post_entry(client, entry, &key, Workspace::of(job, entry, lanes)).await
                    }
                    _ => Ok(self.journal.left_out(&key)),
                }
            }
            Work::Refresh(view) => {
                let key = format!("refresh:{}", view.sql());
                if self.journal.done(&key) {
                    return Ok(None);
                }
                let record = self.journal.record(&key, None).unwrap_or_default();
                let sql = format!("BEGIN; REFRESH MATERIALIZED VIEW {}; {record}", view.sql());
                finish(client, client.batch_execute(&sql).await, &job.label).await.map(|()| None)
            }
        }
    }

    async fn post_entry(
        &self,
        client: &Client,
        entry: &SchemaEntry,
        key: &str,
        workspace: Option<Workspace>,
    ) -> Result<Option<Violation>, SchemaError> {
        begin(client).await?;
        match self.entry(client, entry, workspace).await {
            Ok(()) => commit(client).await.map(|()| None),
            Err(error) => {
                rollback(client, entry).await?;
                let Some(kind) = ViolationKind::of(entry, error.sqlstate()) else { return Err(error) };
                violation::settle(self, client, entry, kind, key, &error).await.map(Some)
            }
        }
    }
}

fn entry_key(dump_id: i32) -> String {
    format!("ddl:{dump_id}")
}

/// Whether a statement's `unless` query answers true. An error is no answer: then the statement is run, and speaks.
async fn is_needless(client: &Client, statement: &Statement) -> bool {
    let Some(unless) = &statement.unless else { return false };
    match client.simple_query(unless).await {
        Ok(answer) => answer.iter().any(|message| matches!(message, Row(row) if row.get(0) == Some("t"))),
        Err(_) => false,
    }
}

async fn begin(client: &Client) -> Result<(), SchemaError> {
    client.batch_execute("BEGIN").await.map_err(|error| SchemaError::new("BEGIN", error))
}

async fn commit(client: &Client) -> Result<(), SchemaError> {
    client.batch_execute("COMMIT").await.map_err(|error| SchemaError::new("COMMIT", error))
}

async fn rollback(client: &Client, entry: &SchemaEntry) -> Result<(), SchemaError> {
    client.batch_execute("ROLLBACK").await.map_err(|error| SchemaError::new(&entry.label(), error))
}

/// Commits if all went well, else rolls back and names the object.
async fn finish(
    client: &Client,
    outcome: Result<(), tokio_postgres::Error>,
    object: &str,
) -> Result<(), SchemaError> {
    match outcome {
        Ok(()) => commit(client).await,
        Err(error) => {
            let _ = client.batch_execute("ROLLBACK").await;
            Err(SchemaError::new(object, error))
        }
    }
}

#[cfg(test)]
mod tests;

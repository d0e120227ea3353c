//! Loads pieces into a database on several lanes: one transaction a job, its rows proven before it commits.
//!
//! For every piece: the stored bytes are checked against the manifest before the first one goes to the server; the rows
//! that are sent are counted and hashed; and only if the server counted as many and the sum is the manifest's does the
//! transaction commit, together with its journal row. A lost connection costs one transaction. What the jobs are is
//! decided in `plan::load`; it does not know names, selections or modes.

mod pump;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::try_join_all;
use tokio_postgres::{CopyInSink, SimpleQueryMessage};

use super::journal::RestoreJournal;
use super::schema::{Journal, SchemaError};
use crate::base::{Event, Events, RowsetDigest, TableName};
use crate::codec::CodecError;
use crate::codec::copy::{HEADER, TRAILER};
use crate::manifest::{Manifest, Piece, Table};
use crate::pg::{PgError, Session, Target};
use crate::plan::load::{LoadJob, PieceLoad};
use crate::store::{StoreError, Vault};

/// How often one job is begun again after its connection was lost.
const RETRIES: u32 = 3;

/// The first pause before that; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Rows cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// The vault: a piece is missing or damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A piece cannot be decoded.
    #[error("{table}: the piece {path} cannot be decoded")]
    Rows {
        /// The table.
        table: TableName,
        /// The piece.
        path: String,
        /// Why.
        source: CodecError,
    },
    /// The rows are not the rows that were dumped; the transaction was rolled back.
    #[error("{table}: the rows of {path} are not those that were dumped: {what}; nothing of it was kept")]
    Mismatch {
        /// The table.
        table: TableName,
        /// The piece.
        path: String,
        /// What differs.
        what: String,
    },
    /// The server refused a statement or a row.
    #[error("{table}: {source}")]
    Refused {
        /// The table.
        table: TableName,
        /// The server's words.
        source: PgError,
    },
    /// What was built beside the rows could not be.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The manifest names a key or a piece that is not there.
    #[error("the backup lacks {0}")]
    Lacks(String),
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its rows are there.
    Loaded {
        /// Rows sent.
        rows: u64,
        /// Bytes of COPY data sent.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// An earlier run did it.
    Earlier,
    /// A value names an object that does not exist yet.
    Deferred,
}

/// What all lanes share.
#[derive(Clone, Copy)]
pub struct Loading<'a> {
    /// The vault.
    pub vault: &'a Vault,
    /// The backup.
    pub manifest: &'a Manifest,
    /// The database.
    pub target: &'a Target,
    /// What is done already.
    pub journal: &'a RestoreJournal,
    /// Who wants to know.
    pub events: &'a dyn Events,
    /// Whether a job whose casts fail for want of an object may be put off.
    pub may_defer: bool,
}

impl Loading<'_> {
    /// Runs all jobs, the largest first, on at most `lanes` connections, and gives each with what became of it.
    ///
    /// The first error ends it: other lanes' transactions are rolled back by the server when their connections close.
    pub async fn run(
        &self,
        mut jobs: Vec<LoadJob>,
        lanes: usize,
    ) -> Result<Vec<(LoadJob, Outcome)>, LoadError> {
        jobs.sort_by_key(|job| std::cmp::Reverse(job.bytes));
        let count = lanes.max(1).min(jobs.len());
        let queue = Mutex::new(VecDeque::from(jobs));
        let lanes = (0..count).map(|_| self.lane(&queue));
        Ok(try_join_all(lanes).await?.into_iter().flatten().collect())
    }

    async fn lane(&self, queue: &Mutex<VecDeque<LoadJob>>) -> Result<Vec<(LoadJob, Outcome)>, LoadError> {
        let mut client = None;
        let mut done = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(job) = next else { return Ok(done) };
            let outcome = self.one(&mut client, &job).await?;
            done.push((job, outcome));
        }
    }

    /// Runs one job on a lane's connection, unless an earlier run did it.
    pub(super) async fn one(
        &self,
        client: &mut Option<Session>,
        job: &LoadJob,
    ) -> Result<Outcome, LoadError> {
        match self.journal.done(&job.key) {
            true => Ok(Outcome::Earlier),
            false => self.persist(client, job).await,
        }
    }

    /// Runs one job, again where the connection is lost.
    async fn persist(&self, client: &mut Option<Session>, job: &LoadJob) -> Result<Outcome, LoadError> {
        let mut pause = PAUSE;
        for attempt in 0.. {
            let error = match self.attempt(client, job).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            *client = None;
            if !is_lost(&error) || attempt == RETRIES {
                return Err(error);
            }
            self.events.emit(Event::Warning(format!("{}: the connection was lost; trying again", job.table)));
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(LoadError::Lacks("a job".to_owned()))
    }

    async fn attempt(&self, slot: &mut Option<Session>, job: &LoadJob) -> Result<Outcome, LoadError> {
        let client = match slot {
            Some(client) => client,
            None => slot.insert(self.target.lane().await?),
        };
        let began = std::time::Instant::now();
        match self.transaction(client, job).await {
            Ok(Some((rows, bytes))) => Ok(Outcome::Loaded { rows, bytes, took: began.elapsed() }),
            Ok(None) => Ok(Outcome::Earlier),
            Err(error) => {
                let rolled_back = client.batch_execute("ROLLBACK").await;
                if self.may_defer && job.casts && rolled_back.is_ok() && wants_an_object(&error) {
                    return Ok(Outcome::Deferred);
                }
                Err(error)
            }
        }
    }

    /// Rows and bytes, or `None` where the journal has the job already.
    async fn transaction(&self, client: &Session, job: &LoadJob) -> Result<Option<(u64, u64)>, LoadError> {
        let refused = |source| LoadError::Refused {
            table: job.table.clone(),
            source: PgError::query("restoring rows", source),
        };
        // One message, because for a small piece each round trip costs as much as its rows. The journal first of all:
        // whoever lost the answer to a COMMIT waits here until it is known; where it was done, the rest is rolled back.
        let claim = self.journal.claim(&job.key, None);
        let opening = ["BEGIN", &claim].into_iter().chain(job.open.iter().map(String::as_str));
        let opening: Vec<&str> = opening.collect();
        let answers = client.simple_query(&opening.join("; ")).await.map_err(refused)?;
        let mut counts = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        // Of BEGIN, and of the claim.
        if counts.nth(1) != Some(1) {
            client.batch_execute("ROLLBACK").await.map_err(refused)?;
            return Ok(None);
        }
        let (mut rows, mut bytes) = (0, 0);
        for load in &job.pieces {
            let (some_rows, some_bytes) = self.piece(client, load).await?;
            rows += some_rows;
            bytes += some_bytes;
        }
        let closing: Vec<&str> = job.close.iter().map(String::as_str).chain(["COMMIT"]).collect();
        client.batch_execute(&closing.join("; ")).await.map_err(refused)?;
        Ok(Some((rows, bytes)))
    }

    fn find(&self, load: &PieceLoad) -> Result<(&Table, &Piece), LoadError> {
        let table = self.manifest.body.tables.get(load.table);
        let piece = self.manifest.head.pieces.get(load.piece);
        table
            .zip(piece)
            .ok_or_else(|| LoadError::Lacks(format!("piece {} of table {}", load.piece, load.table)))
    }

    /// Copies one piece and holds what was sent against the manifest and the server's count.
    async fn piece(&self, client: &Session, load: &PieceLoad) -> Result<(u64, u64), LoadError> {
        let (table, piece) = self.find(load)?;
        let refused = |source| LoadError::Refused {
            table: table.name.clone(),
            source: PgError::query(format!("COPY of {}", piece.path), source),
        };
        let mut pump = pump::start(self.vault, self.manifest, table, piece)?;
        // Nothing is sent before the stored bytes have been checked: the first block says they were.
        let mut next = pump.next().await;
        if next.is_none() && piece.rowset.rows > 0 {
            let digest = pump.finish().await?;
            return Err(mismatch(table, piece, digest, digest.rows));
        }
        let sink: CopyInSink<Bytes> = client.copy_in(&load.copy).await.map_err(refused)?;
        let mut sink = std::pin::pin!(sink);
        sink.feed(Bytes::from_static(&HEADER)).await.map_err(refused)?;
        let mut sent = (HEADER.len() + TRAILER.len()) as u64;
        while let Some(block) = next {
            let bytes = block.bytes.len() as u64;
            sink.send(block.bytes).await.map_err(refused)?;
            sent += bytes;
            self.events.emit(Event::Progress { table: table.name.clone(), rows: block.rows, bytes });
            next = pump.next().await;
        }
        // Its error, if it has one, comes before the trailer: without a trailer the server keeps nothing.
        let digest = pump.finish().await?;
        if digest != piece.rowset {
            return Err(mismatch(table, piece, digest, digest.rows));
        }
        sink.send(Bytes::from_static(&TRAILER)).await.map_err(refused)?;
        let counted = sink.as_mut().finish().await.map_err(refused)?;
        if counted != digest.rows {
            return Err(mismatch(table, piece, digest, counted));
        }
        Ok((counted, sent))
    }
}

fn mismatch(table: &Table, piece: &Piece, found: RowsetDigest, counted: u64) -> LoadError {
    let what = if found.rows != piece.rowset.rows {
        format!("{} rows instead of {}", found.rows, piece.rowset.rows)
    } else if counted != found.rows {
        format!("the server took {counted} rows of {}", found.rows)
    } else {
        "as many rows, other values".to_owned()
    };
    LoadError::Mismatch { table: table.name.clone(), path: piece.path.clone(), what }
}

fn is_lost(error: &LoadError) -> bool {
    match error {
        LoadError::Pg(error) | LoadError::Refused { source: error, .. } => error.is_connection_lost(),
        _ => false,
    }
}

/// `'some_index'::regclass` fails so while the index is still to be made.
fn wants_an_object(error: &LoadError) -> bool {
    let LoadError::Refused { source, .. } = error else { return false };
    source.code().is_some_and(|code| matches!(code.code(), "42P01" | "42883" | "42704"))
}

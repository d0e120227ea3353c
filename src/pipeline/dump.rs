//! Lanes: connections that read units under one snapshot, each feeding a thread that encodes and stores.

mod chunk;
mod large;
mod late;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::sink::{SinkError, StoredUnit, UnitSink, UnitTarget};
use crate::base::{BackupId, Event, Events, TableName};
use crate::codec::CodecError;
use crate::codec::copy::TupleStream;
use crate::manifest::Piece;
use crate::pg::blocks::{self, Refused};
use crate::pg::timescale::{ChunkLane, ChunkRead};
use crate::pg::{Lane, Locked, Pace, PgError, Session, copy_out};
use crate::store::{StoreError, Vault};

pub use large::RowPlace;
pub use late::LateJob;

/// Attempts at one unit when its connection breaks.
const ATTEMPTS: usize = 3;

/// A unit, ready to run.
#[derive(Clone)]
pub struct UnitJob {
    /// Index of its table.
    pub table: usize,
    /// Index within its table.
    pub unit: usize,
    /// Whose rows.
    pub name: TableName,
    /// How its rows are read.
    pub reading: Reading,
    /// The COPY.
    pub sql: String,
    /// Where to.
    pub target: UnitTarget,
    /// The same unit in an earlier backup, whose pieces stay if its rows have.
    pub earlier: Option<EarlierUnit>,
}

/// How a unit's rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// From a table that the dump has locked.
    Table,
    /// By functions: large objects have no table to lock.
    Functions,
    /// From a chunk, locked for the time of reading it, and looked at again afterwards.
    Chunk(ChunkRead),
}

/// A chunk that changed while it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedUnit {
    /// Index of its table.
    pub table: usize,
    /// Index within its table.
    pub unit: usize,
    /// What happened, in words.
    pub why: String,
}

/// What came of all jobs.
#[derive(Default)]
pub struct Dumped {
    /// Table, unit, what is stored.
    pub stored: Vec<(usize, usize, StoredUnit)>,
    /// Nothing is stored of these yet.
    pub changed: Vec<ChangedUnit>,
}

/// The same unit in an earlier backup.
#[derive(Clone)]
pub struct EarlierUnit {
    /// Which backup.
    pub id: BackupId,
    /// Its pieces.
    pub pieces: Vec<Piece>,
}

/// Why the data could not be dumped.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The server.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// Encoding or storing the rows of one table.
    #[error("dumping {table}")]
    Sink {
        /// Which table.
        table: TableName,
        /// Why.
        source: SinkError,
    },
    /// A row that is larger than was asked for.
    #[error("{place} has {bytes} bytes, the bound is {bound}")]
    TooLarge {
        /// Which table.
        table: TableName,
        /// Which row.
        place: RowPlace,
        /// How large it is, as a tuple of COPY.
        bytes: u64,
        /// What is allowed.
        bound: u64,
    },
    /// Files of a unit that is to be read again cannot be removed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chunk that never holds still.
    #[error("{chunk} of {table} changed again and again while it was read, at last: {why}")]
    Unsettled {
        /// Which table.
        table: TableName,
        /// The chunk, or its range.
        chunk: String,
        /// What happened to it.
        why: String,
    },
    /// A thread died.
    #[error("the encoder of {0} ended without a result")]
    Thread(TableName),
    /// Another thread died.
    #[error("a thread that writes pieces ended without a result")]
    Writer,
}

/// Everything the lanes share.
pub struct Lanes<'a> {
    /// Locks and snapshot.
    pub locked: &'a Locked,
    /// Server version.
    pub version: u32,
    /// The vault with the earlier backups.
    pub vault: &'a Vault,
    /// Progress.
    pub events: &'a Arc<dyn Events>,
    /// How long a chunk's lock is waited for.
    pub patience: Duration,
    /// How fast rows may be read.
    pub pace: Option<Arc<Pace>>,
    /// The largest row that is taken, in bytes of COPY.
    pub max_row: usize,
}

/// The connections of one lane, opened when they are needed.
#[derive(Default)]
struct Connections {
    /// For tables: one transaction for all of them.
    tables: Option<Lane>,
    /// For chunks: a transaction each.
    chunks: Option<ChunkLane>,
}

/// How an attempt at a unit ends.
enum Attempt {
    Received(Box<Received>),
    /// Its table cannot be locked without waiting.
    Refused,
    /// It changed while it was read.
    Changed(String),
}

type Done = (usize, usize, StoredUnit);

/// A unit whose rows have all come and been counted; what is left is to encode the last of them and to write.
struct Received {
    job: UnitJob,
    /// Large enough to make the futures that hand it on too large for a thread's stack.
    sink: Box<UnitSink>,
    /// Rows decoded, which are those that the server says it sent.
    rows: u64,
}

/// The unit of a lane that is being written while the next one is read.
type Writing = Option<JoinHandle<Result<(UnitJob, Done), DumpError>>>;

/// Tables with units still to come: (units, rows so far) by table.
struct OpenTables(Mutex<HashMap<usize, (usize, u64)>>);

impl OpenTables {
    fn of(jobs: &[UnitJob]) -> Self {
        let mut tables = HashMap::new();
        for job in jobs {
            tables.entry(job.table).or_insert((0, 0)).0 += 1;
        }
        Self(Mutex::new(tables))
    }

    /// A unit is stored; says so when it was its table's last.
    fn close(&self, job: &UnitJob, unit: &StoredUnit, events: &dyn Events) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((units, rows)) = tables.get_mut(&job.table) else { return };
        *units -= 1;
        *rows += unit.rowset.rows;
        if *units == 0 {
            events.emit(Event::TableDone { table: job.name.clone(), rows: *rows });
        }
    }
}

impl Lanes<'_> {
    /// Runs all jobs over `count` lanes.
    pub async fn run(&self, jobs: Vec<UnitJob>, count: usize) -> Result<Dumped, DumpError> {
        let count = count.min(jobs.len());
        let open = OpenTables::of(&jobs);
        let queue = Mutex::new(VecDeque::from(jobs));
        let refused = Mutex::new(Vec::new());
        let lanes = (0..count).map(|_| self.lane(&queue, &refused, &open));
        let mut dumped = Dumped::default();
        for lane in futures_util::future::try_join_all(lanes).await? {
            dumped.stored.extend(lane.stored);
            dumped.changed.extend(lane.changed);
        }
        // What a lane could not lock is read by the leader, who holds the lock already.
        for job in refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let received = self.receive_as_leader(&job).await?;
            let mut writing = Some(self.write(received));
            dumped.stored.extend(self.written(&mut writing, &open).await?);
        }
        Ok(dumped)
    }

    /// Writes a unit beside the lane.
    fn write(&self, received: Received) -> JoinHandle<Result<(UnitJob, Done), DumpError>> {
        let vault = self.vault.clone();
        tokio::task::spawn_blocking(move || received.finish(&vault))
    }

    /// Waits for the unit that is being written, if there is one.
    async fn written(&self, writing: &mut Writing, open: &OpenTables) -> Result<Option<Done>, DumpError> {
        let Some(task) = writing.take() else { return Ok(None) };
        let (job, done) = task.await.map_err(|_| DumpError::Writer)??;
        open.close(&job, &done.2, self.events.as_ref());
        Ok(Some(done))
    }

    async fn lane(
        &self,
        queue: &Mutex<VecDeque<UnitJob>>,
        refused: &Mutex<Vec<UnitJob>>,
        open: &OpenTables,
    ) -> Result<Dumped, DumpError> {
        let mut lane = Connections::default();
        let mut dumped = Dumped::default();
        let mut writing: Writing = None;
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(job) = next else {
                dumped.stored.extend(self.written(&mut writing, open).await?);
                return Ok(dumped);
            };
            for attempt in 1.. {
                match self.attempt(&mut lane, &job).await {
                    Ok(Attempt::Received(received)) => {
                        // At most one is written while one is read: a lane's memory is two row groups.
                        dumped.stored.extend(self.written(&mut writing, open).await?);
                        writing = Some(self.write(*received));
                    }
                    Ok(Attempt::Changed(why)) => {
                        dumped.changed.push(ChangedUnit { table: job.table, unit: job.unit, why });
                    }
                    Ok(Attempt::Refused) => {
                        refused.lock().unwrap_or_else(PoisonError::into_inner).push(job.clone())
                    }
                    Err(DumpError::Pg(error)) if may_pass(&error) && attempt < ATTEMPTS => {
                        let what = if error.is_recovery_conflict() {
                            "recovery conflict"
                        } else {
                            "connection lost"
                        };
                        let again = format!("{}: {what}, reading it again under the same snapshot", job.name);
                        self.events.emit(Event::Warning(again));
                        lane = Connections::default();
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                break;
            }
        }
    }

    /// Reads one unit.
    async fn attempt(&self, lane: &mut Connections, job: &UnitJob) -> Result<Attempt, DumpError> {
        if let Reading::Chunk(chunk) = &job.reading {
            let lane = match &mut lane.chunks {
                Some(open) => open,
                none => none.insert(self.locked.chunk_lane().await?),
            };
            return self.attempt_chunk(lane, job, chunk).await;
        }
        let lane = match &mut lane.tables {
            Some(open) => open,
            none => none.insert(self.locked.lane(self.version).await?),
        };
        if job.reading == Reading::Table && !lane.try_lock(&job.name).await? {
            return Ok(Attempt::Refused);
        }
        match self.receive(lane.client(), job).await {
            Err(error) => Err(self.placed_by_a_new_lane(error, job).await),
            Ok(received) => Ok(Attempt::Received(Box::new(received))),
        }
    }

    /// Runs a unit's COPY to its end; all but the last rows are encoded by then.
    async fn receive(&self, session: &Session, job: &UnitJob) -> Result<Received, DumpError> {
        let (sender, received) = blocks::bounded_channel(self.pace.clone(), self.max_row);
        let encoder = {
            let (job, events) = (job.clone(), Arc::clone(self.events));
            tokio::task::spawn_blocking(move || encode(&job, received, events.as_ref()))
        };
        let sent = copy_out(session, &job.sql, &format!("COPY of {}", job.name), sender).await;
        if let Ok(None) = sent {
            cancel(session).await;
        }
        let encoded = encoder.await.map_err(|_| DumpError::Thread(job.name.clone()))?;
        // The connection's error is the cause where there are both: the encoder then only saw the stream end early.
        let said = sent?;
        let failed = |source| DumpError::Sink { table: job.name.clone(), source };
        let Encoded { stream, sink, refused } = encoded.map_err(failed)?;
        if let Some(Refused { bytes, .. }) = refused {
            let (place, bound) = (RowPlace::numbered(job, stream.tuples()), self.max_row as u64);
            return Err(DumpError::TooLarge { table: job.name.clone(), place, bytes, bound });
        }
        let Some(said) = said else { return Err(DumpError::Thread(job.name.clone())) };
        let rows = stream.finish().map_err(|error| failed(error.into()))?;
        agree(said, rows, rows).map_err(|error| failed(error.into()))?;
        Ok(Received { job: job.clone(), sink, rows })
    }
}

impl Received {
    /// Encodes the last rows and makes everything durable. Blocks.
    fn finish(self, vault: &Vault) -> Result<(UnitJob, Done), DumpError> {
        let Self { job, sink, rows } = self;
        let failed = |source| DumpError::Sink { table: job.name.clone(), source };
        let stored = sink.finish().map_err(failed)?;
        agree(rows, rows, stored.rowset.rows).map_err(|error| failed(error.into()))?;
        let stored = match &job.earlier {
            Some(earlier) => stored
                .reuse(&job.target.staging, vault, &earlier.id, &earlier.pieces)
                .map_err(|error| failed(error.into()))?,
            None => stored,
        };
        Ok((job.clone(), (job.table, job.unit, stored)))
    }
}

/// Whether another connection may read the unit that this one could not.
fn may_pass(error: &PgError) -> bool {
    error.is_connection_lost() || error.is_recovery_conflict()
}

/// A unit counts only if all three counts of its rows agree.
fn agree(said: u64, decoded: u64, stored: u64) -> Result<(), CodecError> {
    if said == decoded && decoded == stored {
        return Ok(());
    }
    let text = format!("the server says COPY {said}, {decoded} rows were decoded and {stored} stored");
    Err(CodecError::Piece(text))
}

/// Ends the COPY on the server, which would otherwise go on sending to nobody.
async fn cancel(session: &Session) {
    if let Err(error) = session.cancel().await {
        tracing::debug!(%error, "the COPY could not be cancelled; the connection will be closed");
    }
}

/// A unit as far as its rows came.
struct Encoded {
    stream: TupleStream,
    sink: Box<UnitSink>,
    /// The row that was too large.
    refused: Option<Refused>,
}

fn encode(job: &UnitJob, mut blocks: blocks::Receiver, events: &dyn Events) -> Result<Encoded, SinkError> {
    let mut sink = Box::new(UnitSink::begin(job.target.clone()));
    let mut stream = TupleStream::new(job.target.shape.columns.len());
    let mut tuples = Vec::new();
    while let Some(mut block) = blocks.blocking_recv() {
        tuples.clear();
        stream.frame(&block.messages, &mut tuples)?;
        sink.push(&mut block.messages, &tuples)?;
        let (rows, bytes) = (tuples.len() as u64, tuples.iter().map(|tuple| tuple.len() as u64).sum());
        let emptied = block.emptied();
        sink.settle()?;
        emptied.leave();
        events.emit(Event::Progress { table: job.name.clone(), rows, bytes });
    }
    Ok(Encoded { stream, sink, refused: blocks.refused().cloned() })
}

#[cfg(test)]
mod tests {
    use super::agree;

    #[test]
    fn a_unit_is_accepted_only_if_all_three_counts_agree() {
        assert!(agree(7, 7, 7).is_ok());
        for (said, decoded, stored) in [(8, 7, 7), (7, 8, 7), (7, 7, 8), (0, 7, 7)] {
            let text = agree(said, decoded, stored).unwrap_err().to_string();
            assert!(text.contains(&format!("COPY {said}")), "{text}");
        }
    }
}

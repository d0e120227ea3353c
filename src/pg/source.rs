//! [`Source`]: the database being dumped, read by the protocol lock → snapshot → check.
//!
//! A snapshot is no lock. Taken the other way round, a TRUNCATE or rewrite between the two makes rows vanish without any
//! error. So: `BEGIN` (no snapshot yet), `LOCK … ACCESS SHARE` on everything wanted (`LOCK` takes none either), and only
//! then the first statement that takes the snapshot; then the catalog is read again under it, and whatever changed in
//! between starts the round anew.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::StreamExt;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::blocks::Sender;
use super::connect::Session;
use super::settings::ConnectionSettings;
use super::survey::Survey;
use super::tap::CopyEnd;
use super::timescale::ChunkLane;
use super::workbench::{TextTable, text_table};
use super::{PgError, connect, numerics, structure, survey};
use crate::base::{TableName, Timestamp};
use crate::catalog::structure::Structure;
use crate::catalog::{LargeObjects, Relation, Sequence, SourceFacts};
use crate::manifest::Snapshot;
use crate::plan::mapping::NumericProfile;

/// Tables locked in one statement: enough to be quick, few enough to keep the statement readable in a log.
const LOCK_BATCH: usize = 500;

/// How long the leader may take to answer before it counts as gone.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A connection for looking around, before anything is locked.
pub struct Source {
    client: Session,
    settings: ConnectionSettings,
}

/// A read-only look at any database: facts, sequences, rows, all under one snapshot.
pub struct Probe {
    client: Session,
}

impl Probe {
    /// Connects and begins the transaction.
    pub async fn connect(settings: &ConnectionSettings) -> Result<Self, PgError> {
        let client = connect::open_pinned(settings, "barkeep").await?;
        execute(&client, "beginning the transaction", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let version = connect::server_version(&client).await?;
        pin_transaction(&client, version).await?;
        Ok(Self { client })
    }

    /// Server and database.
    pub async fn facts(&self) -> Result<SourceFacts, PgError> {
        survey::source_facts(&self.client).await
    }

    /// Sequences and where they stand.
    pub async fn sequences(&self) -> Result<Vec<(Sequence, bool)>, PgError> {
        survey::sequences(&self.client).await
    }

    /// Views of continuous aggregates, with the hypertables that hold their rows.
    pub async fn materialisations(&self) -> Result<BTreeMap<TableName, TableName>, PgError> {
        super::offer::materialisations(&self.client).await
    }

    /// Marks a point to come back to: a failed statement would end the transaction, and with it the snapshot.
    pub async fn mark(&self) -> Result<(), PgError> {
        execute(&self.client, "setting a savepoint", "SAVEPOINT looking").await
    }

    /// Comes back to it.
    pub async fn back(&self) -> Result<(), PgError> {
        execute(&self.client, "returning to a savepoint", "ROLLBACK TO SAVEPOINT looking").await
    }

    /// The server's clock when the transaction began.
    pub async fn time(&self) -> Result<Timestamp, PgError> {
        let sql = "SELECT (extract(epoch FROM pg_catalog.now()) * 1000000)::int8";
        let found = survey::rows(&self.client, "the server's clock", sql).await?;
        let micros = found.first().map(|row| row.get(0));
        micros
            .and_then(Timestamp::from_unix_micros)
            .ok_or(PgError::Unexpected("the server's clock is out of range"))
    }

    /// What a query answers, as text. `doing` names it in errors.
    pub async fn ask(&self, doing: &str, sql: &str) -> Result<TextTable, PgError> {
        text_table(&self.client, doing, sql).await
    }

    /// What is there.
    pub async fn survey(&self) -> Result<Survey, PgError> {
        survey::survey(&self.client, &[]).await
    }

    /// The constraints of tables.
    pub async fn structure(&self, relations: &[Relation]) -> Result<Structure, PgError> {
        structure::read(&self.client, relations).await
    }

    /// The connection.
    pub fn client(&self) -> &Session {
        &self.client
    }
}

/// The leader: the connection that holds the locks and the snapshot. Dropping it ends both.
pub struct Locked {
    client: Session,
    settings: ConnectionSettings,
    /// The snapshot everything is read under.
    pub snapshot: Snapshot,
    /// The server's clock when it was taken.
    pub time: Timestamp,
    /// Its backend.
    pid: i32,
}

/// A session that waits for a lock which the dump holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Its backend.
    pub pid: i32,
    /// Its role, program and the relation it waits for, in words.
    pub who: String,
    /// For how long so far.
    pub seconds: i64,
}

/// A connection that reads under the leader's snapshot.
pub struct Lane {
    client: Session,
}

/// How taking the locks can end short of success.
#[derive(Debug)]
pub enum LockOutcome {
    /// Locks and snapshot are there, and the catalog under it.
    Locked(Box<(Locked, Survey)>),
    /// A table vanished or changed between survey and lock; look again.
    Changed(String),
}

impl std::fmt::Debug for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locked").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl Source {
    /// Connects.
    pub async fn connect(settings: &ConnectionSettings) -> Result<Self, PgError> {
        let client = connect::open_pinned(settings, "barkeep dump").await?;
        Ok(Self { client, settings: settings.clone() })
    }

    /// Server and database.
    pub async fn facts(&self) -> Result<SourceFacts, PgError> {
        survey::source_facts(&self.client).await
    }

    /// What is there, as of now. The sizes of `measured` (OIDs) are exact, and waited for where they are locked.
    pub async fn survey(&self, measured: &[u32]) -> Result<Survey, PgError> {
        // One snapshot: a chunk made between two statements would look like a table of the user's.
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        execute(&self.client, "beginning the survey", begin).await?;
        let found = survey::survey(&self.client, measured).await;
        let ended = execute(&self.client, "ending the survey", "ROLLBACK").await;
        let found = found?;
        ended.map(|()| found)
    }

    /// Who has been waiting for longer than `seconds` for a lock that `locked` holds.
    pub async fn waiters(&self, locked: &Locked, seconds: i64) -> Result<Vec<Waiter>, PgError> {
        let sql = "SELECT a.pid, format('%s (%s) waits for %s on %s', a.usename, a.application_name, l.mode, \
                   coalesce(l.relation::pg_catalog.regclass::text, l.locktype)), \
                   extract(epoch FROM pg_catalog.clock_timestamp() - l.waitstart)::int8 \
                   FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
                   WHERE NOT l.granted AND $1 = ANY (pg_catalog.pg_blocking_pids(l.pid)) \
                   AND l.waitstart <= pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $2::int8)";
        let doing = "looking for waiting sessions";
        let rows = self.client.query(sql, &[&locked.pid, &seconds]).await;
        let rows = rows.map_err(|error| PgError::query(doing, error))?;
        Ok(rows.iter().map(|row| Waiter { pid: row.get(0), who: row.get(1), seconds: row.get(2) }).collect())
    }

    /// Locks `wanted`, takes the snapshot, and reads the catalog again under it.
    pub async fn lock(
        &self,
        wanted: &[Relation],
        lock_timeout: &str,
        version: u32,
    ) -> Result<LockOutcome, PgError> {
        let client = connect::open_pinned(&self.settings, "barkeep dump").await?;
        // Serializable is not asked for: REPEATABLE READ is what pg_dump reads under, and works on a standby.
        execute(&client, "beginning the transaction", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        pin_transaction(&client, version).await?;
        execute(&client, "setting lock_timeout", &format!("SET LOCAL lock_timeout = '{lock_timeout}'"))
            .await?;
        for batch in wanted.chunks(LOCK_BATCH) {
            let names: Vec<String> =
                batch.iter().map(|relation| format!("ONLY {}", relation.storage().sql())).collect();
            let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
            match client.batch_execute(&sql).await {
                Ok(()) => {}
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                    return Ok(LockOutcome::Changed(
                        "a table was dropped before it could be locked".to_owned(),
                    ));
                }
                Err(error) => return Err(self.lock_failure(batch, error).await),
            }
        }
        execute(&client, "resetting lock_timeout", "SET LOCAL lock_timeout = 0").await?;
        let (snapshot, time, pid) = take_snapshot(&client).await?;
        let oids: Vec<u32> = wanted.iter().map(|relation| relation.oid).collect();
        let survey = survey::survey(&client, &oids).await?;
        if let Some(change) = difference(wanted, &survey.relations) {
            return Ok(LockOutcome::Changed(change));
        }
        let locked = Locked { client, settings: self.settings.clone(), snapshot, time, pid };
        Ok(LockOutcome::Locked(Box::new((locked, survey))))
    }

    /// Says who holds the lock that could not be had.
    async fn lock_failure(&self, batch: &[Relation], error: tokio_postgres::Error) -> PgError {
        let oids: Vec<u32> = batch.iter().map(|relation| relation.oid).collect();
        let sql = "SELECT c.oid::pg_catalog.regclass::text || ' (pid ' || l.pid || ')' FROM pg_catalog.pg_locks l \
                   JOIN pg_catalog.pg_class c ON c.oid = l.relation \
                   WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.relation = ANY ($1)";
        let holders: Vec<String> = match self.client.query(sql, &[&oids]).await {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(_) => Vec::new(),
        };
        let names: Vec<String> = batch.iter().take(3).map(|relation| relation.name.to_string()).collect();
        let held = if holders.is_empty() { String::new() } else { format!("; held: {}", holders.join(", ")) };
        PgError::query(format!("locking {} tables ({} …){held}", batch.len(), names.join(", ")), error)
    }
}

async fn execute(client: &Client, doing: &str, sql: &str) -> Result<(), PgError> {
    client.batch_execute(sql).await.map_err(|error| PgError::query(doing, error))
}

/// What must hold inside the transaction even where a pooler hands out somebody else's session.
async fn pin_transaction(client: &Client, version: u32) -> Result<(), PgError> {
    let mut sql = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
                   SET LOCAL row_security = off; SET LOCAL search_path = ''; SET LOCAL TimeZone = 'UTC'; \
                   SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; \
                   SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL xmloption = content; \
                   SET LOCAL synchronize_seqscans = off; SET LOCAL standard_conforming_strings = on"
        .to_owned();
    if version >= 170_000 {
        sql.push_str("; SET LOCAL transaction_timeout = 0");
    }
    execute(client, "pinning the transaction's settings", &sql).await
}

pub(super) async fn take_snapshot(client: &Client) -> Result<(Snapshot, Timestamp, i32), PgError> {
    let sql = "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_snapshot()::text, \
               (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::int8, \
               (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
                     ELSE pg_catalog.pg_current_wal_lsn() END)::text, pg_catalog.pg_backend_pid(), \
               CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN ('x' || pg_catalog.left( \
                     pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int8::text END";
    let found = survey::rows(client, "the snapshot", sql).await?;
    let row = found.first().ok_or(PgError::Unexpected("no snapshot was returned"))?;
    let time = Timestamp::from_unix_micros(row.get(2))
        .ok_or(PgError::Unexpected("the server's clock is out of range"))?;
    let timeline = match row.get(5) {
        Some(timeline) => Some(timeline),
        None => timeline_of_standby(client).await?,
    };
    Ok((Snapshot { name: row.get(0), xids: row.get(1), lsn: row.get(3), timeline }, time, row.get(4)))
}

/// A standby has no current log file to take it from; some services do not let anybody ask the control file.
async fn timeline_of_standby(client: &Client) -> Result<Option<String>, PgError> {
    execute(client, "setting a savepoint", "SAVEPOINT looking").await?;
    let sql = "SELECT timeline_id::text FROM pg_catalog.pg_control_checkpoint()";
    match client.query_one(sql, &[]).await {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            execute(client, "returning to a savepoint", "ROLLBACK TO SAVEPOINT looking").await?;
            Ok(None)
        }
        Err(error) => Err(PgError::query("reading the timeline", error)),
    }
}

/// The first difference between what was locked and what the snapshot shows, in words.
fn difference(locked: &[Relation], seen: &[Relation]) -> Option<String> {
    let seen: BTreeMap<u32, &Relation> = seen.iter().map(|relation| (relation.oid, relation)).collect();
    locked.iter().find_map(|before| {
        let Some(now) = seen.get(&before.oid) else { return Some(format!("{} is gone", before.name)) };
        if now.name != before.name || now.columns != before.columns || now.partition_of != before.partition_of
        {
            return Some(format!("{} has changed", before.name));
        }
        now.rewritten.then(|| format!("{} was truncated or rewritten", before.name))
    })
}

impl Locked {
    /// Opens a lane under the snapshot.
    pub async fn lane(&self, version: u32) -> Result<Lane, PgError> {
        Lane::open(&self.settings, &self.snapshot.name, version).await
    }

    /// Opens a connection that reads chunks, each in a transaction of its own.
    pub async fn chunk_lane(&self) -> Result<ChunkLane, PgError> {
        ChunkLane::open(&self.settings).await
    }

    /// Hypertables with rows in their own table, in no chunk: writes under timescaledb.restoring end there, and from 2.23
    /// on no query shows them.
    pub async fn stranded(&self, roots: &[u32]) -> Result<Vec<String>, PgError> {
        let sql = "SELECT oid::pg_catalog.regclass::text FROM pg_catalog.pg_class \
                   WHERE oid = ANY ($1) AND pg_catalog.pg_relation_size(oid) > 0 ORDER BY 1";
        let found = self.client.query(sql, &[&roots]).await;
        let found = found.map_err(|error| PgError::query("looking for rows outside of chunks", error))?;
        Ok(found.iter().map(|row| row.get(0)).collect())
    }

    /// Ends the transaction: locks and snapshot are gone, and whoever waited for them goes on.
    pub async fn release(&self) -> Result<(), PgError> {
        execute(&self.client, "releasing the locks", "ROLLBACK").await
    }

    /// Whether the snapshot and the locks still stand: both end with this connection.
    pub async fn stands(&self) -> bool {
        let answer = tokio::time::timeout(PATIENCE, self.client.batch_execute("SELECT 1"));
        matches!(answer.await, Ok(Ok(())))
    }

    /// A statement of the leader's own transaction.
    pub async fn run(&self, sql: &str) -> Result<(), PgError> {
        execute(&self.client, "in the dump's transaction", sql).await
    }

    /// The leader's own connection as a lane: the one that can read a table although an ALTER is queued behind its lock.
    pub fn own_lane(&self) -> &Session {
        &self.client
    }

    /// Sequences, now that the snapshot stands.
    pub async fn sequences(&self) -> Result<Vec<(Sequence, bool)>, PgError> {
        survey::sequences(&self.client).await
    }

    /// Large objects, without their bytes.
    pub async fn large_objects(&self) -> Result<LargeObjects, PgError> {
        survey::large_objects(&self.client).await
    }

    /// What an unconstrained numeric column holds, exactly.
    pub async fn profile_numeric(
        &self,
        table: &TableName,
        columns: &[String],
    ) -> Result<Vec<NumericProfile>, PgError> {
        let from = format!("ONLY {}", table.sql());
        numerics::profile(&self.client, table, &from, columns).await
    }

    /// `count(*)` under the snapshot. By one process: it runs beside the lanes, from which parallel workers would take the
    /// processors. Compiled it takes longer (0.35 s instead of 0.25 for ten million rows).
    pub async fn count(&self, table: &TableName, condition: Option<&str>) -> Result<u64, PgError> {
        self.run("SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off").await?;
        let filter = condition.map(|condition| format!(" WHERE ({condition})")).unwrap_or_default();
        let sql = format!("SELECT count(*) FROM ONLY {}{filter}", table.sql());
        let found = survey::rows(&self.client, &format!("count(*) of {table}"), &sql).await?;
        Ok(found.first().map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
    }

    /// Once more before the commit: no locked table may have been rewritten. With the locks held none can have been;
    /// this proves that they were.
    pub async fn still_unchanged(&self, locked: &[Relation]) -> Result<Option<String>, PgError> {
        let seen = survey::survey(&self.client, &[]).await?;
        Ok(difference(locked, &seen.relations))
    }
}

impl Lane {
    /// Connects and imports a snapshot.
    pub async fn open(settings: &ConnectionSettings, snapshot: &str, version: u32) -> Result<Self, PgError> {
        let client = connect::open_pinned(settings, "barkeep dump").await?;
        execute(&client, "beginning the transaction", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let import = format!("SET TRANSACTION SNAPSHOT {}", crate::base::quote_literal(snapshot));
        execute(&client, "importing the snapshot", &import).await?;
        pin_transaction(&client, version).await?;
        execute(&client, "setting a savepoint", "SAVEPOINT unlocked").await?;
        Ok(Self { client })
    }

    /// The connection.
    pub fn client(&self) -> &Session {
        &self.client
    }

    /// Locks a table without waiting: behind a queued ALTER a lane would wait for ever, and no deadlock is detected.
    /// False: somebody is in the way, and only the leader can read it. The lock before is let go, because the leader has it
    /// too and the server's room for locks is small.
    pub async fn try_lock(&self, table: &TableName) -> Result<bool, PgError> {
        // One message: for a small table each further round trip would cost as much as reading it.
        let sql = format!(
            "ROLLBACK TO SAVEPOINT unlocked; LOCK TABLE ONLY {} IN ACCESS SHARE MODE NOWAIT",
            table.sql()
        );
        match self.client.batch_execute(&sql).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                execute(&self.client, "returning to a savepoint", "ROLLBACK TO SAVEPOINT unlocked")
                    .await
                    .map(|()| false)
            }
            Err(error) => Err(PgError::query(format!("locking {table}"), error)),
        }
    }
}

/// Runs a COPY OUT whose rows go to `blocks`; gives the rows that the server says it sent, the `n` of its `COPY n`, or
/// `None` where nobody listens any more: the COPY may still be running then.
pub async fn copy_out(
    session: &Session,
    sql: &str,
    doing: &str,
    blocks: Sender,
) -> Result<Option<u64>, PgError> {
    let mut ends = session.copies.clone();
    ends.mark_unchanged();
    let _directed = session.intake.direct(blocks.clone());
    let failed = |error| PgError::query(doing, error);
    let mut stream = pin!(session.copy_out(sql).await.map_err(failed)?);
    tokio::select! {
        next = stream.next() => match next {
            None => {}
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(_)) => return Err(PgError::Unexpected("a row of a COPY passed by the tap")),
        },
        () = blocks.deaf() => return Ok(None),
    }
    // The answer may be still on its way; where the connection ends first, nobody is left to tell.
    match ends.changed().await.ok().and_then(|()| *ends.borrow()) {
        Some(CopyEnd::Copied(rows)) => Ok(Some(rows)),
        Some(CopyEnd::Failed) | None => Err(PgError::Unfinished { doing: doing.to_owned() }),
    }
}

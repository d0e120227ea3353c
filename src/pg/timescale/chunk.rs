//! Reading one chunk: a short transaction under the dump's snapshot, with what tells afterwards whether it read what the
//! snapshot shows.
//!
//! Compressing, recompressing, decompressing and dropping a chunk are not transactional for readers with an older snapshot:
//! they read too few rows, or none, without any error. So the catalog's row of the chunk and the files of its tables are
//! looked at under the snapshot and again, fresh, after the read. Locks are held for one chunk at a time, because a job
//! that waits for one blocks writers and the dump's other lanes.

use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use super::{PgError, Shape};
use crate::base::{TableName, Timestamp, quote_literal};
use crate::catalog::timescale::{Dimension, Range};
use crate::manifest::Snapshot;
use crate::pg::connect::{Session, open_pinned};
use crate::pg::numerics;
use crate::pg::settings::ConnectionSettings;
use crate::pg::source::take_snapshot;
use crate::plan::chunks::{conditions, hash_conditions};
use crate::plan::mapping::NumericProfile;

/// A chunk to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRead {
    /// Its number.
    pub id: i32,
    /// Its OID.
    pub oid: u32,
    /// The table.
    pub name: TableName,
    /// Its rows can be counted without unpacking them: the table of its compressed rows.
    pub counted: Option<TableName>,
}

/// The cube of a chunk that is to be read again, through its hypertable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRange {
    /// The hypertable's number.
    pub hypertable: i32,
    /// The chunk's number.
    pub chunk: i32,
    /// Dimensions with the ranges on them.
    pub cube: Vec<(Dimension, Range)>,
}

/// What identifies the state of a chunk, or of all chunks of a cube; `None` where there is none.
pub type Marked = Option<String>;

/// The prepared statement that gives a chunk's mark.
const MARK: &str = "barkeep_mark";

/// A connection that reads chunks.
pub struct ChunkLane {
    session: Session,
    shape: Shape,
}

/// Whether the two marks of a read say that something happened to the chunk in between; what, in words.
pub fn changed_while_read(before: &Marked, after: &Marked) -> Option<&'static str> {
    match (before, after) {
        (before, after) if before == after => None,
        (_, None) => Some("was dropped"),
        _ => Some("was compressed, decompressed, truncated or rewritten"),
    }
}

impl ChunkLane {
    /// Connects.
    pub async fn open(settings: &ConnectionSettings) -> Result<Self, PgError> {
        let session = open_pinned(settings, "barkeep dump").await?;
        let shape = Shape::of(&session).await?;
        let lane = Self { session, shape };
        // Planned once and not twice a chunk; and as a name it goes along with other statements in one message.
        let sql = format!("PREPARE {MARK} (int4) AS SELECT m.mark FROM ({}) m WHERE m.id = $1", lane.marks());
        lane.run("preparing to look at chunks", &sql).await?;
        Ok(lane)
    }

    /// The connection.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What differs between versions.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Begins a transaction under the snapshot of that name, or under one of its own. No lock is waited for longer than
    /// `patience`.
    pub async fn begin(&self, snapshot: Option<&str>, patience: Duration) -> Result<(), PgError> {
        self.run("beginning to read a chunk", &begin(snapshot, patience)).await
    }

    /// The same, with a look at the chunk as the transaction's snapshot shows it: in one message, because for a small chunk
    /// each round trip costs as much as reading it.
    pub async fn begin_marked(
        &self,
        snapshot: &str,
        patience: Duration,
        chunk: &ChunkRead,
    ) -> Result<Marked, PgError> {
        self.marked(chunk, &begin(Some(snapshot), patience)).await
    }

    /// The transaction's own snapshot and the server's clock.
    pub async fn snapshot(&self) -> Result<(Snapshot, Timestamp), PgError> {
        take_snapshot(&self.session).await.map(|(snapshot, time, _)| (snapshot, time))
    }

    /// Ends it, and with it every lock.
    pub async fn end(&self) -> Result<(), PgError> {
        self.run("ending the read of a chunk", "ROLLBACK").await
    }

    /// The same, with a look at the newest state of the chunk.
    pub async fn end_marked(&self, chunk: &ChunkRead) -> Result<Marked, PgError> {
        self.marked(chunk, "ROLLBACK").await
    }

    /// Runs some statements and then looks at the chunk.
    async fn marked(&self, chunk: &ChunkRead, before: &str) -> Result<Marked, PgError> {
        let sql = format!("{before}; EXECUTE {MARK} ({})", chunk.id);
        let doing = || format!("looking at the chunk {}", chunk.name);
        let found = self.session.simple_query(&sql).await.map_err(|error| PgError::query(doing(), error))?;
        Ok(found.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    async fn run(&self, doing: &str, sql: &str) -> Result<(), PgError> {
        self.session.batch_execute(sql).await.map_err(|error| PgError::query(doing, error))
    }

    /// One text for each chunk: whatever TimescaleDB does to a chunk changes its catalog row, its settings' row, or the
    /// file of one of its tables. `pg_class.relfilenode` as a column is read under the snapshot, as a function it is not.
    fn marks(&self) -> String {
        let Shape { chunks_name_tables, settings_name_companions, .. } = self.shape;
        let by_name = |chunk: &str, table: &str| {
            format!(
                "{table}.relname = {chunk}.table_name AND {table}.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n \
                 WHERE n.nspname = {chunk}.schema_name)"
            )
        };
        let table = if chunks_name_tables { "k.oid = c.relid::oid".to_owned() } else { by_name("c", "k") };
        let companion = match settings_name_companions {
            true => "LEFT JOIN _timescaledb_catalog.compression_settings s ON s.relid = k.oid \
                     LEFT JOIN pg_catalog.pg_class p ON p.oid = s.compress_relid"
                .to_owned(),
            false => format!(
                "LEFT JOIN _timescaledb_catalog.chunk s ON s.id = c.compressed_chunk_id \
                 LEFT JOIN pg_catalog.pg_class p ON {}",
                by_name("s", "p")
            ),
        };
        format!(
            "SELECT c.id, ROW(c.id, c.xmin, c.status, k.oid, k.relfilenode, s.xmin, p.oid, p.relfilenode)::pg_catalog.text \
             AS mark FROM _timescaledb_catalog.chunk c LEFT JOIN pg_catalog.pg_class k ON {table} {companion}"
        )
    }

    /// How many rows a compressed chunk has by its own count, without unpacking them; `None` where it cannot be told.
    pub async fn counted(&self, chunk: &ChunkRead) -> Result<Option<u64>, PgError> {
        let Some(companion) = &chunk.counted else { return Ok(None) };
        let sql = format!(
            "SELECT (SELECT coalesce(sum(_ts_meta_count), 0)::int8 FROM {}) + (SELECT count(*) FROM ONLY {})",
            companion.sql(),
            chunk.name.sql()
        );
        let doing = || format!("counting the compressed rows of {}", chunk.name);
        let row = self.session.query_one(&sql, &[]).await;
        Ok(u64::try_from(row.map_err(|error| PgError::query(doing(), error))?.get::<_, i64>(0)).ok())
    }

    /// What unconstrained numeric columns of a chunk hold.
    pub async fn profile(
        &self,
        chunk: &ChunkRead,
        columns: &[String],
    ) -> Result<Vec<NumericProfile>, PgError> {
        numerics::profile(&self.session, &chunk.name, &chunk.name.sql(), columns).await
    }

    /// The conditions under which a row of the hypertable lies in a cube.
    pub fn conditions(&self, range: &LateRange) -> Vec<String> {
        let hash = self.shape.hash_function();
        let one = |(dimension, range): &(Dimension, Range)| match dimension.partitions {
            Some(_) => hash_conditions(dimension, *range, &hash),
            None => conditions(dimension, *range),
        };
        range.cube.iter().flat_map(one).collect()
    }

    /// The state of all chunks that reach into a range of time, as [`Self::begin_marked`]; and whether the chunk itself is one.
    pub async fn mark_range(&self, range: &LateRange) -> Result<(Marked, bool), PgError> {
        let slices = if self.shape.slices_name_chunks {
            "_timescaledb_catalog.dimension_slice s"
        } else {
            "(SELECT s.*, cc.chunk_id FROM _timescaledb_catalog.chunk_constraint cc \
              JOIN _timescaledb_catalog.dimension_slice s ON s.id = cc.dimension_slice_id) s"
        };
        let time = range.cube.first().map_or(Range { from: Range::MIN, to: Range::MAX }, |(_, range)| *range);
        let sql = format!(
            "SELECT pg_catalog.string_agg(mark, ',' ORDER BY id), coalesce(bool_or(id = {chunk}), false) FROM ( \
             SELECT m.mark, c.id FROM _timescaledb_catalog.chunk c JOIN ({marks}) m ON m.id = c.id \
             WHERE c.hypertable_id = {hypertable} AND NOT coalesce((to_jsonb(c)->>'dropped')::boolean, false) AND EXISTS ( \
               SELECT FROM {slices} JOIN _timescaledb_catalog.dimension d ON d.id = s.dimension_id AND d.num_slices IS NULL \
               WHERE s.chunk_id = c.id AND s.range_start < {to} AND s.range_end > {from})) x",
            chunk = range.chunk,
            hypertable = range.hypertable,
            marks = self.marks(),
            from = literal(time.from),
            to = literal(time.to),
        );
        let row = self.session.query_one(&sql, &[]).await;
        let row = row.map_err(|error| PgError::query("looking at the chunks of a range", error))?;
        Ok((row.get(0), row.get(1)))
    }
}

/// Begins a transaction.
fn begin(snapshot: Option<&str>, patience: Duration) -> String {
    let import = snapshot.map(|name| format!("SET TRANSACTION SNAPSHOT {};", quote_literal(name)));
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {} SET LOCAL lock_timeout = '{}ms'",
        import.unwrap_or_default(),
        patience.as_millis()
    )
}

/// The smallest number cannot be written as the negation of a constant.
fn literal(number: i64) -> String {
    format!("'{number}'::pg_catalog.int8")
}

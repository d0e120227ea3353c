//! TimescaleDB in a source: what its catalog says, how a chunk is read without losing rows, and how its jobs are kept
//! from changing chunks meanwhile.

mod chunk;
mod jobs;
mod parse;
mod statements;

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;

use super::PgError;
use super::survey::rows;
use crate::base::TableName;
use crate::catalog::timescale::{Chunk, Compression, Timescale};
use parse::{About, Parts};
use statements::{CHUNKS_NAME_TABLES, EXISTS, PARTS, Part, SETTINGS_NAME_COMPANIONS, SLICES_NAME_CHUNKS};

pub use chunk::{ChunkLane, ChunkRead, LateRange, Marked, changed_while_read};
pub use jobs::{PausedJobs, pause, unheld_jobs};
pub use parse::Unreadable;

/// Settings that hide compressed rows, or whole chunks, from queries, and the values that do not. All of them can be set for
/// a role or a database without anybody noticing.
pub(super) const SAFE_SETTINGS: [(&str, &str); 4] = [
    ("timescaledb.enable_transparent_decompression", "on"),
    ("timescaledb.enable_columnarscan", "on"),
    ("timescaledb.enable_optimizations", "on"),
    ("timescaledb.enable_tiered_reads", "on"),
];

/// What the survey found.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// In the form that is kept.
    pub timescale: Timescale,
    /// Chunks by the number of their hypertable.
    pub chunks: BTreeMap<i32, Vec<SurveyedChunk>>,
    /// Numbers of hypertables, those of materialisations included, by the OID of their table.
    pub hypertables: BTreeMap<u32, i32>,
    /// Views of aggregates by the OID of the table that holds their materialised rows.
    pub views: BTreeMap<u32, TableName>,
    /// Tables that are no user's: chunks, tables of compressed rows.
    pub hidden: Vec<u32>,
    /// What cannot be dumped, and would otherwise be missed without a word.
    pub refusals: Vec<Refusal>,
    /// The catalog's rows as they are.
    pub raw: Value,
}

/// A chunk with what is only of use while it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct SurveyedChunk {
    /// As it is kept.
    pub chunk: Chunk,
    /// Its OID.
    pub oid: u32,
    /// How its compressed rows lie.
    pub order: Option<Compression>,
    /// The table of its compressed rows.
    pub companion: Option<TableName>,
    /// An ordinary table, whose uncompressed rows are those that `ONLY` shows.
    pub heap: bool,
    /// About how many bytes it has uncompressed.
    pub bytes: u64,
    /// About how many rows.
    pub rows: u64,
}

/// Something of TimescaleDB that cannot be dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The hypertable or the aggregate.
    pub table: TableName,
    /// Why, and what to do.
    pub why: String,
    /// A chunk in object storage: may be left out if that is asked for.
    pub tiered: Option<TableName>,
}

impl Refusal {
    fn distributed(table: &TableName) -> Self {
        let why = format!("{table} is a distributed hypertable, whose rows lie on other servers; dump those");
        Self { table: table.clone(), why, tiered: None }
    }

    fn unfinalized(view: &TableName) -> Self {
        let why = format!(
            "{view} is a continuous aggregate of the old, unfinalized form, which no newer version can make; migrate \
             it with cagg_migrate, or leave it out with -T"
        );
        Self { table: view.clone(), why, tiered: None }
    }

    fn tiered(table: &TableName, chunk: &TableName) -> Self {
        let why = format!(
            "{table} has rows in tiered storage ({chunk}); untier them, or leave them out with --skip-tiered"
        );
        Self { table: table.clone(), why, tiered: Some(chunk.clone()) }
    }
}

/// What differs between versions as far as reading goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Slices name their chunk.
    slices_name_chunks: bool,
    /// A chunk's row names its table by OID.
    chunks_name_tables: bool,
    /// Settings name the table of compressed rows.
    settings_name_companions: bool,
    /// The schema of internal functions.
    functions: &'static str,
}

impl Shape {
    /// Looks at the catalog's tables.
    pub async fn of(client: &Client) -> Result<Self, PgError> {
        let sql = "SELECT pg_catalog.to_regproc('_timescaledb_functions.get_partition_hash') IS NOT NULL";
        let moved = rows(client, "TimescaleDB's functions", sql).await?;
        let moved = moved.first().is_some_and(|row| row.get(0));
        Ok(Self {
            slices_name_chunks: exists(client, SLICES_NAME_CHUNKS).await?,
            chunks_name_tables: exists(client, CHUNKS_NAME_TABLES).await?,
            settings_name_companions: exists(client, SETTINGS_NAME_COMPANIONS).await?,
            functions: if moved { "_timescaledb_functions" } else { "_timescaledb_internal" },
        })
    }

    /// The function that hash dimensions are cut by.
    pub fn hash_function(self) -> TableName {
        TableName::new(self.functions, "get_partition_hash")
    }
}

/// Whether a relation, or a column of one, is there: `schema.relation` or `schema.relation.column`.
async fn exists(client: &Client, what: &str) -> Result<bool, PgError> {
    let mut words = what.split('.');
    let (schema, relation, column) = (words.next(), words.next(), words.next());
    let found = client.query_one(EXISTS, &[&schema, &relation, &column]).await;
    Ok(found.map_err(|error| PgError::query("looking at TimescaleDB's catalog", error))?.get(0))
}

/// Reads everything; `None` where the extension is not installed.
pub(super) async fn survey(client: &Client) -> Result<Option<Surveyed>, PgError> {
    let Some(about) = about(client).await? else { return Ok(None) };
    let mut parts = Parts::new();
    for part in PARTS {
        if let Some(found) = read(client, part).await? {
            parts.insert(part.name, found);
        }
    }
    Ok(Some(parse::surveyed(about, parts)?))
}

/// Refuses a database that is in the middle of a catalog restore: rows written then are in no chunk, and no query shows
/// them.
async fn about(client: &Client) -> Result<Option<About>, PgError> {
    let sql = "SELECT e.extversion, n.nspname, pg_catalog.current_setting('timescaledb.license', true), \
               pg_catalog.current_setting('timescaledb.restoring', true) \
               FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
               WHERE e.extname = 'timescaledb'";
    let found = rows(client, "the extension TimescaleDB", sql).await?;
    let Some(row) = found.first() else { return Ok(None) };
    if row.get::<_, Option<String>>(3).as_deref() == Some("on") {
        return Err(PgError::Restoring);
    }
    Ok(Some(About { version: row.get(0), schema: row.get(1), license: row.get(2) }))
}

async fn read(client: &Client, part: &Part) -> Result<Option<Vec<Value>>, PgError> {
    if let Some(needs) = part.needs
        && !exists(client, needs).await?
    {
        return Ok(None);
    }
    if let Some(unless) = part.unless
        && exists(client, unless).await?
    {
        return Ok(None);
    }
    let found = rows(client, &format!("TimescaleDB's catalog ({})", part.name), part.sql).await?;
    let parsed = found.iter().map(|row| serde_json::from_str(row.get(0))).collect::<Result<_, _>>();
    Ok(Some(parsed.map_err(|_| PgError::Unexpected("a row of TimescaleDB's catalog is no JSON"))?))
}

impl Surveyed {
    /// Compressed chunks of these hypertables that the licence in force hides: up to 2.26 a query just leaves them out.
    pub fn hidden_by_license(&self, hypertables: &[i32]) -> Option<&SurveyedChunk> {
        if self.timescale.license.as_deref() == Some("timescale") {
            return None;
        }
        let chunks = hypertables.iter().filter_map(|id| self.chunks.get(id)).flatten();
        chunks.into_iter().find(|chunk| chunk.chunk.is_compressed())
    }
}

//! The manifest's own types: a clear head (what lies in the vault, by path and digest) and a body (what it means).
//!
//! The body can be sealed one day; the head is what a host without keys needs to check, copy and prune. 64-bit numbers
//! are strings, as JSON readers lose them otherwise. `docs/format.md` is the law for every field.

use serde::{Deserialize, Serialize};

use super::Mapping;
use crate::base::{BackupId, Digest, RowsetDigest, TableName, Timestamp, VaultId};
use crate::catalog::timescale::{Chunk, Timescale};
use crate::catalog::{LargeObjects, Sequence, SourceFacts, TextColumn};

/// A manifest, format 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`super::FORMAT`].
    pub format: String,
    /// Features a reader must know to read this backup at all.
    pub required: Vec<String>,
    /// What lies in the vault.
    pub head: Head,
    /// What it means.
    pub body: Body,
}

/// Names, paths, lengths and digests: enough to check and copy a backup without understanding it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// This backup.
    pub id: BackupId,
    /// The vault it was written into.
    pub vault: VaultId,
    /// The time of the snapshot by the server's clock: what order and age are measured by.
    pub snapshot_time: Timestamp,
    /// When the manifest was written, by the dumping host's clock.
    pub finished: Timestamp,
    /// The newest backup of the vault when this one was committed, by id and root.
    pub previous: Option<Link>,
    /// How rows were hashed.
    pub rowset: RowsetAlgorithm,
    /// How the body is sealed; always null in this version.
    pub seal: Option<serde_json::Value>,
    /// Every piece, also those that lie in an earlier backup's folder.
    pub pieces: Vec<Piece>,
    /// Schema files.
    pub objects: Vec<StoredObject>,
}

/// A backup named by id and root digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id.
    pub id: BackupId,
    /// Its root.
    pub root: Digest,
}

/// Which construction hashed the rows, and under which of the vault's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsetAlgorithm {
    /// `rs1`.
    pub alg: String,
    /// Names the key in `vault.json`.
    pub key_id: String,
}

/// One stored Parquet file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// From the vault's root, `/` between parts.
    pub path: String,
    /// Length in bytes.
    #[serde(with = "super::numbers")]
    pub bytes: u64,
    /// blake3 of the file.
    pub blake3: Digest,
    /// Rowset digest of its rows.
    pub rowset: RowsetDigest,
    /// Length of these rows as COPY tuples, which bounds what a reader may have to unpack.
    #[serde(with = "super::numbers")]
    pub copy_bytes: u64,
    /// Row groups, so that a part of the file can be checked before it is decoded.
    pub row_groups: Vec<RowGroup>,
    /// The values the Parquet types could not hold.
    pub exceptions: Option<Sidecar>,
    /// The backup in which this file was first written, where that is another one.
    pub reused_from: Option<BackupId>,
    /// The data key it is encrypted under; always null in this version.
    pub key_id: Option<String>,
}

/// One row group of a piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowGroup {
    /// Where it starts.
    #[serde(with = "super::numbers")]
    pub offset: u64,
    /// How long it is.
    #[serde(with = "super::numbers")]
    pub length: u64,
    /// How many rows it has.
    #[serde(with = "super::numbers")]
    pub rows: u64,
    /// blake3 of those bytes.
    pub blake3: Digest,
}

/// An exceptions sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// From the vault's root.
    pub path: String,
    /// Length in bytes.
    #[serde(with = "super::numbers")]
    pub bytes: u64,
    /// blake3 of the file.
    pub blake3: Digest,
    /// Number of entries.
    #[serde(with = "super::numbers")]
    pub entries: u64,
}

/// A stored file that is no piece: the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// From the vault's root.
    pub path: String,
    /// Length in bytes.
    #[serde(with = "super::numbers")]
    pub bytes: u64,
    /// blake3 of the file.
    pub blake3: Digest,
}

/// What the pieces mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The program that wrote it.
    pub tool: Tool,
    /// Free text given with `--tag`.
    pub tag: Option<String>,
    /// Never to be pruned.
    pub keep_forever: bool,
    /// The server and database.
    pub source: SourceFacts,
    /// The snapshot everything was read under.
    pub snapshot: Snapshot,
    /// What was asked for.
    pub selection: SelectionRecord,
    /// Every table with data in this backup, ordered by name.
    pub tables: Vec<Table>,
    /// Sequences, read after the snapshot.
    pub sequences: Vec<Sequence>,
    /// Large objects; their bytes are the table `pg_catalog.pg_largeobject`.
    pub large_objects: Option<LargeObjects>,
    /// Materialised views that were populated, to be refreshed on restore.
    pub populated_views: Vec<TableName>,
    /// Where the schema entries lie: an index into `head.objects`, absent after `--data-only`.
    pub schema: Option<usize>,
    /// Everything that exists in the database and is not in the backup.
    pub omitted: Vec<Omission>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// What makes it a TimescaleDB database; its catalog's raw rows are the object `schema/timescale.json`.
    pub timescale: Option<Timescale>,
    /// False where some rows were read under a later snapshot than the rest.
    pub consistent: bool,
}

/// Who wrote the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `barkeep`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The pg_dump that gave the schema.
    pub pg_dump: Option<String>,
}

/// The MVCC snapshot and where in the log it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `pg_export_snapshot()`.
    pub name: String,
    /// `pg_current_snapshot()`.
    pub xids: String,
    /// WAL position just after it (replay position on a standby).
    pub lsn: Option<String>,
    /// Timeline.
    pub timeline: Option<String>,
}

/// What a dump was asked to take, so that `list` and `compare` can say it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelectionRecord {
    /// `-t`.
    pub tables: Vec<String>,
    /// `-T`.
    pub exclude_tables: Vec<String>,
    /// `-n`.
    pub schemas: Vec<String>,
    /// `-N`.
    pub exclude_schemas: Vec<String>,
    /// `--schema-only`.
    pub schema_only: bool,
    /// `--data-only`.
    pub data_only: bool,
    /// `--since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// `--until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// One table (or leaf partition) with its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Name.
    pub name: TableName,
    /// What it is.
    pub kind: TableKind,
    /// The root of its partition tree: its pieces lie in that table's folder.
    pub root: Option<TableName>,
    /// The topmost hash-partitioned ancestor: rows go home through it, and are compared through it, because an enum key
    /// hashes by OID and lands in another leaf on another server.
    pub load_through: Option<TableName>,
    /// The folder of its pieces under `tables/`.
    pub folder: String,
    /// Columns in the order of the tuples; derived ones last.
    pub columns: Vec<TableColumn>,
    /// Primary key columns.
    pub primary_key: Vec<String>,
    /// `--where`, or the condition of an extension's configuration table.
    pub condition: Option<String>,
    /// All its rows.
    pub rowset: RowsetDigest,
    /// `count(*)` under the same snapshot, where it was read in several units.
    #[serde(with = "super::numbers::option")]
    pub counted: Option<u64>,
    /// Pages a unit spans, where the table was split.
    pub pages_per_unit: Option<u32>,
    /// In which order its rows stand, where it is not the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clustered: Option<Clustered>,
    /// Its units.
    pub units: Vec<Unit>,
}

/// `--cluster-by`: within a row group rows stand in runs, each in the order of some columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clustered {
    /// The columns, the first one first.
    pub by: Vec<String>,
    /// Rows for which that holds. The others stand in the server's order: near them is a value that the sidecar names by its
    /// place, or they are very large.
    #[serde(with = "super::numbers")]
    pub rows: u64,
}

/// What kind of rows they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// An ordinary table or leaf partition.
    Table,
    /// A hypertable; its units are chunks.
    Hypertable,
    /// The materialised rows of a continuous aggregate, under the name of its view; its units are chunks.
    ContinuousAggregate,
    /// An extension's configuration table.
    ExtensionConfiguration,
    /// The bytes of all large objects.
    LargeObjects,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Name.
    pub name: String,
    /// Type as SQL spells it.
    pub type_sql: String,
    /// Collation where it is not the type's default.
    pub collation: Option<String>,
    /// NOT NULL.
    pub not_null: bool,
    /// Identity: `a` or `d`.
    pub identity: Option<char>,
    /// Generated: written for readers, outside digest and restore.
    pub derived: bool,
    /// How it is carried.
    pub mapping: Mapping,
    /// How the server prints it: what a column is read by that is carried as the server's text, or comes to be.
    pub text: Option<TextColumn>,
    /// Values that stand in the sidecar.
    #[serde(with = "super::numbers")]
    pub exceptions: u64,
}

/// One COPY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// First page, where it is a page range.
    pub from_page: Option<u32>,
    /// Where it is a chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<ChunkUnit>,
    /// Rows and sum.
    pub rowset: RowsetDigest,
    /// Its pieces, as indexes into `head.pieces`.
    pub pieces: Vec<usize>,
}

/// A chunk as a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkUnit {
    /// The chunk, as the backup's snapshot shows it.
    #[serde(flatten)]
    pub chunk: Chunk,
    /// It changed while it was read, and was read again later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<LateRead>,
}

/// The rows of a chunk's range as they were some time after the backup's snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateRead {
    /// Under which snapshot they were read.
    pub snapshot: Snapshot,
    /// When it was taken, by the server's clock.
    pub time: Timestamp,
    /// The chunk is gone by then; rows of its range, if there are any, lie in others.
    pub gone: bool,
    /// What had happened to it, in words.
    pub why: String,
}

/// Something that is not in the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    /// What it is.
    pub what: String,
    /// Why it is not here.
    pub why: String,
}

/// Something a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable word for programs.
    pub code: String,
    /// For people.
    pub message: String,
}

impl TableKind {
    /// Its rows lie in chunks.
    pub fn is_chunked(self) -> bool {
        matches!(self, Self::Hypertable | Self::ContinuousAggregate)
    }
}

impl Manifest {
    /// The table of this name.
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.body.tables.iter().find(|table| table.name == *name)
    }

    /// Chunks that were read later than the rest, with their tables.
    pub fn late(&self) -> impl Iterator<Item = (&Table, &ChunkUnit, &LateRead)> {
        self.body.tables.iter().flat_map(|table| {
            let chunks = table.units.iter().filter_map(|unit| unit.chunk.as_ref());
            chunks.filter_map(move |chunk| Some((table, chunk, chunk.late.as_ref()?)))
        })
    }

    /// The pieces of a table, in unit order.
    pub fn pieces<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Piece> {
        table.units.iter().flat_map(|unit| &unit.pieces).filter_map(|index| self.head.pieces.get(*index))
    }

    /// Bytes that its pieces, sidecars and schema files take.
    pub fn stored_bytes(&self) -> u64 {
        let pieces = self
            .head
            .pieces
            .iter()
            .map(|piece| piece.bytes + piece.exceptions.as_ref().map_or(0, |s| s.bytes));
        pieces.sum::<u64>() + self.head.objects.iter().map(|object| object.bytes).sum::<u64>()
    }

    /// Rows in all tables.
    pub fn rows(&self) -> u64 {
        self.body.tables.iter().map(|table| table.rowset.rows).sum()
    }
}

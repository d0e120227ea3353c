//! `show`: one backup, table by table, with all that it left out and all that was ever proven about it.

use serde::Serialize;

use super::OpsError;
use super::list::{AttestationLine, attestations};
use crate::base::{BackupId, Digest, TableName, Timestamp};
use crate::manifest::{ChunkUnit, Manifest, Omission, SelectionRecord, Snapshot, Table, TableKind, Warning};
use crate::store::{BackupChoice, Vault};

/// One backup in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShowReport {
    /// Its id.
    pub id: BackupId,
    /// Root digest of its manifest.
    pub root: Digest,
    /// The time of its snapshot, by the server's clock.
    pub snapshot_time: Timestamp,
    /// When it was committed, by the dumping host's clock.
    pub finished: Timestamp,
    /// Database.
    pub database: String,
    /// The server's version.
    pub server_version: String,
    /// Role that read it.
    pub role: String,
    /// Snapshot and place in the log.
    pub snapshot: Snapshot,
    /// `--tag`.
    pub tag: Option<String>,
    /// `--keep forever`.
    pub keep_forever: bool,
    /// What was asked for.
    pub selection: SelectionRecord,
    /// Program and version that wrote it.
    pub tool: String,
    /// Table by table.
    pub tables: Vec<TableLine>,
    /// Rows in all.
    pub rows: u64,
    /// Bytes in all, schema included.
    pub stored_bytes: u64,
    /// Sequences.
    pub sequences: usize,
    /// Large objects.
    pub large_objects: u64,
    /// Whether the schema is in it.
    pub schema: bool,
    /// TimescaleDB, where the source had it.
    pub timescale: Option<TimescaleLine>,
    /// False where some rows were read under a later snapshot.
    pub consistent: bool,
    /// What is in the database and not here.
    pub omitted: Vec<Omission>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// Everything that was verified or compared, oldest first.
    pub attestations: Vec<AttestationLine>,
}

/// What makes it a TimescaleDB database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimescaleLine {
    /// Its version.
    pub version: String,
    /// `timescale` or `apache`.
    pub license: Option<String>,
    /// Hypertables.
    pub hypertables: usize,
    /// Continuous aggregates.
    pub aggregates: usize,
    /// Policies and jobs.
    pub jobs: usize,
}

/// One table of a backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableLine {
    /// Name.
    pub table: TableName,
    /// The partitioned table it belongs to.
    pub root: Option<TableName>,
    /// Kind.
    pub kind: TableKind,
    /// Rows.
    pub rows: u64,
    /// Bytes as COPY sent them.
    pub copy_bytes: u64,
    /// Bytes of its pieces and sidecars.
    pub stored_bytes: u64,
    /// Pieces.
    pub pieces: usize,
    /// Of these, pieces an earlier backup wrote.
    pub reused: usize,
    /// Values in exceptions sidecars.
    pub exceptions: u64,
    /// `--where`, `--since`, `--until`.
    pub condition: Option<String>,
    /// Chunks, where it is a hypertable or a continuous aggregate.
    pub chunks: Option<ChunkCounts>,
    /// Columns and what they became.
    pub columns: Vec<ColumnLine>,
}

/// The chunks of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ChunkCounts {
    /// All of them.
    pub chunks: usize,
    /// Compressed in the source, in whole or in part.
    pub compressed: usize,
    /// Read later than the rest.
    pub late: usize,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnLine {
    /// Name.
    pub name: String,
    /// PostgreSQL type.
    pub type_sql: String,
    /// Generated: not restored.
    pub derived: bool,
    /// Values in exceptions sidecars.
    pub exceptions: u64,
}

/// Shows a backup.
pub fn show(vault: &Vault, choice: &BackupChoice) -> Result<ShowReport, OpsError> {
    let sealed = choice.find(vault)?;
    let manifest = &sealed.manifest;
    let (head, body) = (&manifest.head, &manifest.body);
    Ok(ShowReport {
        id: head.id.clone(),
        root: sealed.root,
        snapshot_time: head.snapshot_time,
        finished: head.finished,
        database: body.source.database.clone(),
        server_version: body.source.server_version.clone(),
        role: body.source.role.clone(),
        snapshot: body.snapshot.clone(),
        tag: body.tag.clone(),
        keep_forever: body.keep_forever,
        selection: body.selection.clone(),
        tool: format!("{} {}", body.tool.name, body.tool.version),
        tables: table_lines(manifest),
        rows: manifest.rows(),
        stored_bytes: manifest.stored_bytes(),
        sequences: body.sequences.len(),
        large_objects: body.large_objects.as_ref().map_or(0, |objects| objects.count),
        schema: body.schema.is_some(),
        timescale: body.timescale.as_ref().map(|found| TimescaleLine {
            version: found.version.clone(),
            license: found.license.clone(),
            hypertables: found.hypertables.len(),
            aggregates: found.aggregates.len(),
            jobs: found.jobs.len(),
        }),
        consistent: body.consistent,
        omitted: body.omitted.clone(),
        warnings: body.warnings.clone(),
        attestations: attestations(vault, &head.id)?,
    })
}

/// Every table of a manifest in a line.
pub fn table_lines(manifest: &Manifest) -> Vec<TableLine> {
    manifest.body.tables.iter().map(|table| table_line(manifest, table)).collect()
}

fn chunk_counts(table: &Table) -> ChunkCounts {
    let chunks: Vec<&ChunkUnit> = table.units.iter().filter_map(|unit| unit.chunk.as_ref()).collect();
    ChunkCounts {
        chunks: chunks.len(),
        compressed: chunks.iter().filter(|unit| unit.chunk.is_compressed()).count(),
        late: chunks.iter().filter(|unit| unit.late.is_some()).count(),
    }
}

fn table_line(manifest: &Manifest, table: &Table) -> TableLine {
    let pieces: Vec<_> = manifest.pieces(table).collect();
    let sidecars = |piece: &&&crate::manifest::Piece| piece.exceptions.as_ref().map_or(0, |s| s.bytes);
    TableLine {
        table: table.name.clone(),
        root: table.root.clone(),
        kind: table.kind,
        rows: table.rowset.rows,
        copy_bytes: pieces.iter().map(|piece| piece.copy_bytes).sum(),
        stored_bytes: pieces.iter().map(|piece| piece.bytes + sidecars(&piece)).sum(),
        pieces: pieces.len(),
        reused: pieces.iter().filter(|piece| piece.reused_from.is_some()).count(),
        exceptions: table.columns.iter().map(|column| column.exceptions).sum(),
        condition: table.condition.clone(),
        chunks: table.kind.is_chunked().then(|| chunk_counts(table)),
        columns: table
            .columns
            .iter()
            .map(|column| ColumnLine {
                name: column.name.clone(),
                type_sql: column.type_sql.clone(),
                derived: column.derived,
                exceptions: column.exceptions,
            })
            .collect(),
    }
}

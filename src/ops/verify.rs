//! `verify`: are the stored files still what was written, and do they decode to the rows that were read?

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::{OpsError, Services};
use crate::base::{BackupId, Digest, Event, TableName, chain};
use crate::codec::CodecError;
use crate::codec::file::{PieceBounds, PieceReader};
use crate::codec::rowset::RowSummer;
use crate::manifest::{Manifest, Piece, SealedManifest, Table};
use crate::plan::copy::piece_shape;
use crate::store::{BackupChoice, StoreError, Vault};

/// How much is proven; each level includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The manifest is sound and every file is there with the right length.
    Exist,
    /// Every byte is what was written.
    Hash,
    /// The files decode to the rows that were read: rowset digests recomputed.
    Decode,
}

/// What to verify.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// Which backup.
    pub choice: BackupChoice,
    /// How far.
    pub level: Level,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    /// Which backup.
    pub backup: BackupId,
    /// Its root.
    pub root: Digest,
    /// How far.
    pub level: Level,
    /// Files looked at.
    pub files: usize,
    /// Bytes they have.
    pub bytes: u64,
    /// Rows decoded (level `decode`).
    pub rows: u64,
    /// What is wrong; empty means sound.
    pub findings: Vec<Finding>,
    /// Files in the backup's folder that the manifest does not know.
    pub extra: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which file, from the vault's root.
    pub path: String,
    /// Whose rows are in it.
    pub table: Option<TableName>,
    /// What is wrong with it.
    pub problem: String,
}

/// A file to look at.
struct Task<'a> {
    path: &'a str,
    bytes: u64,
    blake3: Digest,
    piece: Option<(&'a Table, &'a Piece)>,
}

/// Verifies one backup and writes the result into the vault as an attestation.
pub async fn verify(
    vault: &Vault,
    request: &VerifyRequest,
    services: &Services,
) -> Result<VerifyReport, OpsError> {
    let sealed = request.choice.find(vault)?;
    services.events.emit(Event::Phase("verify"));
    let (own, vault_of_thread, level, services_of_thread) =
        (sealed.clone(), vault.clone(), request.level, services.clone());
    let report =
        tokio::task::spawn_blocking(move || check(&vault_of_thread, &own, level, &services_of_thread))
            .await
            .map_err(|_| OpsError::Internal("the verifying thread died".to_owned()))??;
    let attestation = serde_json::to_value(&report).map_err(|error| OpsError::Internal(error.to_string()))?;
    let word = match request.level {
        Level::Exist => "exist",
        Level::Hash => "hash",
        Level::Decode => "decode",
    };
    vault.attest(&sealed.manifest.head.id, services.clock.now(), word, &attestation)?;
    Ok(report)
}

fn check(
    vault: &Vault,
    sealed: &SealedManifest,
    level: Level,
    services: &Services,
) -> Result<VerifyReport, OpsError> {
    let began = Instant::now();
    let manifest = &sealed.manifest;
    let key = rowset_key(vault, manifest)?;
    let tasks = tasks(manifest);
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Vec::new(), 0u64));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = look(vault, task, level, &key);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(rows) => found.1 += rows,
                        Err(problem) => found.0.push(Finding {
                            path: task.path.to_owned(),
                            table: task.piece.map(|(table, _)| table.name.clone()),
                            problem,
                        }),
                    }
                    if let Some((table, piece)) = task.piece {
                        let (rows, bytes) = (piece.rowset.rows, piece.bytes);
                        services.events.emit(Event::Progress { table: table.name.clone(), rows, bytes });
                    }
                }
            });
        }
    });
    let (mut findings, rows) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    findings.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(VerifyReport {
        backup: manifest.head.id.clone(),
        root: sealed.root,
        level,
        files: tasks.len(),
        bytes: tasks.iter().map(|task| task.bytes).sum(),
        rows,
        findings,
        extra: vault.extra_files(manifest)?,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// The key a backup's rows were hashed under.
pub(super) fn rowset_key(vault: &Vault, manifest: &Manifest) -> Result<[u8; 32], OpsError> {
    let rowset = &manifest.head.rowset;
    let missing = || OpsError::Mismatch(format!("vault.json has no rowset key {:?}", rowset.key_id));
    vault.key(&rowset.key_id).copied().ok_or_else(missing)
}

fn tasks(manifest: &Manifest) -> Vec<Task<'_>> {
    let mut tasks: Vec<Task<'_>> = manifest
        .head
        .objects
        .iter()
        .map(|object| Task { path: &object.path, bytes: object.bytes, blake3: object.blake3, piece: None })
        .collect();
    for table in &manifest.body.tables {
        for piece in manifest.pieces(table) {
            let whose = Some((table, piece));
            tasks.push(Task { path: &piece.path, bytes: piece.bytes, blake3: piece.blake3, piece: whose });
            if let Some(sidecar) = &piece.exceptions {
                tasks.push(Task {
                    path: &sidecar.path,
                    bytes: sidecar.bytes,
                    blake3: sidecar.blake3,
                    piece: None,
                });
            }
        }
    }
    tasks
}

/// Looks at one file; rows decoded, or what is wrong in words.
fn look(vault: &Vault, task: &Task<'_>, level: Level, key: &[u8; 32]) -> Result<u64, String> {
    let words = |error: StoreError| match error {
        StoreError::Damaged { problem, .. } => problem.to_string(),
        other => chain(&other),
    };
    vault.check_exists(task.path, task.bytes).map_err(words)?;
    if level >= Level::Hash {
        vault.check_digest(task.path, task.bytes, task.blake3).map_err(words)?;
    }
    match task.piece {
        Some((table, piece)) if level == Level::Decode => {
            decode(vault, table, piece, key).map_err(|e| chain(&e))
        }
        _ => Ok(0),
    }
}

/// Decodes a piece and recomputes its rowset digest.
fn decode(vault: &Vault, table: &Table, piece: &Piece, key: &[u8; 32]) -> Result<u64, CodecError> {
    let mut summer = RowSummer::new(key);
    each_row(vault, table, piece, &mut |tuple| {
        summer.add_tuple(tuple);
        Ok(())
    })?;
    let digest = summer.digest();
    if digest == piece.rowset {
        return Ok(digest.rows);
    }
    Err(CodecError::Piece(format!("it decodes to {digest:?}, the manifest says {:?}", piece.rowset)))
}

/// Shows every canonical tuple of a piece, whose bytes are first known to be those that were written.
pub(super) fn checked_rows(
    vault: &Vault,
    table: &Table,
    piece: &Piece,
    row: &mut dyn FnMut(&[u8]) -> Result<(), CodecError>,
) -> Result<(), OpsError> {
    vault.check_digest(&piece.path, piece.bytes, piece.blake3)?;
    if let Some(sidecar) = &piece.exceptions {
        vault.check_digest(&sidecar.path, sidecar.bytes, sidecar.blake3)?;
    }
    each_row(vault, table, piece, row)
        .map_err(|source| OpsError::Rows { table: table.name.clone(), source: source.in_file(&piece.path) })
}

/// Shows every canonical tuple of a piece.
fn each_row(
    vault: &Vault,
    table: &Table,
    piece: &Piece,
    row: &mut dyn FnMut(&[u8]) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let file = File::open(vault.place(&piece.path))?;
    let sidecar =
        piece.exceptions.as_ref().map(|sidecar| File::open(vault.place(&sidecar.path))).transpose()?;
    let bounds = PieceBounds { rows: piece.rowset.rows, copy_bytes: piece.copy_bytes };
    let mut reader = PieceReader::open(file, sidecar, &piece_shape(table), bounds)?;
    let (mut tuples, mut ends) = (Vec::new(), Vec::new());
    while reader.next_batch(&mut tuples, &mut ends)? {
        let mut start = 0;
        for end in &ends {
            row(&tuples[start..*end])?;
            start = *end;
        }
        tuples.clear();
        ends.clear();
    }
    Ok(())
}

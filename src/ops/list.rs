//! `list`: which backups a vault has, newest first, and what is known about each. Reads manifests and attestations only.

use serde::Serialize;

use super::OpsError;
use crate::base::{BackupId, Timestamp, VaultId, chain};
use crate::manifest::SealedManifest;
use crate::store::Vault;

/// All backups of a vault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListReport {
    /// Where the vault is.
    pub vault: String,
    /// Its id.
    pub vault_id: VaultId,
    /// Backups whose manifest is sound, newest snapshot first.
    pub backups: Vec<BackupLine>,
    /// Backups whose manifest cannot be believed.
    pub unsound: Vec<UnsoundBackup>,
}

/// One backup in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupLine {
    /// Its id.
    pub id: BackupId,
    /// The time of its snapshot.
    pub snapshot_time: Timestamp,
    /// Database it came from.
    pub database: String,
    /// Version of that server.
    pub server_version: String,
    /// `--tag`.
    pub tag: Option<String>,
    /// `--keep forever`.
    pub keep_forever: bool,
    /// Tables with rows of their own.
    pub tables: usize,
    /// Rows in all.
    pub rows: u64,
    /// Bytes it takes (pieces of earlier backups included).
    pub stored_bytes: u64,
    /// Of these, bytes that lie in an earlier backup's files already.
    pub reused_bytes: u64,
    /// False where some rows were read under a later snapshot.
    pub consistent: bool,
    /// Warnings in the manifest.
    pub warnings: usize,
    /// Objects left out.
    pub omitted: usize,
    /// The latest verification, or else the latest comparison (which may differ by no fault of the backup's).
    pub attested: Option<AttestationLine>,
}

/// The latest thing that was proven, or disproven, about a backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttestationLine {
    /// `verify`, `compare` … with its level.
    pub what: String,
    /// Whether it held.
    pub ok: Option<bool>,
    /// When.
    pub time: Option<String>,
}

/// A backup that is there but cannot be believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnsoundBackup {
    /// Its id.
    pub id: BackupId,
    /// Why.
    pub problem: String,
}

/// Lists a vault. One damaged manifest does not hide the others.
pub fn list(vault: &Vault) -> Result<ListReport, OpsError> {
    let mut report = ListReport {
        vault: vault.root().display().to_string(),
        vault_id: vault.id().clone(),
        backups: Vec::new(),
        unsound: Vec::new(),
    };
    for id in vault.backups()? {
        match vault.manifest(&id) {
            Ok(sealed) => report.backups.push(line(vault, &sealed)?),
            Err(error) => report.unsound.push(UnsoundBackup { id, problem: chain(&error) }),
        }
    }
    report.backups.sort_by(|a, b| (b.snapshot_time, &b.id).cmp(&(a.snapshot_time, &a.id)));
    Ok(report)
}

fn line(vault: &Vault, sealed: &SealedManifest) -> Result<BackupLine, OpsError> {
    let manifest = &sealed.manifest;
    let reused = manifest.head.pieces.iter().filter(|piece| piece.reused_from.is_some());
    Ok(BackupLine {
        id: manifest.head.id.clone(),
        snapshot_time: manifest.head.snapshot_time,
        database: manifest.body.source.database.clone(),
        server_version: manifest.body.source.server_version.clone(),
        tag: manifest.body.tag.clone(),
        keep_forever: manifest.body.keep_forever,
        tables: manifest.body.tables.len(),
        rows: manifest.rows(),
        stored_bytes: manifest.stored_bytes(),
        reused_bytes: reused.map(|piece| piece.bytes).sum(),
        consistent: manifest.body.consistent,
        warnings: manifest.body.warnings.len(),
        omitted: manifest.body.omitted.len(),
        attested: latest(attestations(vault, &manifest.head.id)?),
    })
}

fn latest(mut attestations: Vec<AttestationLine>) -> Option<AttestationLine> {
    let verified = attestations.iter().rposition(|line| line.what.starts_with("verify"));
    match verified {
        Some(index) => Some(attestations.swap_remove(index)),
        None => attestations.pop(),
    }
}

/// The attestations of a backup, oldest first, as lines.
pub(super) fn attestations(vault: &Vault, id: &BackupId) -> Result<Vec<AttestationLine>, OpsError> {
    let all = vault.attestations(id)?;
    let line = |value: &serde_json::Value| {
        let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let level = text("level").unwrap_or_default();
        let findings = value.get("findings").and_then(serde_json::Value::as_array);
        AttestationLine {
            ok: value.get("equal").and_then(serde_json::Value::as_bool).or(findings.map(Vec::is_empty)),
            what: if level == "compare" { level } else { format!("verify {level}") },
            time: text("time"),
        }
    };
    Ok(all.iter().map(line).collect())
}

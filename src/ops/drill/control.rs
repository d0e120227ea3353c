//! The negative controls: damage that must be caught. A detector that cannot fail has proven nothing.

use std::path::PathBuf;

use super::super::compare::{CompareRequest, TableVerdict, compare};
use crate::base::TableName;
use crate::catalog::Pattern;
use crate::manifest::{Manifest, Piece, Table, TableKind};
use crate::ops::{OpsError, Services};
use crate::pg::ConnectionSettings;
use crate::pg::workbench::Workbench;
use crate::store::{BackupChoice, StoreError, Vault};

/// What a control came to.
pub(super) enum Control {
    /// It was caught, and how.
    Caught(String),
    /// It was not.
    Missed(String),
    /// There was nothing to damage.
    Nothing(&'static str),
}

/// Copies a piece and flips one bit of the copy: its digest must no longer be the manifest's. The copy as it was must have it.
pub(super) fn flipped_byte(vault: &Vault, manifest: &Manifest) -> Result<Control, OpsError> {
    let Some(piece) = some_piece(manifest) else { return Ok(Control::Nothing("the backup has no rows")) };
    let folder = tempfile::tempdir().map_err(OpsError::Output)?;
    let copy = |name: &str| -> Result<PathBuf, OpsError> {
        let target = folder.path().join(name);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(OpsError::Output)?;
        }
        std::fs::copy(vault.place(name), &target).map_err(OpsError::Output)?;
        Ok(target)
    };
    copy("vault.json")?;
    let place = copy(&piece.path)?;
    let shadow = Vault::open(folder.path())?;
    shadow.check_digest(&piece.path, piece.bytes, piece.blake3)?;
    let mut bytes = std::fs::read(&place).map_err(OpsError::Output)?;
    let at = rand::random_range(0..bytes.len().max(1));
    let bit = rand::random_range(0..8_u32);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
    std::fs::write(&place, bytes).map_err(OpsError::Output)?;
    let what = format!("bit {bit} of byte {at} in a copy of {}", piece.path);
    match shadow.check_digest(&piece.path, piece.bytes, piece.blake3) {
        Err(StoreError::Damaged { .. }) => {
            Ok(Control::Caught(format!("{what} was flipped, and the copy was refused.")))
        }
        Err(other) => Err(other.into()),
        Ok(()) => Ok(Control::Missed(format!("{what} was flipped, and the copy was taken for sound."))),
    }
}

/// Any piece, of those that are not needlessly large.
fn some_piece(manifest: &Manifest) -> Option<&Piece> {
    const LARGE: u64 = 64 << 20;
    let mut pieces: Vec<&Piece> = manifest.head.pieces.iter().filter(|piece| piece.bytes > 0).collect();
    pieces.sort_by_key(|piece| piece.bytes);
    let small = pieces.partition_point(|piece| piece.bytes <= LARGE).max(1).min(pieces.len());
    pieces.get(rand::random_range(0..small.max(1))).copied()
}

/// Deletes a row of the restored database: its table must no longer compare as equal.
pub(super) async fn deleted_row(
    vault: &Vault,
    manifest: &Manifest,
    database: &ConnectionSettings,
    equal: &[TableName],
    services: &Services,
) -> Result<Control, OpsError> {
    let Some(table) = some_table(manifest, equal) else {
        return Ok(Control::Nothing("no table that compared as equal has a row"));
    };
    let name = table.name.sql();
    let bench = Workbench::connect(database).await?;
    // Foreign keys and triggers have no say in damage.
    bench.run("turning triggers off", "SET session_replication_role = replica").await?;
    let victim = "deleting one row of the restored copy";
    let sql = format!("DELETE FROM {name} WHERE ctid = (SELECT ctid FROM {name} LIMIT 1)");
    bench.run(victim, &sql).await?;
    let mut request = CompareRequest::new(database.clone());
    request.choice = BackupChoice::named(manifest.head.id.to_string());
    let only = Pattern::parse(&name).map_err(|error| OpsError::Internal(error.to_string()))?;
    request.selection.tables = vec![only];
    let report =
        compare(vault, &request, &Services { clock: services.clock.clone(), ..Services::default() }).await?;
    let different = report.tables.iter().any(|one| one.verdict == TableVerdict::Different);
    let what =
        format!("one of {} rows of {} was deleted in the restored copy", table.rowset.rows, table.name);
    Ok(match different {
        true => Control::Caught(format!("{what}, and the table no longer compared as equal.")),
        false => Control::Missed(format!("{what}, and the table still compared as equal.")),
    })
}

/// The smallest plain table with a row in it, so that comparing it again is quick.
fn some_table<'a>(manifest: &'a Manifest, equal: &[TableName]) -> Option<&'a Table> {
    let tables = manifest.body.tables.iter().filter(|table| {
        table.kind == TableKind::Table
            && table.rowset.rows > 0
            && table.load_through.is_none()
            && equal.contains(&table.name)
    });
    tables.min_by_key(|table| table.rowset.rows)
}

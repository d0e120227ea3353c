//! Damage on purpose: a copy of a vault in which one bit is another. The vault itself is only read.

use std::fs;
use std::path::Path;

use crate::base::BackupId;
use crate::ops::OpsError;
use crate::store::{StoreError, Vault};

/// Copies the files of one backup into `folder` as a vault and flips a bit in the middle of its largest piece. Gives the
/// copy and the path of that piece.
pub(super) fn damaged_copy(vault: &Vault, id: &BackupId, folder: &Path) -> Result<(Vault, String), OpsError> {
    let sealed = vault.manifest(id)?;
    let head = &sealed.manifest.head;
    let pieces = head.pieces.iter().map(|piece| piece.path.as_str());
    let sidecars = head.pieces.iter().filter_map(|piece| Some(piece.exceptions.as_ref()?.path.as_str()));
    let objects = head.objects.iter().map(|object| object.path.as_str());
    let manifest = format!("backups/{id}/manifest.json");
    for path in pieces.chain(sidecars).chain(objects).chain(["vault.json", manifest.as_str()]) {
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| failed("create", parent, error))?;
        }
        fs::copy(vault.place(path), &target).map_err(|error| failed("copy to", &target, error))?;
    }
    let largest = head.pieces.iter().max_by_key(|piece| piece.bytes);
    let path = largest.map(|piece| piece.path.clone());
    let path = path.ok_or_else(|| OpsError::Internal("the demo's backup has no piece".to_owned()))?;
    let target = folder.join(&path);
    let mut bytes = fs::read(&target).map_err(|error| failed("read", &target, error))?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(&target, bytes).map_err(|error| failed("write", &target, error))?;
    Ok((Vault::open(folder)?, path))
}

/// An I/O error with what was tried and where.
pub(super) fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> OpsError {
    OpsError::Store(StoreError::Io { doing, path: path.to_owned(), source })
}

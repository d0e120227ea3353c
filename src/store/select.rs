//! [`BackupChoice`]: which backup a command means (`latest`, an id, a prefix, a tag, `--before`).

use super::{StoreError, Vault};
use crate::base::{BackupId, Timestamp};
use crate::manifest::SealedManifest;

/// Which backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupChoice {
    /// `latest` (or nothing), an id, a prefix of one, or a tag.
    pub name: Option<String>,
    /// The newest whose snapshot is not later than this.
    pub before: Option<Timestamp>,
}

impl BackupChoice {
    /// The newest backup.
    pub fn latest() -> Self {
        Self::default()
    }

    /// A backup by name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), before: None }
    }

    /// Finds it. Only the manifests that have to be read are read, so that a damaged one elsewhere does no harm when a
    /// backup is named by id.
    pub fn find(&self, vault: &Vault) -> Result<SealedManifest, StoreError> {
        let wanted = self.name.as_deref().unwrap_or("latest");
        let none = || StoreError::NoBackup { vault: vault.root().to_owned(), wanted: wanted.to_owned() };
        if wanted != "latest" && self.before.is_none() {
            let ids: Vec<BackupId> =
                vault.backups()?.into_iter().filter(|id| id.as_str().starts_with(wanted)).collect();
            match ids.as_slice() {
                [one] => return vault.manifest(one),
                [] => {}
                _ => return Err(StoreError::Ambiguous { wanted: wanted.to_owned(), candidates: ids }),
            }
        }
        let fits = |sealed: &SealedManifest| {
            let tagged = wanted == "latest" || sealed.manifest.body.tag.as_deref() == Some(wanted);
            tagged && self.before.is_none_or(|before| sealed.manifest.head.snapshot_time <= before)
        };
        vault.newest(fits)?.ok_or_else(none)
    }
}

//! [`StoreError`]: what can go wrong in a vault, always with the path it happened at.

use std::path::{Path, PathBuf};

use crate::base::{BackupId, Digest};
use crate::manifest::ManifestError;

/// A failure in a vault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no vault.
    #[error("{} is not a vault: it has no vault.json", .0.display())]
    NoVault(PathBuf),
    /// A vault of another time.
    #[error("{} has the vault format {found:?}; this barkeep reads format 1", path.display())]
    VaultFormat {
        /// Which vault.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// Nothing answers to that name.
    #[error("no backup in {} answers to {wanted:?}", vault.display())]
    NoBackup {
        /// Which vault.
        vault: PathBuf,
        /// What was asked for.
        wanted: String,
    },
    /// More than one answers.
    #[error("{wanted:?} fits several backups: {}", candidates.iter().map(BackupId::as_str).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What fits.
        candidates: Vec<BackupId>,
    },
    /// A manifest is not believed.
    #[error("the manifest of {id} is not sound")]
    Manifest {
        /// Of which backup.
        id: BackupId,
        /// Why.
        source: ManifestError,
    },
    /// A manifest lies in the folder of another backup.
    #[error("the manifest in the folder of {folder} says it is {says}")]
    Misplaced {
        /// The folder.
        folder: BackupId,
        /// The manifest.
        says: BackupId,
    },
    /// A stored file is not the one the manifest lists.
    #[error("{path} is damaged: {problem}")]
    Damaged {
        /// Which file, from the vault's root.
        path: String,
        /// What is wrong.
        problem: Damage,
    },
}

/// What is wrong with a stored file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// It is too short or too long.
    #[error("it has {found} bytes instead of {expected}")]
    Length {
        /// By the manifest.
        expected: u64,
        /// On disk.
        found: u64,
    },
    /// Its bytes are others.
    #[error("its blake3 is {found} instead of {expected}")]
    Digest {
        /// By the manifest.
        expected: Digest,
        /// On disk.
        found: Digest,
    },
    /// What stands in it makes no sense.
    #[error("{0}")]
    Form(String),
    /// A rowset key is not the one that its id was made from.
    #[error("its rowset key {0:?} is another one than its id says")]
    Key(String),
}

impl StoreError {
    /// A closure that wraps an I/O error with what was tried and where.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

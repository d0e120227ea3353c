//! [`Policy`]: which backup a drill takes.

use crate::manifest::SealedManifest;
use crate::ops::OpsError;
use crate::store::{BackupChoice, StoreError, Vault};

/// Which backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// This one.
    Named(BackupChoice),
    /// The newest whose files were verified.
    LatestVerified,
    /// Any: what is never looked at breaks unseen.
    Random,
    /// The oldest that is kept.
    Oldest,
}

impl Policy {
    /// As reports have it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Named(choice) if *choice == BackupChoice::latest() => "latest",
            Self::Named(_) => "named",
            Self::LatestVerified => "latest verified",
            Self::Random => "random",
            Self::Oldest => "oldest",
        }
    }

    pub(super) fn pick(&self, vault: &Vault) -> Result<SealedManifest, OpsError> {
        let none = |wanted: &str| {
            OpsError::from(StoreError::NoBackup { vault: vault.root().to_owned(), wanted: wanted.to_owned() })
        };
        match self {
            Self::Named(choice) => Ok(choice.find(vault)?),
            Self::LatestVerified => {
                let mut newest = vault.manifests()?.into_iter();
                newest.find(|sealed| is_verified(vault, sealed)).ok_or_else(|| none("latest verified"))
            }
            Self::Random => {
                let mut ids = vault.backups()?;
                if ids.is_empty() {
                    return Err(none("random"));
                }
                let at = rand::random_range(0..ids.len());
                Ok(vault.manifest(&ids.swap_remove(at))?)
            }
            Self::Oldest => vault.manifests()?.pop().ok_or_else(|| none("oldest")),
        }
    }
}

/// Whether somebody read all its bytes and found nothing.
fn is_verified(vault: &Vault, sealed: &SealedManifest) -> bool {
    let attested = vault.attestations(&sealed.manifest.head.id).unwrap_or_default();
    attested.iter().any(|attestation| {
        let level = attestation["level"].as_str().unwrap_or_default();
        let root = attestation["root"].as_str() == Some(sealed.root.to_string().as_str());
        ["hash", "decode"].contains(&level)
            && root
            && attestation["findings"].as_array().is_some_and(Vec::is_empty)
    })
}

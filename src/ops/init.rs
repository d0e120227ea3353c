//! `init`: a new vault, and a configuration file in which every setting is explained. What is there already stays.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{OpsError, Services};
use crate::base::VaultId;
use crate::store::{StoreError, Vault};

/// What `init` made, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InitReport {
    /// The configuration file.
    pub config: PathBuf,
    /// It was written now.
    pub config_written: bool,
    /// The vault.
    pub vault: PathBuf,
    /// Its id.
    pub vault_id: VaultId,
    /// It was made now.
    pub vault_made: bool,
}

/// Makes the vault and the configuration file, each only where there is none.
pub fn init(config: &Path, vault: &Path, services: &Services) -> Result<InitReport, OpsError> {
    let vault_made = match Vault::open(vault) {
        Ok(_) => false,
        Err(StoreError::NoVault(_)) => true,
        Err(error) => return Err(error.into()),
    };
    let opened = Vault::open_or_create(vault, services.clock.now(), fresh_random())?;
    let config_written = match write_new(config, &template(vault)) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(source) => {
            return Err(OpsError::Store(StoreError::Io { doing: "create", path: config.to_owned(), source }));
        }
    };
    Ok(InitReport {
        config: config.to_owned(),
        config_written,
        vault: vault.to_owned(),
        vault_id: opened.id().clone(),
        vault_made,
    })
}

/// 48 random bytes for a new vault's id and key.
pub(super) fn fresh_random() -> [u8; 48] {
    let mut random = [0; 48];
    rand::Rng::fill(&mut rand::rng(), &mut random[..]);
    random
}

/// The file may one day hold an address with a password in it: nobody else reads it.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// The commented configuration.
pub fn template(vault: &Path) -> String {
    let vault = toml::Value::String(vault.display().to_string());
    include_str!("init/barkeep.toml").replace("{vault}", &vault.to_string())
}

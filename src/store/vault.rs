//! [`Vault`]: a directory of backups.
//!
//! Promises: a backup exists if and only if `backups/<id>/manifest.json` does; it appears there complete, by one rename,
//! after every byte and directory is on disk; nothing under `backups/` is ever changed afterwards. A run that dies leaves
//! only something under `staging/`, which the next run sweeps once nobody holds its lock.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::staging::{Staging, sync_directory};
use super::{Damage, StoreError};
use crate::base::{BackupId, Digest, Timestamp, VaultId};
use crate::manifest::{MAX_BYTES, Manifest, SealedManifest, strict_json};

/// Everything in `vault.json`; written once.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct VaultFile {
    format: String,
    id: VaultId,
    created: Timestamp,
    /// The key under which rows are hashed, by id; hex.
    rowset_keys: std::collections::BTreeMap<String, Digest>,
    rowset_key: String,
}

const FORMAT: &str = "barkeep-vault/1";

/// Bytes of a file that are read at once.
const BUFFER: usize = 1 << 20;

/// A directory of backups.
#[derive(Debug, Clone)]
pub struct Vault {
    root: PathBuf,
    file: VaultFile,
}

impl Vault {
    /// Opens an existing vault.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let path = root.join("vault.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::NoVault(root.to_owned()));
            }
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        let damaged = |problem| StoreError::Damaged { path: "vault.json".to_owned(), problem };
        let form = |error: String| damaged(Damage::Form(error));
        let value = strict_json(&bytes).map_err(|error| form(error.to_string()))?;
        let format = value.get("format").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        if format != FORMAT {
            return Err(StoreError::VaultFormat { path: root.to_owned(), found: format });
        }
        let file: VaultFile = serde_json::from_value(value).map_err(|error| form(error.to_string()))?;
        if !file.rowset_keys.contains_key(&file.rowset_key) {
            return Err(form(format!("it has no key {:?}", file.rowset_key)));
        }
        // With another key every row would look changed; here it is seen before one has been read.
        if let Some((id, _)) = file.rowset_keys.iter().find(|(id, key)| **id != key_id(key.as_bytes())) {
            return Err(damaged(Damage::Key(id.clone())));
        }
        Ok(Self { root: root.to_owned(), file })
    }

    /// Opens the vault, or makes one where there is nothing yet. `random` gives the vault's id and its rowset key.
    pub fn open_or_create(root: &Path, now: Timestamp, random: [u8; 48]) -> Result<Self, StoreError> {
        match Self::open(root) {
            Err(StoreError::NoVault(_)) => {}
            other => return other,
        }
        let (id, key) = random.split_at(16);
        let key: [u8; 32] = key.try_into().unwrap_or([0; 32]);
        let id: [u8; 16] = id.try_into().unwrap_or([0; 16]);
        let key_id = key_id(&key);
        let file = VaultFile {
            format: FORMAT.to_owned(),
            id: VaultId::new(id),
            created: now,
            rowset_keys: [(key_id.clone(), Digest::from_bytes(key))].into(),
            rowset_key: key_id,
        };
        make_directory(root)?;
        if fs::read_dir(root).map_err(StoreError::io("read", root))?.next().is_some() {
            // Somebody's files, and not a vault: better to stop than to strew backups among them.
            return Err(StoreError::NoVault(root.to_owned()));
        }
        let path = root.join("vault.json");
        let bytes =
            serde_json::to_vec_pretty(&file).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        write_once(&path, &bytes)?;
        sync_directory(root)?;
        Self::open(root)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its id.
    pub fn id(&self) -> &VaultId {
        &self.file.id
    }

    /// The id of the key that new backups hash rows under.
    pub fn key_id(&self) -> &str {
        &self.file.rowset_key
    }

    /// A rowset key by id.
    pub fn key(&self, key_id: &str) -> Option<&[u8; 32]> {
        self.file.rowset_keys.get(key_id).map(Digest::as_bytes)
    }

    /// The place of a path from a manifest (which has been checked to be plain).
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Ids of all backups, in no order that means anything.
    pub fn backups(&self) -> Result<Vec<BackupId>, StoreError> {
        let directory = self.root.join("backups");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read", &directory)(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read", &directory))?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<BackupId>().ok()) else {
                continue;
            };
            if entry.path().join("manifest.json").exists() {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Reads and checks one manifest.
    pub fn manifest(&self, id: &BackupId) -> Result<SealedManifest, StoreError> {
        let path = self.root.join("backups").join(id.as_str()).join("manifest.json");
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                StoreError::NoBackup { vault: self.root.clone(), wanted: id.to_string() }
            }
            _ => StoreError::io("read", &path)(error),
        })?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        let sealed =
            SealedManifest::open(&bytes).map_err(|source| StoreError::Manifest { id: id.clone(), source })?;
        if sealed.manifest.head.id != *id {
            return Err(StoreError::Misplaced { folder: id.clone(), says: sealed.manifest.head.id.clone() });
        }
        Ok(sealed)
    }

    /// All manifests, newest snapshot first.
    pub fn manifests(&self) -> Result<Vec<SealedManifest>, StoreError> {
        let mut all = self.backups()?.iter().map(|id| self.manifest(id)).collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|a, b| {
            let key = |sealed: &SealedManifest| {
                (sealed.manifest.head.snapshot_time, sealed.manifest.head.id.clone())
            };
            key(b).cmp(&key(a))
        });
        Ok(all)
    }

    /// The backup with the newest snapshot of those that fit. All manifests are read and shown to `fits`, one at a time:
    /// those of ten thousand tables are large.
    pub fn newest(
        &self,
        mut fits: impl FnMut(&SealedManifest) -> bool,
    ) -> Result<Option<SealedManifest>, StoreError> {
        let mut newest: Option<SealedManifest> = None;
        for id in self.backups()? {
            let sealed = self.manifest(&id)?;
            let (time, id) = (sealed.manifest.head.snapshot_time, &sealed.manifest.head.id);
            let newer = |than: &SealedManifest| {
                (time, id) > (than.manifest.head.snapshot_time, &than.manifest.head.id)
            };
            if fits(&sealed) && newest.as_ref().is_none_or(newer) {
                newest = Some(sealed);
            }
        }
        Ok(newest)
    }

    /// Checks that a stored file has the length the manifest says.
    pub fn check_exists(&self, path: &str, bytes: u64) -> Result<(), StoreError> {
        let damaged = |problem| StoreError::Damaged { path: path.to_owned(), problem };
        match fs::symlink_metadata(self.place(path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(damaged(Damage::Missing)),
            Err(error) => Err(StoreError::io("read", &self.place(path))(error)),
            Ok(found) if !found.is_file() => Err(damaged(Damage::Missing)),
            Ok(found) if found.len() != bytes => {
                Err(damaged(Damage::Length { expected: bytes, found: found.len() }))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Reads a stored file from end to end and checks length and digest.
    pub fn check_digest(&self, path: &str, bytes: u64, expected: Digest) -> Result<(), StoreError> {
        self.check_exists(path, bytes)?;
        let place = self.place(path);
        let mut file = File::open(&place).map_err(StoreError::io("read", &place))?;
        let mut hasher = blake3::Hasher::new();
        // No more than it needs: clearing a mebibyte takes longer than reading a small file.
        let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(BUFFER).clamp(1, BUFFER)];
        loop {
            let count = file.read(&mut buffer).map_err(StoreError::io("read", &place))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
        }
        let found = Digest::from(hasher.finalize());
        if found == expected {
            return Ok(());
        }
        Err(StoreError::Damaged { path: path.to_owned(), problem: Damage::Digest { expected, found } })
    }

    /// Reads a small stored file whole, checked.
    pub fn read_checked(&self, path: &str, bytes: u64, expected: Digest) -> Result<Vec<u8>, StoreError> {
        self.check_exists(path, bytes)?;
        let place = self.place(path);
        let content = fs::read(&place).map_err(StoreError::io("read", &place))?;
        let found = Digest::of(&content);
        if found == expected {
            return Ok(content);
        }
        Err(StoreError::Damaged { path: path.to_owned(), problem: Damage::Digest { expected, found } })
    }

    /// Files in a backup's folder that its manifest does not list.
    pub fn extra_files(&self, manifest: &Manifest) -> Result<Vec<String>, StoreError> {
        let folder = format!("backups/{}", manifest.head.id);
        let mut known: std::collections::BTreeSet<String> = [format!("{folder}/manifest.json")].into();
        known.extend(manifest.head.objects.iter().map(|object| object.path.clone()));
        for piece in &manifest.head.pieces {
            known.insert(piece.path.clone());
            known.extend(piece.exceptions.iter().map(|sidecar| sidecar.path.clone()));
        }
        let mut extra = Vec::new();
        let mut open = vec![folder];
        while let Some(relative) = open.pop() {
            let directory = self.root.join(&relative);
            for entry in fs::read_dir(&directory).map_err(StoreError::io("read", &directory))? {
                let entry = entry.map_err(StoreError::io("read", &directory))?;
                let path = format!("{relative}/{}", entry.file_name().to_string_lossy());
                if entry.path().is_dir() {
                    open.push(path);
                } else if !known.contains(&path) {
                    extra.push(path);
                }
            }
        }
        extra.sort();
        Ok(extra)
    }

    /// Begins a backup: a locked folder under `staging/`.
    pub fn begin(&self, id: &BackupId) -> Result<Staging, StoreError> {
        Staging::begin(self, id)
    }

    /// Appends a result about a backup under `attest/`, with the time as its field `time`.
    pub fn attest(
        &self,
        id: &BackupId,
        time: Timestamp,
        level: &str,
        json: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let directory = self.root.join("attest").join(id.as_str());
        make_directory(&directory)?;
        let name = format!("{}-{:06}-{level}.json", time.compact(), time.unix_micros().rem_euclid(1_000_000));
        let path = directory.join(name);
        let mut stamped = json.clone();
        if let Some(fields) = stamped.as_object_mut() {
            fields.insert("time".to_owned(), time.to_string().into());
        }
        let bytes = serde_json::to_vec_pretty(&stamped)
            .map_err(|error| StoreError::io("write", &path)(error.into()))?;
        write_once(&path, &bytes)?;
        sync_directory(&directory)
    }

    /// The attestations of a backup, oldest first.
    pub fn attestations(&self, id: &BackupId) -> Result<Vec<serde_json::Value>, StoreError> {
        let directory = self.root.join("attest").join(id.as_str());
        let Ok(entries) = fs::read_dir(&directory) else { return Ok(Vec::new()) };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(StoreError::io("read", &directory))?;
        paths.sort();
        paths
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| {
                let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
                serde_json::from_slice(&bytes).map_err(|error| StoreError::io("read", path)(error.into()))
            })
            .collect()
    }
}

/// What a rowset key is called.
fn key_id(key: &[u8; 32]) -> String {
    Digest::from_bytes(blake3::derive_key("barkeep rowset key id v1", key)).short()
}

/// Makes a directory and its parents, readable by nobody else.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StoreError::io("create", path))
}

/// Writes a file that must not exist yet: temporary name, sync, rename.
pub(super) fn write_once(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    use std::io::Write;
    let temporary = path.with_extension("part");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(StoreError::io("create", &temporary))?;
    file.write_all(bytes).map_err(StoreError::io("write", &temporary))?;
    file.sync_all().map_err(StoreError::io("sync", &temporary))?;
    // A hard link fails where the name exists; a rename would replace it.
    fs::hard_link(&temporary, path).map_err(StoreError::io("create", path))?;
    fs::remove_file(&temporary).map_err(StoreError::io("remove", &temporary))
}

//! [`Staging`]: a backup in the making. Nothing of it can be mistaken for a backup until [`Staging::commit`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::durable::{Durability, Written};
use super::vault::{make_directory, write_once};
use super::{StoreError, Vault};
use crate::base::BackupId;
use crate::manifest::SealedManifest;

/// A folder `staging/<id>`, locked while this value lives and removed with it unless committed.
#[derive(Debug)]
pub struct Staging {
    vault: PathBuf,
    id: BackupId,
    folder: PathBuf,
    lock: File,
    durability: Arc<Durability>,
    committed: bool,
}

/// A file in the making: `<name>.part` until [`StagedFile::finish`]; removed if dropped before.
#[derive(Debug)]
pub struct StagedFile {
    /// Handed over when it is finished.
    file: Option<File>,
    durability: Arc<Durability>,
    temporary: PathBuf,
    path: PathBuf,
    written: u64,
}

impl Staging {
    pub(super) fn begin(vault: &Vault, id: &BackupId) -> Result<Self, StoreError> {
        let all = vault.root().join("staging");
        make_directory(&all)?;
        // Held while a folder exists that is not locked yet, so that no other run takes it for a dead one's.
        let guard = lock_file(&all)?;
        guard.lock().map_err(StoreError::io("lock", &all))?;
        sweep(&all)?;
        let folder = all.join(id.as_str());
        make_directory(&folder)?;
        let lock = lock_file(&folder)?;
        lock.try_lock().map_err(|error| StoreError::io("lock", &folder)(error.into()))?;
        let durability = Arc::default();
        Ok(Self {
            vault: vault.root().to_owned(),
            id: id.clone(),
            folder,
            lock,
            durability,
            committed: false,
        })
    }

    /// The path that a file of this backup will have from the vault's root.
    pub fn final_path(&self, relative: &str) -> String {
        format!("backups/{}/{relative}", self.id)
    }

    /// The backup in the making.
    pub fn id(&self) -> &BackupId {
        &self.id
    }

    /// Begins a file; it must not exist.
    pub fn create(&self, relative: &str) -> Result<StagedFile, StoreError> {
        let path = self.folder.join(relative);
        if let Some(parent) = path.parent() {
            make_directory(parent)?;
        }
        let temporary = with_part(&path);
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(StoreError::io("create", &temporary))?;
        let durability = Arc::clone(&self.durability);
        Ok(StagedFile { file: Some(file), durability, temporary, path, written: 0 })
    }

    /// Writes a small file whole.
    pub fn write(&self, relative: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = self.create(relative)?;
        file.write_all(bytes).map_err(StoreError::io("write", &file.temporary.clone()))?;
        file.finish(bytes.len() as u64)
    }

    /// Takes a finished file away again (a table that is dumped anew, a piece that an earlier one equals).
    pub fn discard(&self, relative: &str) -> Result<(), StoreError> {
        let path = self.folder.join(relative);
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))
    }

    /// Links a file of an earlier backup into this one; false where the file system cannot.
    pub fn link(&self, earlier: &Path, relative: &str) -> Result<bool, StoreError> {
        let path = self.folder.join(relative);
        if let Some(parent) = path.parent() {
            make_directory(parent)?;
        }
        match fs::hard_link(earlier, &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(StoreError::io("create", &path)(error))
            }
            Err(_) => Ok(false),
        }
    }

    /// Puts one file of this backup in the place of another.
    pub fn replace(&self, with: &str, relative: &str) -> Result<(), StoreError> {
        let with = self.folder.join(with);
        fs::rename(&with, self.folder.join(relative)).map_err(StoreError::io("rename", &with))
    }

    /// Makes the backup exist: everything synced, manifest last, one rename.
    pub fn commit(mut self, sealed: &SealedManifest) -> Result<(), StoreError> {
        let mut folders = vec![self.folder.clone()];
        folders_below(&self.folder, &mut folders)?;
        folders.into_iter().try_for_each(|folder| self.durability.push(Written::Directory(folder)))?;
        // Every file and every name of it: none is part of a backup before all are durable.
        self.durability.settle()?;
        let manifest = self.folder.join("manifest.json");
        write_once(&manifest, &sealed.bytes)?;
        let lock = self.folder.join(LOCK);
        fs::remove_file(&lock).map_err(StoreError::io("remove", &lock))?;
        sync_directory(&self.folder)?;
        let backups = self.vault.join("backups");
        make_directory(&backups)?;
        let target = backups.join(self.id.as_str());
        if target.exists() {
            return Err(StoreError::io("create", &target)(io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(&self.folder, &target).map_err(StoreError::io("rename", &self.folder))?;
        self.committed = true;
        let folders = [backups, self.vault.join("staging"), self.vault.clone()];
        let synced = folders.iter().try_for_each(|folder| sync_directory(folder));
        // A rename that the disk has not promised to keep is no commit: whoever is told of an error must find no backup.
        if synced.is_err() && fs::rename(&target, &self.folder).is_ok() {
            self.committed = false;
        }
        synced
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.durability.stop();
        if !self.committed
            && let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.folder.display(), %error, "an unfinished backup could not be removed");
        }
        // The lock goes with the file descriptor; named here so that nobody thinks the field unused.
        let _ = self.lock.unlock();
    }
}

impl StagedFile {
    /// Length check, rename to the real name, and on to those who sync it; [`Staging::commit`] waits for them. An error
    /// means that the backup is dead: it may be of another file that could not be synced.
    pub fn finish(mut self, expected: u64) -> Result<(), StoreError> {
        let Some(file) = &self.file else { return Ok(()) };
        let length = file.metadata().map_err(StoreError::io("read", &self.temporary))?.len();
        if length != expected || self.written != expected {
            let text = format!("{length} bytes on disk, {expected} written");
            let short = io::Error::new(io::ErrorKind::WriteZero, text);
            return Err(StoreError::io("write", &self.temporary)(short));
        }
        fs::rename(&self.temporary, &self.path).map_err(StoreError::io("rename", &self.temporary))?;
        let path = std::mem::take(&mut self.path);
        self.file.take().map_or(Ok(()), |file| self.durability.push(Written::File(file, path)))
    }

    /// Where it is being written, for messages.
    pub fn place(&self) -> &Path {
        &self.temporary
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if self.file.is_some()
            && let Err(error) = fs::remove_file(&self.temporary)
        {
            tracing::debug!(file = %self.temporary.display(), %error, "an unfinished file could not be removed");
        }
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let count = file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), File::flush)
    }
}

const LOCK: &str = "lock";

fn lock_file(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(StoreError::io("create", &path))
}

fn with_part(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// Removes what dead runs left: the kernel has dropped their locks, so whoever gets the lock owns a corpse.
fn sweep(all: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(all).map_err(StoreError::io("read", all))? {
        let folder = entry.map_err(StoreError::io("read", all))?.path();
        if !folder.is_dir() {
            continue;
        }
        let Ok(lock) = lock_file(&folder) else { continue };
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(&folder).map_err(StoreError::io("remove", &folder))?;
        }
    }
    Ok(())
}

/// Every directory below one.
fn folders_below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(StoreError::io("read", folder))? {
        let entry = entry.map_err(StoreError::io("read", folder))?;
        if entry.file_type().map_err(StoreError::io("read", folder))?.is_dir() {
            let path = entry.path();
            folders_below(&path, found)?;
            found.push(path);
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(StoreError::io("sync", path))
}

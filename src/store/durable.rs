//! [`Durability`]: threads that make written files and directories durable, many at a time.
//!
//! A journalling file system writes the journal once for all that wait for it at that moment. Ten thousand small files,
//! each synced before the next one is begun, pay for ten thousand such writes; eight at a time pay for little more than
//! an eighth. Nothing is less durable for it: whoever commits waits until all is done, and one refusal is the end. After
//! a failed sync the kernel may have dropped the pages and will say yes to the next one, so none is ever tried again.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::StoreError;
use super::staging::sync_directory;

/// Syncs under way at the same time.
const THREADS: usize = 8;
/// Files that may wait to be synced: each is an open descriptor.
const WAITING: usize = 64;

/// What is to be made durable.
#[derive(Debug)]
pub(super) enum Written {
    /// The bytes of a file, by the descriptor that wrote them: another one might not be told of what went wrong.
    File(File, PathBuf),
    /// The names in a directory.
    Directory(PathBuf),
}

/// Makes things durable beside whoever writes them.
#[derive(Debug, Default)]
pub(super) struct Durability {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something came, something is done, or the end is near.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Written>,
    /// Syncs under way.
    busy: usize,
    closed: bool,
    failed: Option<Failed>,
}

/// The first refusal. Everybody who asks is told, so it can be told more than once.
#[derive(Debug)]
struct Failed {
    path: PathBuf,
    error: io::Error,
}

impl Written {
    fn path(&self) -> &Path {
        match self {
            Self::File(_, path) | Self::Directory(path) => path,
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        match self {
            Self::File(file, path) => file.sync_all().map_err(StoreError::io("sync", path)),
            Self::Directory(path) => sync_directory(path),
        }
    }
}

impl Failed {
    fn told(&self) -> StoreError {
        let again = match self.error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.error.kind(), self.error.to_string()),
        };
        StoreError::io("sync", &self.path)(again)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until there is no more to come.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            match state.waiting.pop_front() {
                Some(written) => {
                    state.busy += 1;
                    drop(state);
                    let synced = written.sync();
                    let path = written.path().to_owned();
                    // Closed before it counts as done: nobody removes a folder with a file open in it.
                    drop(written);
                    state = self.lock();
                    state.busy -= 1;
                    state.note(path, synced);
                    self.changed.notify_all();
                }
                None if state.closed => return,
                None => state = self.wait(state),
            }
        }
    }
}

impl State {
    fn note(&mut self, path: PathBuf, synced: Result<(), StoreError>) {
        if let (Err(StoreError::Io { source, .. }), None) = (synced, &self.failed) {
            self.failed = Some(Failed { path, error: source });
            self.waiting.clear();
        }
    }

    fn outcome(&self) -> Result<(), StoreError> {
        self.failed.as_ref().map_or(Ok(()), |failed| Err(failed.told()))
    }
}

impl Durability {
    /// Hands something over; waits while too much is waiting already. An error is an earlier one's: the backup is dead.
    pub(super) fn push(&self, written: Written) -> Result<(), StoreError> {
        let mut state = self.shared.lock();
        while state.waiting.len() >= WAITING && state.failed.is_none() {
            state = self.shared.wait(state);
        }
        state.outcome()?;
        if state.closed {
            return Ok(());
        }
        state.waiting.push_back(written);
        let wanted = state.waiting.len() + state.busy;
        drop(state);
        self.shared.changed.notify_all();
        self.grow(wanted)
    }

    /// A thread more, where there is more to do than there are threads.
    fn grow(&self, wanted: usize) -> Result<(), StoreError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() >= wanted.min(THREADS) {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        match std::thread::Builder::new().name("sync".to_owned()).spawn(move || shared.work()) {
            Ok(thread) => threads.push(thread),
            // With one thread it is only slower.
            Err(_) if !threads.is_empty() => {}
            Err(error) => return Err(StoreError::io("sync", Path::new("a thread's files"))(error)),
        }
        Ok(())
    }

    /// Waits until all that was handed over is durable.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let mut state = self.shared.lock();
        while !state.waiting.is_empty() || state.busy > 0 {
            state = self.shared.wait(state);
        }
        state.outcome()
    }

    /// Forgets what waits, and waits for what is under way: afterwards no file is open.
    pub(super) fn stop(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.shared.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::warn!("a thread that makes files durable ended in a panic");
            }
        }
    }
}

impl Drop for Durability {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, number: usize) -> Written {
        let path = folder.join(number.to_string());
        std::fs::write(&path, [0; 100]).unwrap();
        Written::File(File::open(&path).unwrap(), path)
    }

    fn open_files() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn all_is_settled_and_few_files_are_open_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let durability = Durability::default();
        let before = open_files();
        let mut most = 0;
        for number in 0..500 {
            durability.push(written(folder.path(), number)).unwrap();
            most = most.max(open_files());
        }
        durability.push(Written::Directory(folder.path().to_owned())).unwrap();
        durability.settle().unwrap();
        // Other tests of this process open files too.
        assert!(most < before + WAITING + THREADS + 200, "{most} files open, {before} before");
        let threads = durability.threads.lock().unwrap().len();
        assert!((1..=THREADS).contains(&threads), "{threads} threads");
    }

    #[test]
    fn one_refusal_is_told_to_everybody_and_nothing_is_synced_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let durability = Durability::default();
        let missing = folder.path().join("not there");
        durability.push(Written::Directory(missing.clone())).unwrap();
        for _ in 0..2 {
            let text = durability.settle().unwrap_err().to_string();
            assert!(text.contains(&*missing.to_string_lossy()), "{text}");
        }
        let refused = durability.push(written(folder.path(), 1)).unwrap_err();
        assert!(
            matches!(refused, StoreError::Io { doing: "sync", source, .. } if source.raw_os_error() == Some(2))
        );
        assert!(durability.shared.lock().waiting.is_empty());
    }

    #[test]
    fn stopping_forgets_what_waits() {
        let folder = tempfile::tempdir().unwrap();
        let durability = Durability::default();
        for number in 0..50 {
            durability.push(written(folder.path(), number)).unwrap();
        }
        durability.stop();
        let state = durability.shared.lock();
        assert_eq!((state.waiting.len(), state.busy), (0, 0));
    }
}

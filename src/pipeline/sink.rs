//! [`UnitSink`]: one unit's tuples into pieces in the staging folder. Runs on a thread of its own, fed in blocks.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::base::{BackupId, RowsetDigest};
use crate::codec::CodecError;
use crate::codec::file::{Beside, Crew, FinishedPiece, LARGE_TUPLE, PieceLimits, PieceWriter, Precedent};
use crate::codec::rowset::RowHasher;
use crate::codec::shape::PieceShape;
use crate::manifest::{Piece, RowGroup, Sidecar};
use crate::store::{StagedFile, Staging, StoreError, Vault};

/// A piece is closed at about this size: large enough to scan well, small enough to copy and retry.
const PIECE_BYTES: u64 = 512 << 20;

/// Why a unit could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The rows.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a unit's pieces go and what they look like.
#[derive(Clone)]
pub struct UnitTarget {
    /// The backup in the making.
    pub staging: Arc<Staging>,
    /// Folder and name without the part number: `public.orders/000003`.
    pub stem: String,
    /// Columns.
    pub shape: Arc<PieceShape>,
    /// Key for the row hashes.
    pub key: [u8; 32],
    /// Threads that encode beside the one that decodes.
    pub encoders: usize,
    /// How the columns of the table's other units are encoded.
    pub precedent: Precedent,
}

/// A unit as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredUnit {
    /// All its rows.
    pub rowset: RowsetDigest,
    /// Its pieces with their final paths.
    pub pieces: Vec<Piece>,
    /// Exceptions per column.
    pub exceptions: Vec<u64>,
    /// Bytes of COPY tuples.
    pub copy_bytes: u64,
    /// Rows that were put in the order of the shape's columns to cluster by.
    pub clustered: u64,
}

/// Writes one unit.
pub struct UnitSink {
    target: UnitTarget,
    writer: Option<PieceWriter<StagedFile>>,
    stored: StoredUnit,
    /// A large tuple has come; from its piece on, rows are written without what would copy them.
    plain: bool,
}

impl UnitTarget {
    fn piece_path(&self, part: usize) -> String {
        format!("tables/{}-{part:02}.parquet", self.stem)
    }

    fn sidecar_path(&self, part: usize) -> String {
        format!("exceptions/{}-{part:02}.parquet", self.stem)
    }
}

impl UnitSink {
    /// Begins a unit. Its first piece is opened with the first tuple, which may be a large one.
    pub fn begin(target: UnitTarget) -> Self {
        let exceptions = vec![0; target.shape.columns.len()];
        let (rowset, pieces) = (RowsetDigest::default(), Vec::new());
        let stored = StoredUnit { rowset, pieces, exceptions, copy_bytes: 0, clustered: 0 };
        Self { target, writer: None, stored, plain: false }
    }

    /// Takes these tuples of a block.
    pub fn push(&mut self, block: &mut [u8], mut tuples: &[Range<usize>]) -> Result<(), SinkError> {
        while let Some(first) = tuples.first() {
            let large = first.len() >= LARGE_TUPLE;
            if large && !self.plain {
                self.plain = true;
                self.close()?;
            }
            let writer = match &mut self.writer {
                Some(writer) => writer,
                None => self.writer.insert(open(&self.target, self.stored.pieces.len(), self.plain)?),
            };
            let taken = writer.push(block, tuples)?;
            tuples = &tuples[taken..];
            // `bytes_written` walks the columns; once in a while is enough, and after each large tuple.
            let look = large || writer.rows().is_multiple_of(16_384);
            if look && writer.bytes_written() > PIECE_BYTES {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Encodes what a large tuple left behind. Best called when the tuple itself is gone.
    pub fn settle(&mut self) -> Result<(), SinkError> {
        match &mut self.writer {
            Some(writer) => Ok(writer.settle()?),
            None => Ok(()),
        }
    }

    /// Ends the unit. An empty table has one piece without rows, so that a reader finds its columns.
    pub fn finish(mut self) -> Result<StoredUnit, SinkError> {
        if self.writer.is_none() && self.stored.pieces.is_empty() {
            self.writer = Some(open(&self.target, 0, self.plain)?);
        }
        self.close()?;
        Ok(self.stored)
    }

    /// Gives the unit up: nothing of it stays.
    pub fn discard(mut self) -> Result<(), StoreError> {
        // A file that was not finished removes itself.
        drop(self.writer.take());
        self.stored.discard(&self.target.staging)
    }

    /// Ends the open piece, if there is one.
    fn close(&mut self) -> Result<(), SinkError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let part = self.stored.pieces.len();
        let (finished, sinks) = writer.finish()?;
        record(&self.target, &mut self.stored, part, finished, sinks.piece, sinks.sidecar)
    }
}

fn open(target: &UnitTarget, part: usize, plain: bool) -> Result<PieceWriter<StagedFile>, SinkError> {
    let file = target.staging.create(&target.piece_path(part))?;
    let staging = Arc::clone(&target.staging);
    let path = target.sidecar_path(part);
    let open_sidecar = Box::new(move || staging.create(&path).map_err(io::Error::other));
    let hasher = RowHasher::new(&target.key);
    let limits = PieceLimits { plain, ..PieceLimits::default() };
    let writer = PieceWriter::new(file, &target.shape, hasher, limits, open_sidecar)?;
    let writer = writer.with_precedent(target.precedent.clone());
    // A large tuple is encoded alone and at once; nothing may be decoded beside it.
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) if !plain && target.encoders > 0 => {
            let beside: Beside = Arc::new(move |job| drop(runtime.spawn_blocking(job)));
            Ok(writer.with_crew(Crew { beside, encoders: target.encoders }))
        }
        _ => Ok(writer),
    }
}

/// Makes a finished piece durable and notes it.
fn record(
    target: &UnitTarget,
    stored: &mut StoredUnit,
    part: usize,
    finished: FinishedPiece,
    file: StagedFile,
    sidecar: Option<StagedFile>,
) -> Result<(), SinkError> {
    file.finish(finished.bytes)?;
    let exceptions = match (finished.exceptions, sidecar) {
        (Some(found), Some(file)) => {
            file.finish(found.bytes)?;
            Some(Sidecar {
                path: target.staging.final_path(&target.sidecar_path(part)),
                bytes: found.bytes,
                blake3: found.blake3,
                entries: found.entries,
            })
        }
        _ => None,
    };
    stored.rowset += finished.digest;
    stored.copy_bytes += finished.copy_bytes;
    stored.clustered += finished.clustered;
    for (total, count) in stored.exceptions.iter_mut().zip(&finished.exception_counts) {
        *total += count;
    }
    let row_groups = finished
        .row_groups
        .iter()
        .map(|group| RowGroup {
            offset: group.offset,
            length: group.length,
            rows: group.rows,
            blake3: group.blake3,
        })
        .collect();
    stored.pieces.push(Piece {
        path: target.staging.final_path(&target.piece_path(part)),
        bytes: finished.bytes,
        blake3: finished.blake3,
        rowset: finished.digest,
        copy_bytes: finished.copy_bytes,
        row_groups,
        exceptions,
        reused_from: None,
        key_id: None,
    });
    Ok(())
}

/// Whether an earlier piece is still what was written: bit rot must not be linked in place of a good new file.
fn unharmed(vault: &Vault, piece: &Piece) -> bool {
    let sidecar = piece.exceptions.as_ref();
    vault.check_digest(&piece.path, piece.bytes, piece.blake3).is_ok()
        && sidecar.is_none_or(|found| vault.check_digest(&found.path, found.bytes, found.blake3).is_ok())
}

impl StoredUnit {
    /// Removes this unit's files from the staging folder.
    pub fn discard(&self, staging: &Staging) -> Result<(), StoreError> {
        let prefix = staging.final_path("");
        for piece in &self.pieces {
            let sidecar = piece.exceptions.as_ref().map(|sidecar| sidecar.path.as_str());
            for path in std::iter::once(piece.path.as_str()).chain(sidecar) {
                staging.discard(path.strip_prefix(&prefix).unwrap_or(path))?;
            }
        }
        Ok(())
    }

    /// Replaces this unit's pieces by the equal ones of an earlier backup, linked under this unit's own names. Where the
    /// file system has no hard links the new files stay: a glob needs them in this folder.
    pub fn reuse(
        mut self,
        staging: &Staging,
        vault: &Vault,
        from: &BackupId,
        earlier: &[Piece],
    ) -> Result<Self, StoreError> {
        // Piece by piece only makes sense if both were cut alike; a unit's pieces depend on size alone, so they are.
        if earlier.len() != self.pieces.len() {
            return Ok(self);
        }
        let prefix = staging.final_path("");
        for (mine, old) in self.pieces.iter_mut().zip(earlier) {
            let same = mine.rowset == old.rowset && mine.exceptions.is_some() == old.exceptions.is_some();
            if !same || !unharmed(vault, old) {
                continue;
            }
            let mut files = vec![(old.path.clone(), mine.path.clone())];
            if let (Some(old), Some(mine)) = (&old.exceptions, &mine.exceptions) {
                files.push((old.path.clone(), mine.path.clone()));
            }
            // Beside the new files first, then over them: where one link cannot be made, the new files stay.
            let mut links = Vec::with_capacity(files.len());
            for (old_path, my_path) in files {
                let relative = my_path.strip_prefix(&prefix).unwrap_or(&my_path).to_owned();
                let beside = format!("{relative}.link");
                if !staging.link(&vault.place(&old_path), &beside)? {
                    links.iter().try_for_each(|(beside, _): &(String, String)| staging.discard(beside))?;
                    return Ok(self);
                }
                links.push((beside, relative));
            }
            for (beside, relative) in &links {
                staging.replace(beside, relative)?;
            }
            let mut linked = old.clone();
            linked.path.clone_from(&mine.path);
            if let (Some(sidecar), Some(mine)) = (&mut linked.exceptions, &mine.exceptions) {
                sidecar.path.clone_from(&mine.path);
            }
            linked.reused_from = Some(old.reused_from.clone().unwrap_or_else(|| from.clone()));
            *mine = linked;
        }
        Ok(self)
    }
}

//! One piece as blocks of COPY data, from a thread of its own: checked first, then decoded and hashed on the way.
//!
//! Decoding and hashing are work for a processor, sending is work for a connection; the channel between them is short,
//! so that memory does not grow with the piece.

use std::fs::File;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::LoadError;
use crate::base::{RowsetDigest, TableName};
use crate::codec::CodecError;
use crate::codec::file::{PieceBounds, PieceReader};
use crate::codec::rowset::RowSummer;
use crate::codec::shape::PieceShape;
use crate::manifest::{Manifest, Piece, Table};
use crate::plan::copy::piece_shape;
use crate::store::Vault;

/// Bytes of one message to the server: larger ones are not faster, messages of a row each cost thirty times as much.
const BLOCK: usize = 256 << 10;

/// A batch from this size on is a row or a few of many megabytes each.
const LARGE: usize = 32 << 20;

/// Blocks that may wait for the connection.
const WAITING: usize = 4;

/// Some whole or partial tuples.
pub(super) struct Block {
    pub(super) bytes: Bytes,
    /// Rows that end in it or in blocks of the same batch; zero for all but the last of a batch.
    pub(super) rows: u64,
}

/// A piece on its way.
pub(super) struct Pump {
    blocks: Receiver<Block>,
    worker: JoinHandle<Result<RowsetDigest, LoadError>>,
}

struct Work {
    vault: Vault,
    table: TableName,
    shape: PieceShape,
    piece: Piece,
    key: [u8; 32],
}

/// Starts with a piece.
pub(super) fn start(
    vault: &Vault,
    manifest: &Manifest,
    table: &Table,
    piece: &Piece,
) -> Result<Pump, LoadError> {
    let key_id = &manifest.head.rowset.key_id;
    let key = vault.key(key_id).ok_or_else(|| LoadError::Lacks(format!("the rowset key {key_id}")))?;
    let work = Work {
        vault: vault.clone(),
        table: table.name.clone(),
        shape: piece_shape(table),
        piece: piece.clone(),
        key: *key,
    };
    let (sender, blocks) = channel(WAITING);
    Ok(Pump { blocks, worker: tokio::task::spawn_blocking(move || work.run(&sender)) })
}

impl Pump {
    /// The next block; `None` at the end and after an error.
    pub(super) async fn next(&mut self) -> Option<Block> {
        self.blocks.recv().await
    }

    /// The digest of all rows that went by, or why they stopped.
    pub(super) async fn finish(mut self) -> Result<RowsetDigest, LoadError> {
        self.blocks.close();
        let outcome = self.worker.await;
        outcome.map_err(|_| LoadError::Lacks("a thread to decode pieces".to_owned()))?
    }
}

impl Work {
    fn run(self, sender: &Sender<Block>) -> Result<RowsetDigest, LoadError> {
        let piece = &self.piece;
        self.vault.check_digest(&piece.path, piece.bytes, piece.blake3)?;
        if let Some(sidecar) = &piece.exceptions {
            self.vault.check_digest(&sidecar.path, sidecar.bytes, sidecar.blake3)?;
        }
        self.decode(sender).map_err(|source| LoadError::Rows {
            table: self.table.clone(),
            path: piece.path.clone(),
            source,
        })
    }

    fn decode(&self, sender: &Sender<Block>) -> Result<RowsetDigest, CodecError> {
        let piece = &self.piece;
        let file = File::open(self.vault.place(&piece.path))?;
        let sidecar = match &piece.exceptions {
            Some(sidecar) => Some(File::open(self.vault.place(&sidecar.path))?),
            None => None,
        };
        let bounds = PieceBounds { rows: piece.rowset.rows, copy_bytes: piece.copy_bytes };
        let mut reader = PieceReader::open(file, sidecar, &self.shape, bounds)?;
        let mut summer = RowSummer::new(&self.key);
        let mut ends = Vec::new();
        let mut tuples = Vec::new();
        loop {
            ends.clear();
            let more = reader.next_batch(&mut tuples, &mut ends)?;
            let mut from = 0;
            for end in &ends {
                summer.add_tuple(&tuples[from..*end]);
                from = *end;
            }
            let rows = ends.len() as u64;
            let taken = std::mem::take(&mut tuples);
            let heard = match taken.len() > LARGE {
                true => send_copies(sender, taken, rows),
                false => send(sender, Bytes::from(taken), rows),
            };
            if !heard || !more {
                return Ok(summer.digest());
            }
        }
    }
}

/// As [`send`], for a batch that must be gone before the next one is decoded: blocks that wait would each keep all of it.
fn send_copies(sender: &Sender<Block>, bytes: Vec<u8>, rows: u64) -> bool {
    let last = bytes.len().div_ceil(BLOCK).saturating_sub(1);
    bytes.chunks(BLOCK).enumerate().all(|(at, chunk)| {
        let rows = if at == last { rows } else { 0 };
        sender.blocking_send(Block { bytes: Bytes::copy_from_slice(chunk), rows }).is_ok()
    })
}

/// False where nobody listens any more.
fn send(sender: &Sender<Block>, mut bytes: Bytes, rows: u64) -> bool {
    while !bytes.is_empty() {
        let block = bytes.split_to(BLOCK.min(bytes.len()));
        let rows = if bytes.is_empty() { rows } else { 0 };
        if sender.blocking_send(Block { bytes: block, rows }).is_err() {
            return false;
        }
    }
    true
}

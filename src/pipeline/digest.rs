//! The rowset digest of a query's answer: what `compare` holds against the manifest.

use super::blocks::{self, BLOCK, Block};
use crate::base::RowsetDigest;
use crate::codec::CodecError;
use crate::codec::column::canonical_tuple;
use crate::codec::copy::TupleStream;
use crate::codec::rowset::RowHasher;
use crate::manifest::Mapping;
use crate::pg::{CopyOut, PgError, Session};

/// Why a digest could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The server.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// The rows.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The answer was cut short.
    #[error("the server says that it sent {said} rows, {read} came")]
    Rows {
        /// The server's count.
        said: u64,
        /// Ours.
        read: u64,
    },
    /// The thread died.
    #[error("the hashing thread ended without a result")]
    Thread,
}

/// Called with a row's hash and its canonical tuple.
pub type OnRow = Box<dyn FnMut(&[u8; 32], &[u8]) + Send>;

/// Runs a COPY OUT whose columns have these mappings; hashes every canonical tuple and shows it to `on_row`.
pub async fn of_query(
    session: &Session,
    sql: &str,
    mappings: Vec<Mapping>,
    key: &[u8; 32],
    mut on_row: OnRow,
) -> Result<RowsetDigest, DigestError> {
    let (blocks, mut received) = blocks::channel();
    let hasher = RowHasher::new(key);
    let worker = tokio::task::spawn_blocking(move || {
        let mut stream = TupleStream::new(mappings.len());
        let mut digest = RowsetDigest::default();
        while let Some(Block { bytes, room }) = received.blocking_recv() {
            stream.feed_whole(bytes, &mut |tuple| {
                canonical_tuple(&mappings, tuple)?;
                let hash = hasher.hash(tuple);
                digest.add_row(&hash);
                on_row(&hash, tuple);
                Ok(())
            })?;
            drop(room);
        }
        stream.finish()?;
        Ok::<_, CodecError>(digest)
    });
    let mut copy = CopyOut::start(session, sql, "reading rows to compare".to_owned()).await?;
    let mut block = Vec::with_capacity(BLOCK);
    while let Some(bytes) = copy.next().await? {
        block.extend_from_slice(&bytes);
        if block.len() >= BLOCK
            && blocks.send(std::mem::replace(&mut block, Vec::with_capacity(BLOCK))).await.is_err()
        {
            // The worker has stopped; its own error says why.
            drop(blocks);
            worker.await.map_err(|_| DigestError::Thread)??;
            return Err(DigestError::Thread);
        }
    }
    let sent = blocks.send(block).await;
    drop(blocks);
    let digest = worker.await.map_err(|_| DigestError::Thread)??;
    sent.map_err(|_| DigestError::Thread)?;
    let said = copy.rows().await?;
    if said == digest.rows { Ok(digest) } else { Err(DigestError::Rows { said, read: digest.rows }) }
}

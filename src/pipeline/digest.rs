//! The rowset digest of a query's answer: what `compare` holds against the manifest.

use tokio::sync::mpsc;
use tokio_postgres::Client;

use crate::base::RowsetDigest;
use crate::codec::CodecError;
use crate::codec::column::canonical_tuple;
use crate::codec::copy::TupleStream;
use crate::codec::rowset::RowHasher;
use crate::manifest::Mapping;
use crate::pg::{PgError, copy_out, next_block};

/// Why a digest could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The server.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// The rows.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The thread died.
    #[error("the hashing thread ended without a result")]
    Thread,
}

const BLOCK: usize = 256 << 10;

/// Called with a row's hash and its canonical tuple.
pub type OnRow = Box<dyn FnMut(&[u8; 32], &[u8]) + Send>;

/// Runs a COPY OUT whose columns have these mappings; hashes every canonical tuple and shows it to `on_row`.
pub async fn of_query(
    client: &Client,
    sql: &str,
    mappings: Vec<Mapping>,
    key: &[u8; 32],
    mut on_row: OnRow,
) -> Result<RowsetDigest, DigestError> {
    let (blocks, mut received) = mpsc::channel::<Vec<u8>>(4);
    let hasher = RowHasher::new(key);
    let worker = tokio::task::spawn_blocking(move || {
        let mut stream = TupleStream::new(mappings.len());
        let mut digest = RowsetDigest::default();
        while let Some(block) = received.blocking_recv() {
            stream.feed(&block, &mut |tuple| {
                canonical_tuple(&mappings, tuple)?;
                let hash = hasher.hash(tuple);
                digest.add_row(&hash);
                on_row(&hash, tuple);
                Ok(())
            })?;
        }
        stream.finish()?;
        Ok::<_, CodecError>(digest)
    });
    let mut stream = copy_out(client, sql, "reading rows to compare").await?;
    let mut block = Vec::with_capacity(BLOCK);
    while let Some(bytes) = next_block(&mut stream, "reading rows to compare").await? {
        block.extend_from_slice(&bytes);
        if block.len() >= BLOCK
            && blocks.send(std::mem::replace(&mut block, Vec::with_capacity(BLOCK))).await.is_err()
        {
            break;
        }
    }
    // Where the worker has stopped, its own error says why.
    let _ = blocks.send(block).await;
    drop(blocks);
    Ok(worker.await.map_err(|_| DigestError::Thread)??)
}

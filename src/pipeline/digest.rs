//! The rowset digest of a query's answer: what `compare` holds against the manifest.

use crate::base::RowsetDigest;
use crate::codec::CodecError;
use crate::codec::column::canonical_tuple;
use crate::codec::copy::{MAX_TUPLE, TupleStream};
use crate::codec::rowset::RowHasher;
use crate::manifest::Mapping;
use crate::pg::blocks;
use crate::pg::{PgError, Session, copy_out};

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
pub type OnRow = Box<dyn FnMut(&[u8; 32], &[u8]) -> Result<(), CodecError> + Send>;

/// Runs a COPY OUT whose columns have these mappings; hashes every canonical tuple and shows it to `on_row`.
pub async fn of_query(
    session: &Session,
    sql: &str,
    mappings: Vec<Mapping>,
    key: &[u8; 32],
    mut on_row: OnRow,
) -> Result<RowsetDigest, DigestError> {
    let (sender, mut received) = blocks::channel(None);
    let hasher = RowHasher::new(key);
    let worker = tokio::task::spawn_blocking(move || {
        let mut stream = TupleStream::new(mappings.len());
        let mut digest = RowsetDigest::default();
        let mut tuples = Vec::new();
        while let Some(mut block) = received.blocking_recv() {
            stream.frame(&block.messages, &mut tuples)?;
            for tuple in tuples.drain(..) {
                let tuple = &mut block.messages[tuple];
                canonical_tuple(&mappings, tuple)?;
                let hash = hasher.hash(tuple);
                digest.add_row(&hash);
                on_row(&hash, tuple)?;
            }
            block.emptied().leave();
        }
        if let Some(refused) = received.refused() {
            let (what, bytes) = ("a row", refused.bytes);
            return Err(CodecError::TooLarge { what, bytes, bound: MAX_TUPLE as u64 });
        }
        stream.finish()?;
        Ok::<_, CodecError>(digest)
    });
    let sent = copy_out(session, sql, "reading rows to compare", sender).await;
    let digest = worker.await.map_err(|_| DigestError::Thread)?;
    match (sent?, digest) {
        (Some(said), Ok(digest)) if said == digest.rows => Ok(digest),
        (Some(said), Ok(digest)) => Err(DigestError::Rows { said, read: digest.rows }),
        (_, Err(error)) => Err(error.into()),
        (None, Ok(_)) => Err(DigestError::Thread),
    }
}

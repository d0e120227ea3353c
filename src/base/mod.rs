//! The bottom of the house: names, identifiers, digests, secrets, time and events.
//!
//! Nothing here knows PostgreSQL, Parquet or a disk. Every other module may name this one; it names none of them.

mod cause;
mod digest;
mod event;
mod id;
mod name;
mod rowset;
mod secret;
mod time;

pub use cause::chain;
pub use digest::{Digest, DigestError};
pub use event::{Event, Events, Silent};
pub use id::{BackupId, IdError, VaultId};
pub use name::{TableName, path_segment, path_segment_name, quote_ident, quote_literal};
pub use rowset::{RowsetDigest, RowsetSum};
pub use secret::Secret;
pub use time::{Clock, SystemClock, Timestamp};

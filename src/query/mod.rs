//! SQL on the files of a backup, by DataFusion, with no server.
//!
//! [`Session`] gives every table of a backup its name; `table` says what its columns are to a query, `scan` reads
//! pieces in partitions. A piece is held against its digest before a row of it is believed.

mod functions;
mod scan;
mod session;
mod table;
mod text;

use crate::base::TableName;
use crate::codec::CodecError;
use crate::store::StoreError;

pub use session::{Answer, Session, refused, rows};
pub use table::Carried;
pub use text::text;

/// Why a query cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A file is not what the manifest says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows of a table cannot be decoded.
    #[error("{table}")]
    Rows {
        /// Which table.
        table: TableName,
        /// In which file, and why.
        source: CodecError,
    },
    /// The query makes no sense, or asks for what is not there.
    #[error("{0}")]
    Refused(String),
}

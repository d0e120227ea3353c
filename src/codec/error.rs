//! [`CodecError`]: what can be wrong with bytes that come from a server or out of a vault.
//!
//! It names columns and offsets, never a value. It does not know what the reader should do next.

use std::io;

/// Bytes that are not what they should be, or a sink that failed.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Wire bytes do not follow the format of their type or of COPY.
    #[error("malformed binary data at byte {offset}: {what}")]
    Malformed {
        /// What was expected there.
        what: &'static str,
        /// Offset from the start of the value, or of the stream.
        offset: u64,
    },
    /// A tuple has another number of fields than the plan says.
    #[error("a tuple has {found} fields where {expected} were expected")]
    FieldCount {
        /// Columns of the plan.
        expected: usize,
        /// Fields of the tuple.
        found: i32,
    },
    /// A tuple, value or batch is above a bound.
    #[error("{what} has {bytes} bytes, the bound is {bound}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it says it is.
        bytes: u64,
        /// What is allowed.
        bound: u64,
    },
    /// The COPY stream ended before its trailer, or went on after it.
    #[error("the COPY stream {0}")]
    Stream(&'static str),
    /// A column of a file has a text or a number that barkeep never writes there.
    #[error("a stored value is not one that {0} has")]
    Stored(&'static str),
    /// A file's column has another Arrow type than its mapping.
    #[error("the column is stored as {found}, its mapping needs {expected}")]
    Type {
        /// What the mapping asks for.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// An error in one column.
    #[error("column {column:?}")]
    Column {
        /// The column's name.
        column: String,
        /// What is wrong with it.
        source: Box<CodecError>,
    },
    /// An error in one file of a vault.
    #[error("{path}")]
    File {
        /// From the vault's root.
        path: String,
        /// What is wrong with it.
        source: Box<CodecError>,
    },
    /// A piece or its sidecar is not the one that the manifest describes.
    #[error("the piece is not what its manifest says: {0}")]
    Piece(String),
    /// A value beyond its natural type, of a kind that has no text here.
    #[error("it has a value that only PostgreSQL can print")]
    Unprintable,
    /// Arrow refused an array or a batch.
    #[error("arrow refused the data")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The Parquet file could not be written or read.
    #[error("the Parquet file is damaged or could not be written")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A sink or source failed.
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
}

impl CodecError {
    pub(crate) fn malformed(what: &'static str, offset: usize) -> Self {
        Self::Malformed { what, offset: offset as u64 }
    }

    /// Nothing is wrong with the data; it only cannot be shown.
    pub fn is_unprintable(&self) -> bool {
        match self {
            Self::Column { source, .. } | Self::File { source, .. } => source.is_unprintable(),
            other => matches!(other, Self::Unprintable),
        }
    }

    pub(crate) fn in_column(self, column: &str) -> Self {
        Self::Column { column: column.to_owned(), source: Box::new(self) }
    }

    /// Names the file it happened in.
    pub(crate) fn in_file(self, path: &str) -> Self {
        Self::File { path: path.to_owned(), source: Box::new(self) }
    }
}

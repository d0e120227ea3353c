//! [`OpsError`]: every way an operation can end badly, each with its documented exit code; and what operations share.

use std::sync::Arc;

use crate::base::{Clock, Events, Silent, SystemClock, TableName};
use crate::codec::CodecError;
use crate::pg::PgError;
use crate::pg::client_tools::ClientToolError;
use crate::pipeline::dump::RowPlace;
use crate::plan::cluster::ClusterError;
use crate::store::StoreError;

/// What every operation needs from outside.
#[derive(Clone)]
pub struct Services {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where progress goes.
    pub events: Arc<dyn Events>,
}

impl Default for Services {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), events: Arc::new(Silent) }
    }
}

/// The documented exit codes (`docs/exit-codes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// A fault of barkeep's own.
    Internal = 1,
    /// The request makes no sense.
    Usage = 2,
    /// Done, with warnings.
    Warnings = 3,
    /// No vault, or one of another format.
    Vault = 10,
    /// Somebody else is at it.
    Locked = 11,
    /// No connection or no login.
    Connect = 20,
    /// The source changed under the dump, or its snapshot was lost.
    SourceChanged = 21,
    /// Privileges or row security.
    Privileges = 22,
    /// Storage.
    Storage = 30,
    /// Stored or restored bytes are not what they were.
    Integrity = 40,
    /// Checks or constraints failed.
    Checks = 41,
    /// A restore failed.
    Restore = 42,
    /// A drill took longer, or its backup was older, than is allowed.
    Limits = 43,
    /// Try again later.
    Temporary = 75,
}

/// How an operation fails.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The request makes no sense, or cannot be met as asked; the text says what to do instead.
    #[error("{0}")]
    Usage(String),
    /// PostgreSQL.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// The vault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows of one table could not be encoded or decoded.
    #[error("{table}")]
    Rows {
        /// Which table.
        table: TableName,
        /// Why.
        source: CodecError,
    },
    /// A row is larger than may be.
    #[error("{place} has {bytes} bytes, and --max-row allows {bound}")]
    RowTooLarge {
        /// Which table was asked for.
        table: TableName,
        /// Which row.
        place: RowPlace,
        /// How large it is, as a tuple of COPY.
        bytes: u64,
        /// What is allowed.
        bound: u64,
    },
    /// The source changed under the dump or the snapshot is gone.
    #[error("the source changed under the dump: {0}")]
    SourceChanged(String),
    /// The connection that held the dump's snapshot and locks is gone, and both with it.
    #[error("the dump's snapshot and locks are lost: the connection that held them has ended")]
    SnapshotLost(#[source] Box<OpsError>),
    /// There are warnings, and `--strict` makes them errors.
    #[error("--strict, and there are warnings: {warnings}")]
    Strict {
        /// The code of the first.
        code: ExitCode,
        /// What they say.
        warnings: String,
    },
    /// Another run is at it.
    #[error("{0}")]
    Locked(String),
    /// Privileges or row security stand in the way; every offending object is listed.
    #[error("{0}")]
    Privileges(String),
    /// What came back is not what was stored.
    #[error("{0}")]
    Mismatch(String),
    /// There is not enough room for what is to be written.
    #[error("{0}")]
    NoSpace(String),
    /// A restore cannot go on.
    #[error("{0}")]
    Restore(String),
    /// pg_dump could not be found or failed.
    #[error("the schema cannot be dumped")]
    ClientTool(#[from] ClientToolError),
    /// Running schema statements failed.
    #[error(transparent)]
    Schema(#[from] crate::pipeline::schema::SchemaError),
    /// A manifest that contradicts itself was about to be written.
    #[error("the manifest is not sound")]
    Manifest(#[from] crate::manifest::ManifestError),
    /// What was asked for cannot be written where it should go.
    #[error("the answer cannot be written")]
    Output(#[source] std::io::Error),
    /// What a drill needs is not to be had now: no server, no container.
    #[error("{0}")]
    Unavailable(String),
    /// The process was asked to stop.
    #[error("stopped by {0}")]
    Interrupted(&'static str),
    /// A fault of barkeep's own.
    #[error("internal: {0}")]
    Internal(String),
}

impl OpsError {
    /// Whether the server, or the way to it, has gone away.
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Self::Pg(error) => error.is_connection_lost() || error.is_recovery_conflict(),
            // pg_dump has no code for it; whoever asks looks at the server next.
            Self::ClientTool(ClientToolError::Failed { .. }) => true,
            _ => false,
        }
    }

    /// The exit code this error ends the program with.
    pub fn exit_code(&self) -> u8 {
        let code = match self {
            Self::Usage(_) | Self::RowTooLarge { .. } => ExitCode::Usage,
            Self::Pg(error) => return pg_code(error),
            Self::Store(error) => store_code(error),
            // A full disk reaches us through the Parquet writer, wrapped twice.
            Self::Rows { source, .. } if caused_by_io(source) => ExitCode::Storage,
            Self::Rows { .. } | Self::Mismatch(_) => ExitCode::Integrity,
            Self::SourceChanged(_) | Self::SnapshotLost(_) => ExitCode::SourceChanged,
            Self::Strict { code, .. } => *code,
            Self::Locked(_) => ExitCode::Locked,
            Self::NoSpace(_) | Self::Output(_) => ExitCode::Storage,
            Self::Privileges(_) => ExitCode::Privileges,
            Self::Restore(_) | Self::Schema(_) => ExitCode::Restore,
            Self::ClientTool(error) if error.lock_not_available() => ExitCode::Temporary,
            Self::ClientTool(_) => ExitCode::Usage,
            Self::Unavailable(_) => ExitCode::Temporary,
            Self::Manifest(_) | Self::Internal(_) => ExitCode::Internal,
            Self::Interrupted("SIGINT") => return 130,
            Self::Interrupted(_) => return 143,
        };
        code as u8
    }
}

impl From<ClusterError> for OpsError {
    fn from(error: ClusterError) -> Self {
        Self::Usage(error.to_string())
    }
}

#[cfg(feature = "query")]
impl From<crate::query::QueryError> for OpsError {
    fn from(error: crate::query::QueryError) -> Self {
        match error {
            crate::query::QueryError::Store(source) => Self::Store(source),
            crate::query::QueryError::Rows { table, source } => Self::Rows { table, source },
            crate::query::QueryError::Refused(why) => Self::Usage(why),
        }
    }
}

fn caused_by_io(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        if error.is::<std::io::Error>() {
            return true;
        }
        at = error.source();
    }
    false
}

fn pg_code(error: &PgError) -> u8 {
    let state = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    let code = match (error, state.as_str()) {
        (PgError::Settings(_) | PgError::Names { .. }, _) => ExitCode::Usage,
        // Rows could be hidden, as by row security.
        (PgError::Restoring, _) => ExitCode::Privileges,
        (PgError::Connect { .. }, "53300" | "57P03") => ExitCode::Temporary,
        (PgError::Connect { .. } | PgError::Tls { .. } | PgError::Pooler { .. }, _) => ExitCode::Connect,
        (_, "42501") => ExitCode::Privileges,
        (_, "55P03") => ExitCode::Temporary,
        // The lock table is full: the server's configuration does not fit the database.
        (_, "53200") => ExitCode::Usage,
        (_, "22023" | "40001" | "42P01") => ExitCode::SourceChanged,
        _ if error.is_connection_lost() => ExitCode::Connect,
        _ => ExitCode::Internal,
    };
    code as u8
}

fn store_code(error: &StoreError) -> ExitCode {
    match error {
        StoreError::Io { .. } => ExitCode::Storage,
        StoreError::NoVault(_) | StoreError::VaultFormat { .. } => ExitCode::Vault,
        StoreError::NoBackup { .. } | StoreError::Ambiguous { .. } => ExitCode::Usage,
        StoreError::Manifest { source, .. } => match source {
            crate::manifest::ManifestError::Format(_) | crate::manifest::ManifestError::Feature(_) => {
                ExitCode::Vault
            }
            _ => ExitCode::Integrity,
        },
        StoreError::Misplaced { .. } | StoreError::Damaged { .. } => ExitCode::Integrity,
    }
}

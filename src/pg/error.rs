//! [`PgError`]: what can go wrong between barkeep and a server, with the statement or object it happened to.

use tokio_postgres::error::SqlState;

use super::TlsError;
use super::settings::SettingsError;

/// A failure on the way to, or at, a PostgreSQL server.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// The address makes no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No connection, or no login.
    #[error("cannot connect to {target}")]
    Connect {
        /// Where to, without the password.
        target: String,
        /// Why.
        source: Box<tokio_postgres::Error>,
    },
    /// Nobody answers there.
    #[error("cannot reach {target}")]
    Unreachable {
        /// Where to, without the password.
        target: String,
        /// Why.
        source: std::io::Error,
    },
    /// A connection pooler answers in the server's place.
    #[error(
        "{target} is a connection pooler; a snapshot needs sessions of its own: connect to the server itself"
    )]
    Pooler {
        /// Where to, without the password.
        target: String,
    },
    /// Names without an encoding that are no UTF-8.
    #[error("{target} is in SQL_ASCII, and names in it are no UTF-8: {}", .names.join(", "))]
    Names {
        /// Which database.
        target: String,
        /// All of them, with bytes above ASCII as `\xff`.
        names: Vec<String>,
    },
    /// The connection ended before the server said how a COPY did.
    #[error("{doing} failed: the connection ended before the server said that it was complete")]
    Unfinished {
        /// What was being done, in words.
        doing: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS to {target}")]
    Tls {
        /// Where to.
        target: String,
        /// Why.
        source: TlsError,
    },
    /// A statement failed.
    #[error("{doing} failed")]
    Query {
        /// What was being done, in words.
        doing: String,
        /// The server's answer, or the connection's end.
        source: Box<tokio_postgres::Error>,
    },
    /// TimescaleDB's catalog has a row that cannot be understood.
    #[error(transparent)]
    Timescale(#[from] super::timescale::Unreadable),
    /// Somebody left the database in the middle of a catalog restore.
    #[error(
        "timescaledb.restoring is on in this database: rows written since are in no chunk, and no query shows them; run \
         timescaledb_post_restore() first"
    )]
    Restoring,
    /// The server answered something that makes no sense.
    #[error("the server's answer is unexpected: {0}")]
    Unexpected(&'static str),
}

impl PgError {
    /// A failed statement, with what it was for.
    pub fn query(doing: impl Into<String>, source: tokio_postgres::Error) -> Self {
        Self::Query { doing: doing.into(), source: Box::new(source) }
    }

    /// The SQLSTATE, where the server sent one.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Connect { source, .. } | Self::Query { source, .. } => source.code(),
            _ => None,
        }
    }

    /// A standby ended the statement because replay needed what it was reading.
    pub fn is_recovery_conflict(&self) -> bool {
        self.code().is_some_and(|code| code.code() == "40001")
    }

    /// Something is larger than the server can handle: of a COPY, a row that does not fit into a message.
    pub fn is_beyond_limits(&self) -> bool {
        self.code() == Some(&SqlState::PROGRAM_LIMIT_EXCEEDED)
    }

    /// The statement was ended because somebody asked for it.
    pub fn is_cancelled(&self) -> bool {
        self.code() == Some(&SqlState::QUERY_CANCELED)
    }

    /// The connection is gone (or never came to be), as against a statement that was refused.
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Self::Query { source, .. } => {
                source.is_closed()
                    || source.code().is_none()
                    || source.code().is_some_and(|code| {
                        code.code().starts_with("08")
                            || matches!(code.code(), "57P01" | "57P02" | "57P03" | "25P03" | "25P04")
                    })
            }
            Self::Connect { .. } | Self::Unreachable { .. } | Self::Unfinished { .. } => true,
            _ => false,
        }
    }
}

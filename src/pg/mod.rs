//! Everything that talks to a PostgreSQL server or runs its client programs.

pub mod client_tools;
mod connect;
mod error;
mod settings;
mod source;
mod survey;
mod target;
pub mod throwaway;
mod tls;
mod types;
pub mod workbench;

pub use error::PgError;
pub use settings::{ConnectionSettings, ProcessSurroundings, SettingsError, Surroundings, TlsMode};
pub use source::{CopyStream, Lane, LockOutcome, Locked, Probe, Source, copy_out, next_block};
pub use target::{EnabledTrigger, ForeignKey, OWN_SCHEMA, Target, TargetColumn, TargetFacts, TargetTable};
pub use tls::TlsError;

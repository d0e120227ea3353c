//! Everything that talks to a PostgreSQL server or runs its client programs.

mod ascii_names;
pub mod blocks;
pub mod client_tools;
mod connect;
mod error;
mod intake;
mod numerics;
mod offer;
mod pace;
pub mod restore_lock;
mod settings;
mod source;
mod structure;
mod survey;
mod tap;
mod target;
pub mod throwaway;
pub mod timescale;
mod tls;
mod types;
pub mod workbench;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use tap::fuzzing;

pub use connect::{STARTUP_OPTIONS, Session};
pub use error::PgError;
pub use offer::{NoOffer, Offer};
pub use pace::Pace;
pub use settings::{ConnectionSettings, ProcessSurroundings, SettingsError, Surroundings, TlsMode};
pub use source::{Lane, LockOutcome, Locked, Probe, Source, Waiter, copy_out};
pub use survey::Survey;
pub use target::{EnabledTrigger, ForeignKey, OWN_SCHEMA, Target, TargetColumn, TargetFacts, TargetTable};
pub use tls::TlsError;

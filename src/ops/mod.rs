//! One file per intention: what a command does, as a function that a program can call. No printing, no arguments.

pub mod check;
pub mod compare;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod drill;
pub mod dump;
mod error;
pub mod files;
pub mod init;
pub mod list;
#[cfg(feature = "query")]
pub mod query;
pub mod restore;
mod rows;
pub mod show;
pub mod verify;

pub use error::{ExitCode, OpsError, Services};

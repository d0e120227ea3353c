//! From schema entries to SQL that restores them: statements, order, selection, names and the readable `.sql` files.
//!
//! This is what `pg_restore` knows, so that a restore needs no client program. Everything here is a pure function of
//! [`crate::catalog::ddl::SchemaDump`]; running the result is `pipeline::schema`.

mod ahead;
pub mod ast;
#[cfg(test)]
mod fixture;
mod names;
pub mod rename;
mod rewrite;
pub mod roles;
pub mod schedule;
pub mod script;
pub mod selection;
mod settled;
pub mod statements;
pub mod structure;
pub mod timescale;
pub mod workspace;

pub use ahead::Ahead;
pub use rename::{RenameWarning, Renamed, Renames, rename};
pub use roles::roles;
pub use schedule::{Access, Dispatcher, Job, PostDataSchedule, Stage, Work, pre_data};
pub use script::script;
pub use selection::{Selected, Selection, subject};
pub use settled::Settled;
pub use statements::{EntryStatements, RestoreOptions, Setting, Statement, statements};
pub use workspace::{Lanes, Workspace};

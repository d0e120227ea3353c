//! Checks: questions about the data whose answers are bad rows. A question without an answer is passed.
//!
//! Pure. A [`Check`] is data (`packs/*.toml`): a question, the roles it speaks of, and SQL that names a role's columns by
//! names of our own. [`Mapping`] says which tables and columns of a database play those roles, [`question()`] puts the two
//! together in the [`Dialect`] of an engine, and [`judge`] makes a verdict of what came back. A [`Calendar`] says when a
//! market was open. [`structure`] asks about the constraints that a database has. Whoever asks an engine stands in `ops`.

mod calendar;
mod columns;
mod declared;
mod definition;
pub mod dialect;
pub mod drift;
mod mapping;
mod question;
pub mod structure;
mod verdict;

pub use calendar::{Calendar, Session, SessionDay, SessionSql, session_days};
pub use columns::ColumnSort;
pub use declared::{
    ColumnNames, DeclarationError, Declarations, DeclaredAccepted, DeclaredNotNull, DeclaredRelation,
    DeclaredUnique, KnownTables, Matching,
};
pub use definition::{Check, DefinitionError, Kind, Pack, Role, RoleColumn, Severity, packs, roles};
pub use dialect::{DataFusion, Dialect, Postgres, datafusion};
pub use mapping::{Candidate, MappedColumn, MappedRole, Mapping, MappingError, RoleSettings};
pub use question::{Interview, Question, QuestionError, first_bar, question};
pub use verdict::{Threshold, Verdict, judge};

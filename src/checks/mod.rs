//! Checks: questions about the data whose answers are bad rows. A question without an answer is passed.
//!
//! Pure. A [`Check`] is data (`packs/*.toml`): a question, the roles it speaks of, and SQL that names a role's columns by
//! names of our own. [`Mapping`] says which tables and columns of a database play those roles, [`question()`] puts the two
//! together, and [`judge`] makes a verdict of what came back. A [`Calendar`] says when a market was open. Whoever asks a server stands in `ops`.

mod calendar;
mod columns;
mod definition;
mod mapping;
mod question;
mod verdict;

pub use calendar::{Calendar, Session};
pub use columns::ColumnSort;
pub use definition::{Check, DefinitionError, Kind, Pack, Role, RoleColumn, Severity, packs, roles};
pub use mapping::{MappedColumn, MappedRole, Mapping, MappingError, RoleSettings};
pub use question::{Question, QuestionError, Times, first_bar, question};
pub use verdict::{Threshold, Verdict, judge};

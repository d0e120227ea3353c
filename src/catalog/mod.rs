//! What a database consists of, as plain data: relations, columns, types, schema entries, and the patterns that select.
//!
//! Filled by `pg::survey` and `pg::client_tools`, read by `plan`. Nothing here talks to a server.

pub mod ddl;
mod pattern;
mod relation;
pub mod structure;
pub mod timescale;
pub mod toc;
mod types;

pub use pattern::{Pattern, PatternError};
pub use relation::{
    Column, Generated, LargeObjects, Relation, RelationKind, Sequence, SourceFacts, TextColumn,
};
pub use types::{PgType, StructAttribute, TypeKind};

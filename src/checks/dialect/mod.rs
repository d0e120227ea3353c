//! [`Dialect`]: the SQL of an engine, where engines differ.

pub mod datafusion;
mod postgres;

pub use datafusion::DataFusion;
pub use postgres::Postgres;

use super::columns::ColumnSort;
use super::definition::Kind;
use super::mapping::MappedColumn;
use crate::base::{TableName, Timestamp};

/// What an engine is told about columns and times. A check's own text is the same for all of them.
pub trait Dialect: Send + Sync {
    /// The expression for a column, as the kind that a check wants.
    fn column(&self, table: &TableName, column: &MappedColumn, kind: Kind) -> String;

    /// A NULL that compares with others of this sort.
    fn null(&self, sort: ColumnSort) -> &'static str;

    /// An instant.
    fn instant(&self, at: Timestamp) -> String;

    /// Whether a column may have this value. Spellings that nobody uses need not be looked for in every row.
    fn may_be(&self, _table: &TableName, _column: &str, _value: &str) -> bool {
        true
    }
}

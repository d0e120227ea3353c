//! [`PieceShape`]: what all pieces of one table have in common, and what a reader must know to open one.
//!
//! The plan decides it and the manifest keeps it. It does not know which rows a piece has.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::column::arrow_type;
use crate::manifest::Mapping;

/// Name of the column that stands in the Parquet file of a table without columns, which Parquet does not allow. It is a
/// BOOLEAN that is always NULL, and no part of tuples or digests. The same name stands for the missing field of a
/// composite type without attributes.
pub const PLACEHOLDER: &str = "_barkeep_no_columns";

/// One column of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnShape {
    /// The column's name.
    pub name: String,
    /// How it is carried.
    pub mapping: Mapping,
    /// A generated column: written for analysts, outside digest and restore. Derived columns are always the last ones.
    pub derived: bool,
}

/// The columns of a table, in the order of its tuples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceShape {
    /// Columns; the derived ones last.
    pub columns: Vec<ColumnShape>,
    /// The JSON that goes into the file's key-value metadata as `barkeep.schema`.
    pub metadata: String,
    /// Columns in whose order the rows of a row group stand, by index; none for the server's order.
    pub clustered_by: Vec<usize>,
}

impl PieceShape {
    /// How many columns are restored and hashed: all but the derived ones.
    pub fn kept(&self) -> usize {
        self.columns.iter().take_while(|column| !column.derived).count()
    }

    /// Whether the derived columns are the last ones, as everything here relies on.
    pub fn is_ordered(&self) -> bool {
        self.columns[self.kept()..].iter().all(|column| column.derived)
    }

    /// The Arrow schema of the piece. Every column is nullable, because a value outside its type is stored as NULL.
    pub fn arrow_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| Field::new(&column.name, arrow_type(&column.mapping), true))
            .collect();
        if fields.is_empty() {
            fields.push(Field::new(PLACEHOLDER, DataType::Boolean, true));
        }
        Arc::new(Schema::new(fields))
    }
}

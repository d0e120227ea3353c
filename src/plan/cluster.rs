//! `--cluster-by`: in the order of which columns a table's rows are stored. Pure.

use crate::base::TableName;
use crate::catalog::{Pattern, Relation};
use crate::codec::column::arrow_type;
use crate::codec::file::has_order;
use crate::manifest::{Clustered, Table};

/// Tables and the columns to cluster them by.
pub type ClusterBy = Vec<(Pattern, Vec<String>)>;

/// A table cannot be clustered as it was asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClusterError {
    /// It has no such column.
    #[error("{table} has no column {column:?} to cluster by; it has {}", .has.join(", "))]
    NoColumn {
        /// Which table.
        table: TableName,
        /// What was asked for.
        column: String,
        /// What there is.
        has: Vec<String>,
    },
    /// Its values have no order in the file.
    #[error("{table} cannot be clustered by {column:?}: values of type {type_sql} have no order here")]
    NoOrder {
        /// Which table.
        table: TableName,
        /// Which column.
        column: String,
        /// Its type.
        type_sql: String,
    },
}

/// The columns that the first pattern for the table, or for the root of its partition tree, asks for.
fn asked<'a>(table: &TableName, root: Option<&TableName>, all: &'a ClusterBy) -> Option<&'a Vec<String>> {
    let matches =
        |pattern: &Pattern| pattern.matches(table) || root.is_some_and(|root| pattern.matches(root));
    all.iter().find(|(pattern, _)| matches(pattern)).map(|(_, columns)| columns)
}

fn no_column<'a>(table: &TableName, column: &str, has: impl Iterator<Item = &'a String>) -> ClusterError {
    ClusterError::NoColumn { table: table.clone(), column: column.to_owned(), has: has.cloned().collect() }
}

/// Whether all tables have the columns, before anything is locked.
pub fn check(tables: &[Relation], all: &ClusterBy) -> Result<(), ClusterError> {
    for table in tables {
        let has = || table.columns.iter().map(|column| &column.name);
        let mut columns = asked(&table.name, None, all).into_iter().flatten();
        if let Some(column) = columns.find(|column| has().all(|name| name != *column)) {
            return Err(no_column(&table.name, column, has()));
        }
    }
    Ok(())
}

/// How the rows of a table are to be stored; none of them is yet.
pub fn clustered(
    table: &Table,
    root: Option<&TableName>,
    all: &ClusterBy,
) -> Result<Option<Clustered>, ClusterError> {
    let Some(by) = asked(&table.name, root, all) else { return Ok(None) };
    for name in by {
        let found = table.columns.iter().find(|column| column.name == *name);
        let has = table.columns.iter().map(|column| &column.name);
        let found = found.ok_or_else(|| no_column(&table.name, name, has))?;
        if !has_order(&arrow_type(&found.mapping)) {
            let (table, column, type_sql) = (table.name.clone(), name.clone(), found.type_sql.clone());
            return Err(ClusterError::NoOrder { table, column, type_sql });
        }
    }
    Ok(Some(Clustered { by: by.clone(), rows: 0 }))
}

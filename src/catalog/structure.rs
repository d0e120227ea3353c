//! [`Structure`]: what the constraints of a database say about its rows, as plain data.
//!
//! Read by `plan::ddl::structure` from statements, whether a server or a backup has them.

use std::collections::BTreeSet;
use std::fmt;

use crate::base::TableName;

/// The constraints of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Structure {
    /// What must hold; by table, without what a partition has from its parent.
    pub constraints: Vec<Constraint>,
    /// Tables whose rows lie in others: partitioned tables and hypertables.
    pub spread: BTreeSet<TableName>,
    /// Statements that could not be read.
    pub unread: Vec<String>,
}

/// Something that must hold of the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// The table.
    pub table: TableName,
    /// What must hold.
    pub rule: Rule,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Only of rows for which this holds: SQL that names the table's columns.
    pub condition: Option<String>,
    /// Whether the server sees to it.
    pub standing: Standing,
}

/// Who says that a constraint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The server.
    Enforced,
    /// The server, but only of rows that are newer than the constraint.
    NotValid,
    /// The server knows it and does not hold it.
    NotEnforced,
    /// The configuration of barkeep.
    Declared,
}

/// What must hold of rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Columns refer to a row of another table, or of the same.
    ForeignKey(ForeignKey),
    /// None of these columns is NULL.
    NotNull(Vec<String>),
    /// No two rows have the same in these columns.
    Unique {
        /// The columns.
        columns: Vec<String>,
        /// It is the primary key.
        primary: bool,
        /// A NULL differs from every other.
        nulls_distinct: bool,
    },
    /// A column has one of these values as its text, or is NULL.
    Accepted {
        /// The column.
        column: String,
        /// The values.
        values: Vec<String>,
    },
    /// An expression is not false.
    Check {
        /// In PostgreSQL's own SQL.
        expression: String,
        /// The columns in it.
        columns: Vec<String>,
        /// It holds of the table itself only, not of those that inherit from it.
        no_inherit: bool,
    },
    /// A sequence is not behind the column that it feeds.
    Sequence {
        /// The column.
        column: String,
        /// The sequence.
        sequence: TableName,
        /// By how much it counts.
        increment: i64,
    },
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignKey {
    /// The columns that refer.
    pub columns: Vec<String>,
    /// The table that they refer to.
    pub parent: TableName,
    /// Its columns, in the same order.
    pub parent_columns: Vec<String>,
    /// MATCH FULL: all of the columns are NULL or none. Else one NULL refers to nothing.
    pub full: bool,
    /// The last column is a period that rows of the parent cover together.
    pub period: bool,
    /// How PostgreSQL compares a pair of columns, `p.x` with `c.y`, where a plain `=` is something else there: operators of
    /// extensions, and columns with different collations. Only a server knows it. As long as `columns`, or empty.
    pub comparisons: Vec<Option<String>>,
}

impl Structure {
    /// The primary key of a table; empty if it has none.
    pub fn primary_key(&self, table: &TableName) -> &[String] {
        let mut of_table = self.constraints.iter().filter(|constraint| constraint.table == *table);
        let key = of_table.find_map(|constraint| match &constraint.rule {
            Rule::Unique { columns, primary: true, .. } => Some(columns.as_slice()),
            _ => None,
        });
        key.unwrap_or_default()
    }
}

impl fmt::Display for Constraint {
    /// The table and what people call the constraint: `public.fills fills_account_fkey`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table)?;
        match (&self.name, &self.rule) {
            (Some(name), _) => write!(f, " {name}")?,
            (None, Rule::ForeignKey(key)) => write!(f, " ({}) → {}", key.columns.join(", "), key.parent)?,
            (None, Rule::NotNull(columns) | Rule::Unique { columns, .. } | Rule::Check { columns, .. }) => {
                write!(f, " ({})", columns.join(", "))?;
            }
            (None, Rule::Accepted { column, .. }) => write!(f, " ({column})")?,
            (None, Rule::Sequence { column, sequence, .. }) => write!(f, " ({column}) {sequence}")?,
        }
        match self.standing {
            Standing::NotValid => f.write_str(", NOT VALID"),
            Standing::NotEnforced => f.write_str(", NOT ENFORCED"),
            Standing::Enforced | Standing::Declared => Ok(()),
        }
    }
}

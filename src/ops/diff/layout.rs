//! [`Layout`]: which columns two versions of a table have in common, and by which rows are paired.

use serde::Serialize;

use crate::manifest::{Mapping, Table, TableColumn};
use crate::ops::compare::kept;
use crate::ops::rows::{Field, Projection};

/// A column that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnChange {
    /// Its name.
    pub column: String,
    /// Its type in A; absent where A lacks it.
    pub a: Option<String>,
    /// Its type in B.
    pub b: Option<String>,
    /// Its values are compared all the same.
    pub compared: bool,
}

/// A column of both sides, with its place among those of each.
struct Common<'a> {
    a: (usize, &'a TableColumn),
    b: (usize, &'a TableColumn),
    /// Integers of different widths are compared as the widest.
    widened: bool,
}

/// Two versions of a table laid over each other.
pub(super) struct Layout<'a> {
    /// Columns that only one side has, or with another type.
    pub(super) changes: Vec<ColumnChange>,
    /// The primary key, where both sides have all of its columns.
    pub(super) key: Vec<String>,
    common: Vec<Common<'a>>,
    columns: [usize; 2],
}

impl<'a> Layout<'a> {
    /// Lays B over A; what is common is in the order of A.
    pub(super) fn of(a: &'a Table, b: &'a Table) -> Self {
        let (ours, theirs) = (kept(a), kept(b));
        let columns = [ours.len(), theirs.len()];
        let (mut common, mut changes) = (Vec::new(), Vec::new());
        for (place, column) in ours.iter().copied().enumerate() {
            let same = theirs.iter().copied().enumerate().find(|(_, other)| other.name == column.name);
            let comparable = same.is_some_and(|(_, other)| comparable(column, other));
            let other_type = same.map(|(_, other)| other.type_sql.clone());
            if !comparable || other_type.as_ref() != Some(&column.type_sql) {
                changes.push(ColumnChange {
                    column: column.name.clone(),
                    a: Some(column.type_sql.clone()),
                    b: other_type,
                    compared: comparable,
                });
            }
            if let Some(other) = same.filter(|_| comparable) {
                let widened = other.1.mapping != column.mapping && column.mapping.is_integer();
                common.push(Common { a: (place, column), b: other, widened });
            }
        }
        let new = theirs.iter().filter(|column| ours.iter().all(|other| other.name != column.name));
        changes.extend(new.map(|column| ColumnChange {
            column: column.name.clone(),
            a: None,
            b: Some(column.type_sql.clone()),
            compared: false,
        }));
        let is_common = |name: &String| common.iter().any(|column| column.a.1.name == *name);
        let mut keys = [&a.primary_key, &b.primary_key].into_iter();
        let key = keys.find(|key| !key.is_empty() && key.iter().all(is_common)).cloned();
        Self { changes, key: key.unwrap_or_default(), common, columns }
    }

    /// Equal tuples have equal common columns: digests of whole rows say something.
    pub(super) fn is_aligned(&self) -> bool {
        self.common.iter().all(|column| column.a.0 == column.b.0)
    }

    /// B is asked for the common columns only, and they are all that A has, as A has them.
    pub(super) fn covers_a(&self) -> bool {
        self.common.len() == self.columns[0] && self.common.iter().all(|column| !column.widened)
    }

    /// What of A's tuples is compared.
    pub(super) fn of_a(&self) -> Projection {
        let fields = self.common.iter().map(|column| Field { place: column.a.0, widened: column.widened });
        Projection::onto(fields.collect(), self.columns[0])
    }

    /// What of B's tuples is compared.
    pub(super) fn of_b(&self) -> Projection {
        let fields = self.common.iter().map(|column| Field { place: column.b.0, widened: column.widened });
        Projection::onto(fields.collect(), self.columns[1])
    }

    /// The same where B's tuples have the common columns only.
    pub(super) fn of_asked(&self) -> Projection {
        let fields = self.common.iter().enumerate();
        let fields: Vec<Field> =
            fields.map(|(place, column)| Field { place, widened: column.widened }).collect();
        let columns = fields.len();
        Projection::onto(fields, columns)
    }

    /// The common columns as a database that is B gives them: as A has them, unless their type is another one.
    pub(super) fn asked(&self) -> Vec<TableColumn> {
        let one = |column: &Common<'_>| {
            let (a, b) = (column.a.1, column.b.1);
            if a.type_sql == b.type_sql { a.clone() } else { b.clone() }
        };
        self.common.iter().map(one).collect()
    }

    /// Names of the common columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a String> {
        self.common.iter().map(|column| &column.a.1.name)
    }

    /// Mappings of projected tuples, of A and of B.
    pub(super) fn mappings(&self) -> [Vec<Mapping>; 2] {
        let of = |column: &Common<'_>, own: &TableColumn| {
            if column.widened { Mapping::Int64 } else { own.mapping.clone() }
        };
        [
            self.common.iter().map(|column| of(column, column.a.1)).collect(),
            self.common.iter().map(|column| of(column, column.b.1)).collect(),
        ]
    }

    /// Places of the key in projected tuples.
    pub(super) fn keyed_by(&self) -> Vec<usize> {
        let place = |name: &String| self.names().position(|column| column == name);
        self.key.iter().filter_map(place).collect()
    }
}

/// Whether the values of two columns can be held against each other, byte for byte.
fn comparable(a: &TableColumn, b: &TableColumn) -> bool {
    let as_text = |column: &TableColumn| column.mapping == Mapping::ServerText;
    if a.type_sql == b.type_sql {
        return as_text(a) == as_text(b);
    }
    a.mapping.has_wire_form_of(&b.mapping) || (a.mapping.is_integer() && b.mapping.is_integer())
}

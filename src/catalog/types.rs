//! [`PgType`]: a PostgreSQL type resolved down to its base types.

use serde::{Deserialize, Serialize};

/// A type with everything inside it resolved: a domain knows its base, an array its element, a composite its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgType {
    /// OID on the source server.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name (`typname`), `int4` and not `integer`.
    pub name: String,
    /// The extension that owns it, where one does.
    pub extension: Option<String>,
    /// What it is made of.
    pub kind: TypeKind,
}

/// What a type is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeKind {
    /// A base type.
    Base {
        /// It has both a send and a receive function.
        binary: bool,
    },
    /// An array (`typsubscript = array_subscript_handler`), or one of the two vectors.
    Array {
        /// Element type.
        element: Box<PgType>,
    },
    /// A composite type; dropped attributes are left out, as `record_send` does.
    Composite {
        /// Attributes in order.
        attributes: Vec<StructAttribute>,
    },
    /// A domain.
    Domain {
        /// What it is a domain over.
        base: Box<PgType>,
        /// `typtypmod`, -1 where none.
        typmod: i32,
        /// `typndims`, the declared dimensions of a domain over an array.
        dimensions: i32,
    },
    /// An enum with its labels in order.
    Enum {
        /// Labels in sort order.
        labels: Vec<String>,
    },
    /// A range.
    Range {
        /// Type of a bound.
        bound: Box<PgType>,
    },
    /// A multirange.
    Multirange {
        /// Type of a bound.
        bound: Box<PgType>,
    },
    /// A pseudo-type or anything else without values of its own.
    Pseudo,
}

/// One attribute of a composite type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StructAttribute {
    /// Name.
    pub name: String,
    /// Type.
    pub pg_type: PgType,
    /// `atttypmod`.
    pub typmod: i32,
    /// `attndims`.
    pub dimensions: i32,
}

impl PgType {
    /// True where the type lives in `pg_catalog` under this name.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.schema == "pg_catalog" && self.name == name
    }
}

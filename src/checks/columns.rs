//! [`ColumnSort`]: how a column of a database reaches a check: which kinds it can be, and the SQL for it on PostgreSQL.

use super::definition::Kind;
use crate::catalog::{PgType, TypeKind};

/// What a column's type is to a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnSort {
    /// int2, int4, int8.
    Integer,
    /// numeric.
    Decimal,
    /// money.
    Money,
    /// float4, float8: not fit for money.
    Float,
    /// text, varchar.
    Text,
    /// char(n), enums, json and whatever else has to be printed to be compared.
    Printed,
    /// uuid.
    Uuid,
    /// timestamptz, timestamp, date.
    Time,
    /// boolean.
    Flag,
    /// bytea.
    Bytes,
}

impl ColumnSort {
    /// Of a type; `None` for arrays, composites and ranges, which play no role.
    pub fn of(pg_type: &PgType) -> Option<Self> {
        let name = match &pg_type.kind {
            TypeKind::Domain { base, .. } => return Self::of(base),
            TypeKind::Enum { .. } => return Some(Self::Printed),
            TypeKind::Base { .. } => pg_type.name.as_str(),
            _ => return None,
        };
        Some(match name {
            "int2" | "int4" | "int8" => Self::Integer,
            "numeric" => Self::Decimal,
            "money" => Self::Money,
            "float4" | "float8" => Self::Float,
            "text" | "varchar" => Self::Text,
            "uuid" => Self::Uuid,
            "timestamptz" | "timestamp" | "date" => Self::Time,
            "bool" => Self::Flag,
            "bytea" => Self::Bytes,
            "bpchar" | "name" | "char" | "json" | "jsonb" | "citext" | "inet" => Self::Printed,
            _ => return None,
        })
    }

    /// Whether it can reach a check as that.
    pub fn can_be(self, kind: Kind) -> bool {
        match kind {
            Kind::Key => {
                matches!(
                    self,
                    Self::Integer | Self::Text | Self::Printed | Self::Uuid | Self::Decimal | Self::Time
                )
            }
            // A trading day is a name, too.
            Kind::Text => {
                matches!(self, Self::Integer | Self::Text | Self::Printed | Self::Flag | Self::Time)
            }
            Kind::Amount => matches!(self, Self::Integer | Self::Decimal | Self::Money | Self::Float),
            Kind::Time => self == Self::Time,
            Kind::Count => matches!(self, Self::Integer | Self::Decimal),
            Kind::Flag => self == Self::Flag,
            Kind::Bytes | Kind::Digest => matches!(self, Self::Bytes | Self::Text | Self::Printed),
        }
    }

    /// Whether values of both can be the same thing.
    pub(super) fn compares_with(self, other: Self) -> bool {
        let class = |sort| match sort {
            Self::Printed => Self::Text,
            Self::Decimal => Self::Integer,
            other => other,
        };
        class(self) == class(other)
    }

    /// The expression for a quoted column on PostgreSQL.
    pub(super) fn postgres(self, column: &str, kind: Kind) -> String {
        const NOT_FINITE: &str = "'NaN', 'Infinity', '-Infinity'";
        match (kind, self) {
            (Kind::Key, Self::Printed) | (Kind::Text, _) => format!("CAST({column} AS text)"),
            // By its text, which is the shortest that is the same double; a cast would keep 15 digits.
            (Kind::Amount | Kind::Count, Self::Float) => format!(
                "CASE WHEN {column} NOT IN ({NOT_FINITE}) THEN CAST(CAST({column} AS text) AS numeric) END"
            ),
            (Kind::Amount | Kind::Count, Self::Decimal) => {
                format!("CASE WHEN {column} NOT IN ({NOT_FINITE}) THEN CAST({column} AS numeric) END")
            }
            (Kind::Amount | Kind::Count, _) => format!("CAST({column} AS numeric)"),
            // Date and timestamp are read as UTC, which every session is pinned to.
            (Kind::Time, _) => format!(
                "CASE WHEN pg_catalog.isfinite({column}) THEN CAST({column} AS timestamp with time zone) END"
            ),
            (Kind::Bytes, Self::Text | Self::Printed) => {
                format!("pg_catalog.convert_to(CAST({column} AS text), 'UTF8')")
            }
            (Kind::Digest, Self::Bytes) => format!("pg_catalog.encode({column}, 'hex')"),
            (Kind::Digest, _) => format!("CAST({column} AS text)"),
            (Kind::Key | Kind::Flag | Kind::Bytes, _) => column.to_owned(),
        }
    }

    /// A NULL that compares with others of this sort.
    pub(super) fn null(self) -> &'static str {
        match self {
            Self::Integer => "CAST(NULL AS bigint)",
            Self::Decimal | Self::Money | Self::Float => "CAST(NULL AS numeric)",
            Self::Text | Self::Printed => "CAST(NULL AS text)",
            Self::Uuid => "CAST(NULL AS uuid)",
            Self::Time => "CAST(NULL AS timestamp with time zone)",
            Self::Flag => "CAST(NULL AS boolean)",
            Self::Bytes => "CAST(NULL AS bytea)",
        }
    }
}

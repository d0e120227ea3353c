//! [`ColumnSort`]: what a column of a database is to a check: which kinds it can reach it as.

use super::definition::Kind;
use crate::catalog::{PgType, TypeKind};
use crate::manifest::Mapping;

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

    /// Of a column of a backup, by how it is carried and the type that SQL spells.
    pub fn of_carried(mapping: &Mapping, type_sql: &str) -> Option<Self> {
        Some(match mapping {
            Mapping::Int16 | Mapping::Int32 | Mapping::Int64 => Self::Integer,
            Mapping::Decimal { .. } | Mapping::NumericText => Self::Decimal,
            Mapping::Money { .. } => Self::Money,
            Mapping::Float32 | Mapping::Float64 => Self::Float,
            Mapping::Utf8 if type_sql == "text" || type_sql.starts_with("character varying") => Self::Text,
            Mapping::Utf8 | Mapping::Bpchar { .. } | Mapping::Char | Mapping::VersionedText => Self::Printed,
            Mapping::Inet { .. } => Self::Printed,
            Mapping::Uuid => Self::Uuid,
            Mapping::Date | Mapping::Timestamp | Mapping::TimestampTz => Self::Time,
            Mapping::Boolean => Self::Flag,
            Mapping::Binary => Self::Bytes,
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
}

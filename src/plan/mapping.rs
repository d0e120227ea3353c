//! Which [`Mapping`] a column gets: from its type, its modifier, and for unconstrained numerics what is in the table.

use crate::catalog::{Column, PgType, TypeKind};
use crate::manifest::{Mapping, StructField, canonical_oid};

/// What an unconstrained numeric column holds, counted under the dump's own snapshot, so that the choice of a DECIMAL is
/// a fact and not a guess from the first rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NumericProfile {
    /// Most digits before the point.
    pub integer_digits: u32,
    /// Largest display scale.
    pub scale: u32,
    /// NaN and ±Infinity.
    pub specials: u64,
    /// Values that are not NULL.
    pub values: u64,
}

impl NumericProfile {
    /// What two tables hold together.
    pub fn merged(&self, other: Self) -> Self {
        Self {
            integer_digits: self.integer_digits.max(other.integer_digits),
            scale: self.scale.max(other.scale),
            specials: self.specials + other.specials,
            values: self.values + other.values,
        }
    }
}

/// Digits a DECIMAL has at most.
const MAX_PRECISION: u32 = 38;
/// Above one exception in this many values the mapping widens to text.
const EXCEPTION_SHARE: u64 = 100;

/// The mapping of a column. `profile` is there exactly for columns that [`is_unconstrained_numeric`] says need one.
pub fn choose(column: &Column, money_fraction: u8, profile: Option<NumericProfile>) -> Mapping {
    if let Some(profile) = profile {
        return numeric_by_profile(profile);
    }
    let chooser = Chooser { money_fraction };
    chooser.of(&column.pg_type, column.typmod, column.dimensions).unwrap_or(Mapping::ServerText)
}

/// Whether the column's own type (through domains) is numeric without precision.
pub fn is_unconstrained_numeric(column: &Column) -> bool {
    let (pg_type, typmod) = through_domains(&column.pg_type, column.typmod);
    pg_type.is_builtin("numeric") && typmod < 0
}

/// Whether `mapping` still holds everything that `profile` counted, so that an earlier backup's choice can stay.
pub fn still_fits(mapping: &Mapping, profile: NumericProfile) -> bool {
    match mapping {
        Mapping::NumericText => true,
        Mapping::Decimal { precision, scale, .. } => {
            profile.scale <= u32::from(*scale)
                && profile.integer_digits + u32::from(*scale) <= u32::from(*precision)
                && profile.specials * EXCEPTION_SHARE <= profile.values
        }
        _ => false,
    }
}

fn numeric_by_profile(profile: NumericProfile) -> Mapping {
    let scale = profile.scale;
    if profile.integer_digits + scale > MAX_PRECISION || profile.specials * EXCEPTION_SHARE > profile.values {
        return Mapping::NumericText;
    }
    let scale = u8::try_from(scale).unwrap_or(0);
    Mapping::Decimal { precision: MAX_PRECISION as u8, scale, display_scale: u16::from(scale) }
}

fn through_domains(pg_type: &PgType, typmod: i32) -> (&PgType, i32) {
    match &pg_type.kind {
        TypeKind::Domain { base, typmod, .. } => through_domains(base, *typmod),
        _ => (pg_type, typmod),
    }
}

struct Chooser {
    money_fraction: u8,
}

impl Chooser {
    /// `None`: the server's text has to carry it.
    fn of(&self, pg_type: &PgType, typmod: i32, dimensions: i32) -> Option<Mapping> {
        match &pg_type.kind {
            TypeKind::Domain { base, typmod, dimensions } => self.of(base, *typmod, *dimensions),
            TypeKind::Enum { .. } => Some(Mapping::Utf8),
            TypeKind::Array { element } => self.array(pg_type, element, typmod, dimensions),
            TypeKind::Composite { attributes } => {
                let fields = attributes
                    .iter()
                    .map(|attribute| {
                        let mapping = self.of(&attribute.pg_type, attribute.typmod, attribute.dimensions)?;
                        let oid = canonical_oid(attribute.pg_type.oid);
                        Some(StructField { name: attribute.name.clone(), oid, mapping })
                    })
                    .collect::<Option<Vec<_>>>()?;
                // Parquet has no struct without fields, and none with two of one name.
                (!fields.is_empty()).then_some(Mapping::Struct { fields })
            }
            TypeKind::Range { bound } => Some(Mapping::Range { bound: Box::new(self.of(bound, -1, 1)?) }),
            TypeKind::Multirange { bound } => {
                Some(Mapping::Multirange { bound: Box::new(self.of(bound, -1, 1)?) })
            }
            TypeKind::Base { binary } => self.base(pg_type, *binary, typmod),
            TypeKind::Pseudo => None,
        }
    }

    fn array(&self, pg_type: &PgType, element: &PgType, typmod: i32, dimensions: i32) -> Option<Mapping> {
        if pg_type.is_builtin("int2vector") || pg_type.is_builtin("oidvector") {
            // Their receive functions refuse what their send functions say of an empty one.
            return None;
        }
        Some(Mapping::List {
            dimensions: u8::try_from(dimensions.clamp(1, 6)).ok()?,
            lower_bound: 1,
            element_oid: canonical_oid(element.oid),
            element: Box::new(self.of(element, typmod, 1)?),
        })
    }

    fn base(&self, pg_type: &PgType, binary: bool, typmod: i32) -> Option<Mapping> {
        if let Some(extension) = &pg_type.extension {
            return extension_type(extension, &pg_type.name).or(None);
        }
        if pg_type.schema != "pg_catalog" || !binary {
            return None;
        }
        Some(match pg_type.name.as_str() {
            "bool" => Mapping::Boolean,
            "int2" => Mapping::Int16,
            "int4" => Mapping::Int32,
            "int8" => Mapping::Int64,
            "oid" | "xid" | "cid" => Mapping::UInt32,
            "xid8" | "pg_lsn" => Mapping::UInt64,
            "float4" => Mapping::Float32,
            "float8" => Mapping::Float64,
            "numeric" => numeric_by_typmod(typmod),
            "money" => Mapping::Money { fraction: self.money_fraction },
            "text" | "varchar" | "name" | "json" | "xml" | "unknown" | "refcursor" => Mapping::Utf8,
            "bpchar" => Mapping::Bpchar { length: u32::try_from(typmod - 4).ok().filter(|_| typmod >= 4) },
            "char" => Mapping::Char,
            "bytea" => Mapping::Binary,
            "uuid" => Mapping::Uuid,
            "jsonb" | "jsonpath" => Mapping::VersionedText,
            "date" => Mapping::Date,
            "timestamp" => Mapping::Timestamp,
            "timestamptz" => Mapping::TimestampTz,
            "time" => Mapping::Time,
            "timetz" => Mapping::TimeTz,
            "interval" => Mapping::Interval,
            "inet" => Mapping::Inet { cidr: false },
            "cidr" => Mapping::Inet { cidr: true },
            "macaddr" => Mapping::MacAddr { bytes: 6 },
            "macaddr8" => Mapping::MacAddr { bytes: 8 },
            "bit" | "varbit" => Mapping::BitString,
            "tid" => Mapping::Tid,
            "point" => Mapping::Point,
            "line" => Mapping::Line,
            "lseg" => Mapping::Lseg,
            "box" => Mapping::Box,
            "path" => Mapping::Path,
            "polygon" => Mapping::Polygon,
            "circle" => Mapping::Circle,
            _ => return None,
        })
    }
}

fn extension_type(extension: &str, name: &str) -> Option<Mapping> {
    match (extension, name) {
        ("citext", "citext") => Some(Mapping::Utf8),
        ("hstore", "hstore") => Some(Mapping::Hstore),
        ("ltree", "ltree" | "lquery" | "ltxtquery") => Some(Mapping::VersionedText),
        ("vector", "vector") => Some(Mapping::Vector),
        ("vector", "halfvec") => Some(Mapping::HalfVector),
        ("vector", "sparsevec") => Some(Mapping::SparseVector),
        ("postgis", "geometry" | "geography") => Some(Mapping::Binary),
        _ => None,
    }
}

/// `numeric(p, s)`: the modifier packs precision above 16 bits and an 11-bit signed scale below, plus 4.
fn numeric_by_typmod(typmod: i32) -> Mapping {
    if typmod < 4 {
        return Mapping::NumericText;
    }
    let packed = typmod - 4;
    let declared = (packed >> 16) & 0xffff;
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    let (precision, stored_scale) =
        if scale < 0 { (declared - scale, 0) } else { (declared.max(scale), scale) };
    match (u8::try_from(precision), u8::try_from(stored_scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) => {
            Mapping::Decimal { precision, scale, display_scale: u16::from(scale) }
        }
        _ => Mapping::NumericText,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builtin(name: &str) -> PgType {
        let kind = TypeKind::Base { binary: true };
        PgType { oid: 1700, schema: "pg_catalog".into(), name: name.into(), extension: None, kind }
    }

    fn chosen(pg_type: PgType, typmod: i32) -> Mapping {
        Chooser { money_fraction: 2 }.of(&pg_type, typmod, 1).unwrap_or(Mapping::ServerText)
    }

    #[test]
    fn a_numeric_modifier_is_read_as_postgresql_packs_it() {
        let typmod = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        let decimal =
            |precision, scale| Mapping::Decimal { precision, scale, display_scale: u16::from(scale) };
        assert_eq!(chosen(builtin("numeric"), typmod(18, 6)), decimal(18, 6));
        assert_eq!(chosen(builtin("numeric"), typmod(5, -2)), decimal(7, 0));
        assert_eq!(chosen(builtin("numeric"), typmod(3, 5)), decimal(5, 5));
        assert_eq!(chosen(builtin("numeric"), typmod(50, 2)), Mapping::NumericText);
        assert_eq!(chosen(builtin("numeric"), -1), Mapping::NumericText);
    }

    #[test]
    fn an_array_of_what_only_the_server_can_print_is_printed_whole() {
        let kind = TypeKind::Array { element: Box::new(builtin("regclass")) };
        let array = PgType {
            oid: 2210,
            schema: "pg_catalog".into(),
            name: "_regclass".into(),
            extension: None,
            kind,
        };
        assert_eq!(chosen(array, -1), Mapping::ServerText);
    }

    #[test]
    fn a_growing_numeric_keeps_its_decimal_only_while_it_fits() {
        let profile = NumericProfile { integer_digits: 5, scale: 2, specials: 0, values: 100 };
        let mapping = numeric_by_profile(profile);
        assert_eq!(mapping, Mapping::Decimal { precision: 38, scale: 2, display_scale: 2 });
        assert!(still_fits(&mapping, profile));
        assert!(!still_fits(&mapping, NumericProfile { scale: 3, ..profile }));
        assert!(!still_fits(&mapping, NumericProfile { specials: 2, ..profile }));
        assert_eq!(numeric_by_profile(NumericProfile { specials: 2, ..profile }), Mapping::NumericText);
    }
}

//! The Arrow type of every mapping. The Parquet types follow from these (and UUID, which `file::schema` adds).
//!
//! Every field is nullable: an array's elements and a composite's fields are in PostgreSQL.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};

use crate::codec::shape::PLACEHOLDER;
use crate::manifest::Mapping;

/// The zone that `timestamptz` columns carry.
pub(crate) const UTC: &str = "UTC";

/// Decimals of up to so many digits are 64-bit integers in memory, as they are in the file.
pub(super) const DIGITS_64: u8 = 18;

/// The Arrow type that holds a mapping's values.
pub fn arrow_type(mapping: &Mapping) -> DataType {
    match mapping {
        Mapping::Boolean => DataType::Boolean,
        Mapping::Int16 => DataType::Int16,
        Mapping::Int32 => DataType::Int32,
        Mapping::Int64 => DataType::Int64,
        Mapping::UInt32 => DataType::UInt32,
        Mapping::UInt64 => DataType::UInt64,
        Mapping::Float32 => DataType::Float32,
        Mapping::Float64 => DataType::Float64,
        Mapping::Decimal { precision, scale, .. } if *precision <= DIGITS_64 => {
            DataType::Decimal64(*precision, *scale as i8)
        }
        Mapping::Decimal { precision, scale, .. } => DataType::Decimal128(*precision, *scale as i8),
        Mapping::Money { fraction } => DataType::Decimal128(19, *fraction as i8),
        Mapping::Binary => DataType::Binary,
        Mapping::Uuid => DataType::FixedSizeBinary(16),
        Mapping::Date => DataType::Date32,
        Mapping::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Mapping::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        Mapping::Time => DataType::Time64(TimeUnit::Microsecond),
        Mapping::NumericText
        | Mapping::Utf8
        | Mapping::Bpchar { .. }
        | Mapping::Char
        | Mapping::VersionedText
        | Mapping::TimeTz
        | Mapping::Inet { .. }
        | Mapping::MacAddr { .. }
        | Mapping::BitString
        | Mapping::Tid
        | Mapping::ServerText => DataType::Utf8,
        Mapping::Interval
        | Mapping::Point
        | Mapping::Line
        | Mapping::Lseg
        | Mapping::Box
        | Mapping::Circle => structure(record(mapping).iter().map(|part| (part.name, part.mapping()))),
        nested => nested_type(nested),
    }
}

fn nested_type(mapping: &Mapping) -> DataType {
    let float = || DataType::Float32;
    match mapping {
        Mapping::Path => DataType::Struct(Fields::from(vec![
            field("closed", DataType::Boolean),
            field("points", list(arrow_type(&Mapping::Point))),
        ])),
        Mapping::Polygon => list(arrow_type(&Mapping::Point)),
        Mapping::Hstore => {
            let key = Field::new("key", DataType::Utf8, false);
            let entry = DataType::Struct(Fields::from(vec![Arc::new(key), field("value", DataType::Utf8)]));
            DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
        }
        Mapping::Vector | Mapping::HalfVector => list(float()),
        Mapping::SparseVector => DataType::Struct(Fields::from(vec![
            field("dim", DataType::Int32),
            field("indices", list(DataType::Int32)),
            field("values", list(float())),
        ])),
        Mapping::List { dimensions, element, .. } => {
            (0..(*dimensions).max(1)).fold(arrow_type(element), |inner, _| list(inner))
        }
        Mapping::Struct { fields } if fields.is_empty() => {
            DataType::Struct(Fields::from(vec![field(PLACEHOLDER, DataType::Boolean)]))
        }
        Mapping::Struct { fields } => {
            structure(fields.iter().map(|field| (field.name.as_str(), field.mapping.clone())))
        }
        Mapping::Range { bound } => structure(range_parts(bound)),
        Mapping::Multirange { bound } => list(structure(range_parts(bound))),
        _ => DataType::Null,
    }
}

/// The fields of a range.
pub(crate) fn range_parts(bound: &Mapping) -> [(&'static str, Mapping); 5] {
    [
        ("lower", bound.clone()),
        ("upper", bound.clone()),
        ("lower_inc", Mapping::Boolean),
        ("upper_inc", Mapping::Boolean),
        ("empty", Mapping::Boolean),
    ]
}

/// A field of a mapping whose wire form is a fixed row of numbers.
pub(crate) struct Part {
    /// Name in the STRUCT.
    pub(crate) name: &'static str,
    /// Offset on the wire.
    pub(crate) at: usize,
    /// Bytes: 8 is a double (or the interval's microseconds), 4 an `int4`.
    pub(crate) bytes: usize,
    float: bool,
}

impl Part {
    pub(crate) fn mapping(&self) -> Mapping {
        match (self.float, self.bytes) {
            (true, _) => Mapping::Float64,
            (false, 8) => Mapping::Int64,
            _ => Mapping::Int32,
        }
    }
}

const fn float(name: &'static str, at: usize) -> Part {
    Part { name, at, bytes: 8, float: true }
}

const INTERVAL: [Part; 3] = [
    Part { name: "months", at: 12, bytes: 4, float: false },
    Part { name: "days", at: 8, bytes: 4, float: false },
    Part { name: "micros", at: 0, bytes: 8, float: false },
];
const POINT: [Part; 2] = [float("x", 0), float("y", 8)];
const LINE: [Part; 3] = [float("a", 0), float("b", 8), float("c", 16)];
const CIRCLE: [Part; 3] = [float("x", 0), float("y", 8), float("r", 16)];
const CORNERS: [Part; 4] = [float("x1", 0), float("y1", 8), float("x2", 16), float("y2", 24)];

/// The parts of a fixed record, empty for other mappings.
pub(crate) fn record(mapping: &Mapping) -> &'static [Part] {
    match mapping {
        Mapping::Interval => &INTERVAL,
        Mapping::Point => &POINT,
        Mapping::Line => &LINE,
        Mapping::Circle => &CIRCLE,
        Mapping::Lseg | Mapping::Box => &CORNERS,
        _ => &[],
    }
}

/// Wire length of a fixed record.
pub(crate) fn record_width(mapping: &Mapping) -> usize {
    record(mapping).iter().map(|part| part.bytes).sum()
}

pub(crate) fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

/// A LIST as the Parquet specification spells it.
pub(crate) fn list(element: DataType) -> DataType {
    DataType::List(field("element", element))
}

fn structure<'a>(parts: impl IntoIterator<Item = (&'a str, Mapping)>) -> DataType {
    DataType::Struct(parts.into_iter().map(|(name, mapping)| field(name, arrow_type(&mapping))).collect())
}

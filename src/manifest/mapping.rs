//! [`Mapping`]: how one column travels, from its wire form in COPY to its Parquet type and back.
//!
//! It is decided once, in the plan, written into the manifest, and is all that the codec needs to know about a column.
//! What each variant looks like to an analyst stands in `docs/types.md`.

use serde::{Deserialize, Serialize};

/// How values of one PostgreSQL type are carried. "Exception" means: the value does not fit the natural Parquet type, so
/// the data column has NULL and the value's wire bytes stand in the exceptions sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "snake_case")]
pub enum Mapping {
    /// `bool` → BOOLEAN.
    Boolean,
    /// `int2` → INT32 (INT_16).
    Int16,
    /// `int4` → INT32.
    Int32,
    /// `int8` → INT64.
    Int64,
    /// `oid`, `xid`, `cid` → INT32 (UINT_32).
    UInt32,
    /// `xid8`, `pg_lsn` → INT64 (UINT_64).
    UInt64,
    /// `float4` → FLOAT, bits kept.
    Float32,
    /// `float8` → DOUBLE, bits kept.
    Float64,
    /// `numeric` → DECIMAL(precision, scale), 1 ≤ precision ≤ 38, 0 ≤ scale ≤ precision. NaN, ±Infinity and values that
    /// need more digits are exceptions.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
        /// The display scale of a value whose own is not in the sidecar: `scale` for most columns, 0 for a column
        /// declared with a negative scale, whose values are stored with trailing zeros.
        display_scale: u16,
    },
    /// `numeric` that no DECIMAL holds → STRING, the exact text of `numeric_out`, display scale included.
    NumericText,
    /// `money` → DECIMAL(19, fraction); `fraction` is the number of digits `lc_monetary` puts after the point.
    Money {
        /// Digits after the point.
        fraction: u8,
    },
    /// The wire form is text: `text`, `varchar`, `name`, `citext`, `json`, `xml`, enums → STRING. Bytes that are no
    /// valid UTF-8 (SQL_ASCII databases) are exceptions.
    Utf8,
    /// `char(n)` → STRING without the padding, which is put back on the way home; `None` (`bpchar`) keeps every blank.
    Bpchar {
        /// The declared length in characters.
        length: Option<u32>,
    },
    /// `"char"` → STRING as its output function prints it (`''`, one ASCII character, or `\ooo`).
    Char,
    /// `bytea`, and types kept as their raw wire bytes → BYTE_ARRAY.
    Binary,
    /// `uuid` → FIXED_LEN_BYTE_ARRAY(16), UUID.
    Uuid,
    /// One version byte 0x01, then text: `jsonb`, `jsonpath`, `ltree`, `lquery`, `ltxtquery` → STRING.
    VersionedText,
    /// `date` → DATE; infinity is `i32::MAX`, -infinity `-i32::MAX`.
    Date,
    /// `timestamp` → TIMESTAMP(MICROS), not adjusted to UTC; infinity is `i64::MAX`, -infinity `-i64::MAX`, what
    /// overflows microseconds since 1970 is an exception.
    Timestamp,
    /// `timestamptz` → TIMESTAMP(MICROS), adjusted to UTC; otherwise as `timestamp`.
    TimestampTz,
    /// `time` → TIME(MICROS); 24:00:00, which readers disagree on, is an exception.
    Time,
    /// `timetz` → STRING, `10:00:00+02`, with microseconds and offset seconds where they are not zero.
    TimeTz,
    /// `interval` → STRUCT{months INT32, days INT32, micros INT64}.
    Interval,
    /// `inet` and `cidr` → STRING as the output function prints it.
    Inet {
        /// True for `cidr`, which always prints its mask.
        cidr: bool,
    },
    /// `macaddr` (6 bytes) and `macaddr8` (8 bytes) → STRING.
    MacAddr {
        /// 6 or 8.
        bytes: u8,
    },
    /// `bit`, `varbit` → STRING of 0 and 1.
    BitString,
    /// `tid` → STRING, `(block,offset)`.
    Tid,
    /// `point` → STRUCT{x, y}.
    Point,
    /// `line` → STRUCT{a, b, c}.
    Line,
    /// `lseg` → STRUCT{x1, y1, x2, y2}.
    Lseg,
    /// `box` → STRUCT{x1, y1, x2, y2}, in the order of the wire (upper right first).
    Box,
    /// `path` → STRUCT{closed BOOLEAN, points `LIST<STRUCT{x, y}>`}.
    Path,
    /// `polygon` → `LIST<STRUCT{x, y}>`.
    Polygon,
    /// `circle` → STRUCT{x, y, r}.
    Circle,
    /// `hstore` → `MAP<STRING, nullable STRING>`, pairs in the order of the wire.
    Hstore,
    /// pgvector's `vector` → `LIST<FLOAT>`.
    Vector,
    /// pgvector's `halfvec` → `LIST<FLOAT>` (every half is a float).
    HalfVector,
    /// pgvector's `sparsevec` → STRUCT{dim INT32, indices `LIST<INT32>`, values `LIST<FLOAT>`}; indices as on the wire.
    SparseVector,
    /// An array whose values have `dimensions` dimensions (1 or more), each starting at `lower_bound` → LIST nested
    /// `dimensions` deep. The empty array is the empty list. Arrays of another shape are exceptions.
    List {
        /// Depth of nesting.
        dimensions: u8,
        /// 1. `int2vector` and `oidvector`, which begin at 0, are carried as text.
        lower_bound: i32,
        /// The element's type OID as it stands in canonical wire bytes: 0 where it is 10000 or above (see `canonical_oid`).
        element_oid: u32,
        /// How an element is carried.
        element: std::boxed::Box<Mapping>,
    },
    /// A composite type → STRUCT, one field per attribute that is not dropped.
    Struct {
        /// Attributes in order.
        fields: Vec<StructField>,
    },
    /// A range → STRUCT{lower, upper, lower_inc, upper_inc, empty}; a missing bound is NULL, the empty range has
    /// `empty` true and both bounds NULL.
    Range {
        /// How a bound is carried.
        bound: std::boxed::Box<Mapping>,
    },
    /// A multirange → LIST of the STRUCT of its range.
    Multirange {
        /// How a bound is carried.
        bound: std::boxed::Box<Mapping>,
    },
    /// The server's own text (its output function) → STRING; restored through the input function. For types that have no
    /// binary form, whose binary form is not portable (`regclass`: an OID), or that barkeep does not know.
    ServerText,
}

/// One attribute of a composite type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StructField {
    /// Its name.
    pub name: String,
    /// Its type's OID in canonical wire bytes (see [`canonical_oid`]).
    pub oid: u32,
    /// How it is carried.
    pub mapping: Mapping,
}

/// First OID that `initdb` gives out by itself. From here on an OID means something else on every server (16384 and up
/// are user objects, 10000 to 16383 shift between versions), so canonical bytes have 0 in its place. PostgreSQL 14 and
/// later accept 0 there: `array_recv` and `record_recv` insist on a match only between two OIDs below this one.
pub const FIRST_UNSTABLE_OID: u32 = 10_000;

/// The OID that stands in canonical wire bytes for a type's `oid`.
pub const fn canonical_oid(oid: u32) -> u32 {
    if oid < FIRST_UNSTABLE_OID { oid } else { 0 }
}

impl Mapping {
    /// Whether equal bytes are equal values where one side is carried by `self` and the other by `other`.
    pub fn has_wire_form_of(&self, other: &Mapping) -> bool {
        use Mapping::{Bpchar, Decimal, List, Multirange, NumericText, Range, Utf8};
        match (self, other) {
            (Decimal { .. } | NumericText, Decimal { .. } | NumericText) => true,
            (Utf8 | Bpchar { .. }, Utf8 | Bpchar { .. }) => true,
            (
                List { element_oid: one, element, .. },
                List { element_oid: other, element: other_element, .. },
            ) => one == other && element.has_wire_form_of(other_element),
            (Range { bound }, Range { bound: other })
            | (Multirange { bound }, Multirange { bound: other }) => bound.has_wire_form_of(other),
            _ => self == other,
        }
    }

    /// Whether it is an integer with a sign, of two, four or eight bytes.
    pub fn is_integer(&self) -> bool {
        matches!(self, Mapping::Int16 | Mapping::Int32 | Mapping::Int64)
    }

    /// Whether wire bytes as the server sends them may differ from the canonical ones, so that a row with such a column
    /// has to be rewritten before it is hashed: arrays (their has-null flag is a leftover of the value's history, and
    /// they carry OIDs) and composites (OIDs).
    pub fn needs_canonicalising(&self) -> bool {
        match self {
            Mapping::List { .. } => true,
            Mapping::Struct { .. } => true,
            Mapping::Range { bound } | Mapping::Multirange { bound } => bound.needs_canonicalising(),
            _ => false,
        }
    }
}

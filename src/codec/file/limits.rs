//! [`Limits`]: what a file may ask for, by its table's shape and the manifest's byte count, before any of it is decoded.
//!
//! They are wide on purpose: a limit that an honest piece can reach would make a backup unreadable.

use super::reader::PieceBounds;
use crate::codec::copy::MAX_TUPLE;
use crate::codec::shape::PieceShape;
use crate::manifest::Mapping;

/// How much larger than its wire form a value may get in Parquet: a bit string has a byte a bit, the empty range a few
/// bytes for each of its five fields.
const EXPANSION: u64 = 16;

/// A numeric of ten bytes can have 131 072 digits before the point.
const TEXT_EXPANSION: u64 = 16_384;

/// Headers of pages and dictionaries that even an empty column may have.
const COLUMN_OVERHEAD: u64 = 1 << 20;

/// A page holds at most a batch of the writer's and one more row.
const LARGEST_PAGE: u64 = MAX_TUPLE as u64 + (64 << 20);

/// What the format allows: an array whose elements are longer in print than on the wire has no other bound.
const LONGEST_PAGE: u64 = i32::MAX as u64;

/// What one file may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// All columns, uncompressed.
    pub(super) uncompressed: u64,
    /// One page, uncompressed.
    pub(super) page: u64,
    /// Elements of all lists of a column, beyond one value a row.
    pub(super) elements: u64,
}

impl Limits {
    /// Those of a piece.
    pub(super) fn of_piece(shape: &PieceShape, bounds: PieceBounds) -> Self {
        let any =
            |test: fn(&Mapping) -> bool| shape.columns.iter().any(|column| anywhere(&column.mapping, test));
        let digits = any(|mapping| matches!(mapping, Mapping::NumericText));
        let expansion = if digits { TEXT_EXPANSION } else { EXPANSION };
        let columns = shape.columns.len() as u64 + 1;
        let overhead = columns.saturating_mul(COLUMN_OVERHEAD);
        let halves = any(|mapping| matches!(mapping, Mapping::HalfVector));
        let grown = shape.columns.iter().any(|column| grows(&column.mapping));
        Self {
            uncompressed: bounds.copy_bytes.saturating_mul(expansion).saturating_add(overhead),
            page: if grown { LONGEST_PAGE } else { LARGEST_PAGE },
            // An element has its length in four bytes, NULL or not; only pgvector's halves have two and no length.
            elements: bounds.copy_bytes / if halves { 2 } else { 4 },
        }
    }

    /// Those of its sidecar, which has wire bytes and no lists.
    pub(super) fn of_sidecar(self) -> Self {
        Self { page: LARGEST_PAGE, elements: 0, ..self }
    }
}

/// Whether `test` holds for the mapping or one inside it.
fn anywhere(mapping: &Mapping, test: fn(&Mapping) -> bool) -> bool {
    test(mapping) || inside(mapping).into_iter().any(|inner| anywhere(inner, test))
}

/// Whether one value can be much larger in the file than on the wire: something printed, any number of times.
fn grows(mapping: &Mapping) -> bool {
    let printed = |mapping: &Mapping| {
        matches!(
            mapping,
            Mapping::NumericText
                | Mapping::BitString
                | Mapping::Inet { .. }
                | Mapping::MacAddr { .. }
                | Mapping::TimeTz
                | Mapping::Tid
                | Mapping::Char
                | Mapping::Bpchar { .. }
        )
    };
    inside(mapping).into_iter().any(|inner| anywhere(inner, printed))
}

fn inside(mapping: &Mapping) -> Vec<&Mapping> {
    match mapping {
        Mapping::List { element, .. } => vec![element],
        Mapping::Struct { fields } => fields.iter().map(|field| &field.mapping).collect(),
        Mapping::Range { bound } | Mapping::Multirange { bound } => vec![bound],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::shape::ColumnShape;

    fn limits(mapping: Mapping) -> Limits {
        let column = ColumnShape { name: "c".into(), mapping, derived: false };
        let shape = PieceShape { columns: vec![column], metadata: String::new(), clustered_by: Vec::new() };
        Limits::of_piece(&shape, PieceBounds { rows: 1, copy_bytes: 1000 })
    }

    fn list(element: Mapping) -> Mapping {
        Mapping::List { dimensions: 1, lower_bound: 1, element_oid: 0, element: Box::new(element) }
    }

    #[test]
    fn only_what_grows_in_print_gets_more_room() {
        assert_eq!(limits(Mapping::Binary).page, LARGEST_PAGE);
        assert_eq!(limits(Mapping::BitString).page, LARGEST_PAGE);
        assert_eq!(limits(list(Mapping::Utf8)).page, LARGEST_PAGE);
        assert_eq!(limits(list(Mapping::BitString)).page, LONGEST_PAGE);
        assert_eq!(limits(Mapping::Range { bound: Box::new(Mapping::NumericText) }).page, LONGEST_PAGE);
        assert_eq!(limits(list(Mapping::Int32)).uncompressed, 16_000 + (2 << 20));
        assert_eq!(limits(list(Mapping::NumericText)).uncompressed, 16_384_000 + (2 << 20));
        assert_eq!((limits(list(Mapping::Int32)).elements, limits(Mapping::HalfVector).elements), (250, 500));
    }
}

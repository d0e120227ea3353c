//! [`Bounds`]: the smallest and the largest value of a page or of a chunk, and how Parquet's statistics state them.
//!
//! The rules are the Parquet crate's: long texts are cut, the largest so that it stays above all that it stands for.

use parquet::basic::{BoundaryOrder, ConvertedType, LogicalType, Type};
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescriptor;

/// Values of one type, all of one variant; `None` until there is one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Bounds {
    #[default]
    None,
    Numbers(i64, i64),
    Decimals(i128, i128),
    Bytes(Vec<u8>, Vec<u8>),
}

impl Bounds {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }

    pub(super) fn take_numbers(&mut self, extremes: Option<(i64, i64)>) {
        let Some((least, most)) = extremes else { return };
        match self {
            Self::Numbers(lowest, highest) => {
                (*lowest, *highest) = ((*lowest).min(least), (*highest).max(most));
            }
            other => *other = Self::Numbers(least, most),
        }
    }

    #[inline]
    pub(super) fn take_decimal(&mut self, value: i128) {
        match self {
            Self::Decimals(lowest, highest) => {
                (*lowest, *highest) = ((*lowest).min(value), (*highest).max(value));
            }
            other => *other = Self::Decimals(value, value),
        }
    }

    #[inline]
    pub(super) fn take_bytes(&mut self, value: &[u8]) {
        match self {
            Self::Bytes(lowest, highest) => {
                if value < lowest.as_slice() {
                    value.clone_into(lowest);
                } else if value > highest.as_slice() {
                    value.clone_into(highest);
                }
            }
            other => *other = Self::Bytes(value.to_vec(), value.to_vec()),
        }
    }

    pub(super) fn take(&mut self, other: &Self) {
        match other {
            Self::None => {}
            Self::Numbers(least, most) => self.take_numbers(Some((*least, *most))),
            Self::Decimals(least, most) => [least, most].iter().for_each(|value| self.take_decimal(**value)),
            Self::Bytes(least, most) => [least, most].iter().for_each(|value| self.take_bytes(value)),
        }
    }

    /// Whether neither bound is below, or neither above, those of another page.
    fn order_after(&self, other: &Self) -> (bool, bool) {
        fn order<T: PartialOrd>(this: [&T; 2], other: [&T; 2]) -> (bool, bool) {
            (this[0] >= other[0] && this[1] >= other[1], this[0] <= other[0] && this[1] <= other[1])
        }
        match (self, other) {
            (Self::Numbers(a, b), Self::Numbers(c, d)) => order([a, b], [c, d]),
            (Self::Decimals(a, b), Self::Decimals(c, d)) => order([a, b], [c, d]),
            (Self::Bytes(a, b), Self::Bytes(c, d)) => order([a, b], [c, d]),
            _ => (true, true),
        }
    }

    /// Both as Parquet stores them, whole.
    fn stored(&self, column: &ColumnDescriptor) -> Option<(Vec<u8>, Vec<u8>)> {
        let number = |value: i64| match column.physical_type() {
            Type::INT32 => (value as i32).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        let width = usize::try_from(column.type_length()).unwrap_or(0).min(size_of::<i128>());
        let decimal = |value: i128| value.to_be_bytes()[size_of::<i128>() - width..].to_vec();
        match self {
            Self::None => None,
            Self::Numbers(least, most) => Some((number(*least), number(*most))),
            Self::Decimals(least, most) => Some((decimal(*least), decimal(*most))),
            Self::Bytes(least, most) => Some((least.clone(), most.clone())),
        }
    }

    /// Both as the column index has them, texts in no more than so many bytes; nothing where there are none.
    pub(super) fn indexed(&self, column: &ColumnDescriptor, most_bytes: Option<usize>) -> (Vec<u8>, Vec<u8>) {
        let Some((least, most)) = self.stored(column) else { return (Vec::new(), Vec::new()) };
        match self {
            Self::Bytes(..) => (cut(least, most_bytes, column).0, cut_above(most, most_bytes, column).0),
            _ => (least, most),
        }
    }

    /// A chunk's statistics.
    pub(super) fn statistics(
        &self,
        column: &ColumnDescriptor,
        nulls: u64,
        most_bytes: Option<usize>,
    ) -> Statistics {
        let signed = column.sort_order().is_signed();
        let nulls = Some(nulls);
        let (least, most) = match self {
            Self::Numbers(least, most) => (Some(*least), Some(*most)),
            _ => (None, None),
        };
        match column.physical_type() {
            Type::INT32 => {
                let (least, most) = (least.map(|bound| bound as i32), most.map(|bound| bound as i32));
                ValueStatistics::new(least, most, None, nulls, false)
                    .with_backwards_compatible_min_max(signed)
                    .into()
            }
            Type::INT64 => ValueStatistics::new(least, most, None, nulls, false)
                .with_backwards_compatible_min_max(signed)
                .into(),
            physical => {
                let cut_bounds = self.stored(column).map(|(least, most)| match self {
                    Self::Bytes(..) => (cut(least, most_bytes, column), cut_above(most, most_bytes, column)),
                    _ => ((least, false), (most, false)),
                });
                let ((least, least_cut), (most, most_cut)) = match cut_bounds {
                    Some(((least, least_cut), (most, most_cut))) => {
                        ((Some(ByteArray::from(least)), least_cut), (Some(ByteArray::from(most)), most_cut))
                    }
                    None => ((None, false), (None, false)),
                };
                if physical == Type::BYTE_ARRAY {
                    ValueStatistics::new(least, most, None, nulls, false)
                        .with_backwards_compatible_min_max(signed)
                        .with_min_is_exact(!least_cut)
                        .with_max_is_exact(!most_cut)
                        .into()
                } else {
                    let (least, most) =
                        (least.map(FixedLenByteArray::from), most.map(FixedLenByteArray::from));
                    ValueStatistics::new(least, most, None, nulls, false)
                        .with_backwards_compatible_min_max(signed)
                        .with_min_is_exact(!least_cut)
                        .with_max_is_exact(!most_cut)
                        .into()
                }
            }
        }
    }
}

fn is_utf8(column: &ColumnDescriptor) -> bool {
    column.logical_type_ref() == Some(&LogicalType::String) || column.converted_type() == ConvertedType::UTF8
}

/// A value in at most so many bytes, which is not above it, and whether it was cut. A text stays one.
fn cut(value: Vec<u8>, most_bytes: Option<usize>, column: &ColumnDescriptor) -> (Vec<u8>, bool) {
    let Some(length) = most_bytes.filter(|length| value.len() > *length) else { return (value, false) };
    let cut = match std::str::from_utf8(&value) {
        Ok(text) if is_utf8(column) => {
            let end = (1..=length).rfind(|at| text.is_char_boundary(*at));
            end.map(|end| value[..end].to_vec())
        }
        _ => Some(value[..length].to_vec()),
    };
    match cut {
        Some(cut) => (cut, true),
        None => (value, false),
    }
}

/// The same, but not below it: its last byte or character that can be is counted up.
fn cut_above(value: Vec<u8>, most_bytes: Option<usize>, column: &ColumnDescriptor) -> (Vec<u8>, bool) {
    let Some(length) = most_bytes.filter(|length| value.len() > *length) else { return (value, false) };
    let cut = match std::str::from_utf8(&value) {
        Ok(text) if is_utf8(column) => {
            let end = (length.saturating_sub(3)..=length).rfind(|at| text.is_char_boundary(*at));
            end.and_then(|end| counted_up_text(&text[..end]))
        }
        _ => counted_up(value[..length].to_vec()),
    };
    match cut {
        Some(cut) => (cut, true),
        None => (value, false),
    }
}

/// Characters keep their length in bytes.
fn counted_up_text(text: &str) -> Option<Vec<u8>> {
    text.char_indices().rev().find_map(|(at, last)| {
        let next = char::from_u32(last as u32 + 1).filter(|next| next.len_utf8() == last.len_utf8())?;
        let mut bytes = text.as_bytes()[..at].to_vec();
        bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
        Some(bytes)
    })
}

fn counted_up(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(bytes);
        }
    }
    None
}

/// Whether the bounds of pages only grow, or only fall.
pub(super) struct Boundaries {
    ascending: bool,
    descending: bool,
    last: Bounds,
}

impl Default for Boundaries {
    fn default() -> Self {
        Self { ascending: true, descending: true, last: Bounds::None }
    }
}

impl Boundaries {
    pub(super) fn add(&mut self, page: &Bounds) {
        if page.is_none() {
            return;
        }
        let (ascending, descending) = page.order_after(&self.last);
        self.ascending &= ascending;
        self.descending &= descending;
        self.last = page.clone();
    }

    pub(super) fn order(&self) -> BoundaryOrder {
        match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        }
    }
}

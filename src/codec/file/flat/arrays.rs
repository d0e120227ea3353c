//! [`Flat`]: the values of an array without nested ones, as they lie in memory.

use std::ops::Range;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array, new_empty_array};
use arrow_schema::{DataType, TimeUnit};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::schema::types::ColumnDescriptor;

use super::bounds::Bounds;

/// Values that are compared side by side.
const LANES: usize = 4;

/// An array's memory, as Parquet stores it or nearly so.
#[derive(Clone, Copy)]
pub(super) enum Flat<'a> {
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    /// Where each value ends and the next one begins, and the bytes of all.
    Texts(&'a [i32], &'a [u8]),
    /// Big-endian in so many bytes.
    Decimals(&'a [i128], usize),
    /// So many bytes each.
    Fixed(&'a [u8], usize),
}

impl<'a> Flat<'a> {
    pub(super) fn of(array: &'a dyn Array, column: &ColumnDescriptor) -> Option<Self> {
        let width = usize::try_from(column.type_length()).unwrap_or(0);
        Some(match array.data_type() {
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Self::Int32(array.as_primitive::<Date32Type>().values()),
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Int64(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Self::Int64(array.as_primitive::<Time64MicrosecondType>().values())
            }
            DataType::Float32 => Self::Float32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Self::Float64(array.as_primitive::<Float64Type>().values()),
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                Self::Texts(texts.value_offsets(), texts.value_data())
            }
            DataType::Binary => {
                let texts = array.as_binary::<i32>();
                Self::Texts(texts.value_offsets(), texts.value_data())
            }
            DataType::Decimal128(..) => {
                Self::Decimals(array.as_primitive::<Decimal128Type>().values(), width)
            }
            DataType::FixedSizeBinary(bytes) if usize::try_from(*bytes).is_ok_and(|bytes| bytes == width) => {
                Self::Fixed(array.as_fixed_size_binary().value_data(), width)
            }
            _ => return None,
        })
    }

    /// Whether the column stores what arrays of this type have, in the order in which they are compared here.
    pub(super) fn is_stored(data_type: &DataType, column: &ColumnDescriptor) -> bool {
        let plain = column.converted_type() == ConvertedType::NONE;
        let empty = new_empty_array(data_type);
        let physical = match Flat::of(&empty, column) {
            Some(Flat::Int32(_)) => Type::INT32,
            Some(Flat::Int64(_)) => Type::INT64,
            Some(Flat::Float32(_)) => Type::FLOAT,
            Some(Flat::Float64(_)) => Type::DOUBLE,
            Some(Flat::Texts(..)) if plain || column.converted_type() == ConvertedType::UTF8 => {
                Type::BYTE_ARRAY
            }
            Some(Flat::Decimals(..)) => Type::FIXED_LEN_BYTE_ARRAY,
            Some(Flat::Fixed(..))
                if plain && matches!(column.logical_type_ref(), None | Some(LogicalType::Uuid)) =>
            {
                Type::FIXED_LEN_BYTE_ARRAY
            }
            _ => return false,
        };
        column.physical_type() == physical
    }

    /// Takes the smallest and the largest of these values into `bounds`. Floats have none.
    pub(super) fn bound(self, rows: Range<usize>, bounds: &mut Bounds) {
        match self {
            Self::Int32(values) => bounds.take_numbers(extremes(&values[rows])),
            Self::Int64(values) => bounds.take_numbers(extremes(&values[rows])),
            Self::Decimals(values, _) => {
                values[rows].iter().for_each(|value| bounds.take_decimal(*value));
            }
            Self::Texts(ends, bytes) => {
                let ends = &ends[rows.start..=rows.end];
                ends.windows(2)
                    .for_each(|ends| bounds.take_bytes(&bytes[ends[0] as usize..ends[1] as usize]));
            }
            Self::Fixed(bytes, width) => {
                let bytes = &bytes[rows.start * width..rows.end * width];
                bytes.chunks_exact(width.max(1)).for_each(|value| bounds.take_bytes(value));
            }
            Self::Float32(_) | Self::Float64(_) => {}
        }
    }
}

/// The smallest and the largest value, four side by side: one comparison would wait for another.
fn extremes<T: Copy + Ord + Into<i64>>(values: &[T]) -> Option<(i64, i64)> {
    let first = *values.first()?;
    let (mut least, mut most) = ([first; LANES], [first; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            least[lane] = least[lane].min(chunk[lane]);
            most[lane] = most[lane].max(chunk[lane]);
        }
    }
    let least = least.iter().chain(rest).min()?;
    let most = most.iter().chain(rest).max()?;
    Some(((*least).into(), (*most).into()))
}

//! [`ColumnEncoder`]: one Arrow array → the wire values it was built from.
//!
//! The array may come from a file that somebody forged: everything that barkeep never writes is an error here. It does
//! not know about exceptions; the reader overlays them.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{Array, BinaryArray, BooleanArray, FixedSizeBinaryArray, StringArray};
use arrow_buffer::NullBuffer;

use super::printed::Form;
use super::types::{DIGITS_64, range_parts, record};
use super::{arrow_type, half, nested, numeric, scalar};
use crate::codec::CodecError;
use crate::manifest::Mapping;

/// The values of one array, ready to be written as wire bytes.
pub struct ColumnEncoder<'a> {
    nulls: Option<&'a NullBuffer>,
    length: usize,
    source: Source<'a>,
}

enum Source<'a> {
    Boolean(&'a BooleanArray),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal64 { values: &'a [i64], precision: u8, scale: u8, display_scale: u16 },
    Decimal { values: &'a [i128], precision: u8, scale: u8, display_scale: u16 },
    Utf8(&'a StringArray),
    Timestamp(&'a [i64]),
    Date(&'a [i32]),
    Time(&'a [i64]),
    Money(&'a [i128]),
    Uuid(&'a FixedSizeBinaryArray),
    Binary(&'a BinaryArray),
    Printed(Form, &'a StringArray),
    Nested { mapping: &'a Mapping, children: Vec<ColumnEncoder<'a>>, levels: Vec<Level<'a>> },
}

/// One level of lists: offsets into the next level's values, and which lists are NULL.
#[derive(Clone, Copy)]
struct Level<'a> {
    offsets: &'a [i32],
    nulls: Option<&'a NullBuffer>,
}

impl Level<'_> {
    fn items(&self, row: usize) -> std::ops::Range<usize> {
        // Arrow has checked that offsets grow and stay inside the values.
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

impl<'a> ColumnEncoder<'a> {
    /// Looks at `array` as values of `mapping`.
    pub fn bind(mapping: &'a Mapping, array: &'a dyn Array) -> Result<Self, CodecError> {
        let expected = arrow_type(mapping);
        if *array.data_type() != expected {
            let (expected, found) = (expected.to_string(), array.data_type().to_string());
            return Err(CodecError::Type { expected, found });
        }
        let source = if let Some(form) = Form::of(mapping) {
            Source::Printed(form, array.as_string())
        } else {
            Self::scalar(mapping, array).map_or_else(|| Self::nested(mapping, array), Ok)?
        };
        Ok(Self { nulls: array.nulls(), length: array.len(), source })
    }

    fn scalar(mapping: &Mapping, array: &'a dyn Array) -> Option<Source<'a>> {
        Some(match mapping {
            Mapping::Boolean => Source::Boolean(array.as_boolean()),
            Mapping::Int16 => Source::Int16(array.as_primitive::<Int16Type>().values()),
            Mapping::Int32 => Source::Int32(array.as_primitive::<Int32Type>().values()),
            Mapping::Int64 => Source::Int64(array.as_primitive::<Int64Type>().values()),
            Mapping::UInt32 => Source::UInt32(array.as_primitive::<UInt32Type>().values()),
            Mapping::UInt64 => Source::UInt64(array.as_primitive::<UInt64Type>().values()),
            Mapping::Float32 => Source::Float32(array.as_primitive::<Float32Type>().values()),
            Mapping::Float64 => Source::Float64(array.as_primitive::<Float64Type>().values()),
            &Mapping::Decimal { precision, scale, display_scale } if precision <= DIGITS_64 => {
                let values = array.as_primitive::<Decimal64Type>().values();
                Source::Decimal64 { values, precision, scale, display_scale }
            }
            &Mapping::Decimal { precision, scale, display_scale } => {
                let values = array.as_primitive::<Decimal128Type>().values();
                Source::Decimal { values, precision, scale, display_scale }
            }
            Mapping::Money { .. } => Source::Money(array.as_primitive::<Decimal128Type>().values()),
            Mapping::Utf8 | Mapping::ServerText | Mapping::Bpchar { .. } => Source::Utf8(array.as_string()),
            Mapping::Timestamp | Mapping::TimestampTz => {
                Source::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            Mapping::Date => Source::Date(array.as_primitive::<Date32Type>().values()),
            Mapping::Time => Source::Time(array.as_primitive::<Time64MicrosecondType>().values()),
            Mapping::Uuid => Source::Uuid(array.as_fixed_size_binary()),
            Mapping::Binary => Source::Binary(array.as_binary()),
            _ => return None,
        })
    }

    fn nested(mapping: &'a Mapping, array: &'a dyn Array) -> Result<Source<'a>, CodecError> {
        let mut levels = Vec::new();
        let mut children = Vec::new();
        let mut child = |mapping: &'a Mapping, array: &'a dyn Array| -> Result<(), CodecError> {
            children.push(ColumnEncoder::bind(mapping, array)?);
            Ok(())
        };
        match mapping {
            Mapping::Path => {
                let columns = array.as_struct().columns();
                child(&Mapping::Boolean, &*columns[0])?;
                child(&Mapping::Point, list(&*columns[1], &mut levels))?;
            }
            Mapping::Polygon => child(&Mapping::Point, list(array, &mut levels))?,
            Mapping::Hstore => {
                let map = array.as_map();
                levels.push(Level { offsets: map.value_offsets(), nulls: None });
                child(&Mapping::Utf8, &**map.keys())?;
                child(&Mapping::Utf8, &**map.values())?;
            }
            Mapping::Vector | Mapping::HalfVector => child(&Mapping::Float32, list(array, &mut levels))?,
            Mapping::SparseVector => {
                let columns = array.as_struct().columns();
                child(&Mapping::Int32, &*columns[0])?;
                child(&Mapping::Int32, list(&*columns[1], &mut levels))?;
                child(&Mapping::Float32, list(&*columns[2], &mut levels))?;
            }
            Mapping::List { dimensions, element, .. } => {
                let values = (0..(*dimensions).max(1)).fold(array, |array, _| list(array, &mut levels));
                child(element, values)?;
            }
            Mapping::Struct { fields } => {
                for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                    child(&field.mapping, &**column)?;
                }
            }
            Mapping::Range { bound } => bind_range(bound, array, &mut child)?,
            Mapping::Multirange { bound } => bind_range(bound, list(array, &mut levels), &mut child)?,
            records => {
                for (part, column) in record(records).iter().zip(array.as_struct().columns()) {
                    let mapping = match part.mapping() {
                        Mapping::Float64 => &Mapping::Float64,
                        Mapping::Int64 => &Mapping::Int64,
                        _ => &Mapping::Int32,
                    };
                    child(mapping, &**column)?;
                }
            }
        }
        Ok(Source::Nested { mapping, children, levels })
    }

    /// Values in the array.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether the value at `row` is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Writes the value at `row` as a field: its length (i32, -1 for NULL) and bytes. `display_scale` is that of the
    /// sidecar, for a `Decimal` whose value has its own.
    #[inline]
    pub fn put(&self, row: usize, display_scale: Option<u16>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if self.is_null(row) {
            out.extend_from_slice(&[0xff; 4]);
            return Ok(());
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        self.put_value(row, display_scale, out)?;
        patch_length(out, start)
    }

    /// A part of a nested value that barkeep never stores as NULL.
    fn put_present(&self, row: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if self.is_null(row) {
            return Err(CodecError::Stored("no NULL inside such a value"));
        }
        self.put_value(row, None, out)
    }

    #[inline]
    fn put_value(&self, row: usize, display_scale: Option<u16>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match &self.source {
            Source::Decimal64 { values, precision, scale, display_scale: own } => {
                let value = values[row];
                if u128::from(value.unsigned_abs()) >= numeric::POW10[usize::from(*precision).min(38)] {
                    return Err(CodecError::Stored("a decimal of its precision"));
                }
                numeric::put_scaled(i128::from(value), *scale, display_scale.unwrap_or(*own), out);
            }
            Source::Decimal { values, precision, scale, display_scale: own } => {
                let value = values[row];
                if value.unsigned_abs() >= numeric::POW10[usize::from(*precision).min(38)] {
                    return Err(CodecError::Stored("a decimal of its precision"));
                }
                numeric::put_scaled(value, *scale, display_scale.unwrap_or(*own), out);
            }
            Source::Timestamp(values) => {
                let micros = scalar::wire_timestamp(values[row]).ok_or(CodecError::Stored("a timestamp"))?;
                out.extend_from_slice(&micros.to_be_bytes());
            }
            Source::Utf8(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
            Source::Int64(values) | Source::Time(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Source::Int32(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Source::Float64(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Source::Boolean(bits) => out.push(u8::from(bits.value(row))),
            Source::Int16(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Source::UInt32(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Source::UInt64(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Source::Float32(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Source::Date(values) => {
                let days = scalar::wire_date(values[row]).ok_or(CodecError::Stored("a date"))?;
                out.extend_from_slice(&days.to_be_bytes());
            }
            Source::Money(values) => {
                let amount =
                    i64::try_from(values[row]).map_err(|_| CodecError::Stored("an amount of money"))?;
                out.extend_from_slice(&amount.to_be_bytes());
            }
            Source::Uuid(values) => out.extend_from_slice(values.value(row)),
            Source::Binary(values) => out.extend_from_slice(values.value(row)),
            Source::Printed(form, texts) => {
                if !form.parse(texts.value(row), out) {
                    return Err(CodecError::Stored("a text of its type"));
                }
            }
            Source::Nested { mapping, children, levels } => put_nested(mapping, children, levels, row, out)?,
        }
        Ok(())
    }
}

fn patch_length(out: &mut [u8], start: usize) -> Result<(), CodecError> {
    let bytes = out.len() - start - 4;
    let length = i32::try_from(bytes).map_err(|_| CodecError::TooLarge {
        what: "a value",
        bytes: bytes as u64,
        bound: i32::MAX as u64,
    })?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Goes one list level down.
fn list<'a>(array: &'a dyn Array, levels: &mut Vec<Level<'a>>) -> &'a dyn Array {
    let list = array.as_list::<i32>();
    levels.push(Level { offsets: list.value_offsets(), nulls: list.nulls() });
    &**list.values()
}

fn bind_range<'a>(
    bound: &'a Mapping,
    array: &'a dyn Array,
    child: &mut dyn FnMut(&'a Mapping, &'a dyn Array) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    debug_assert_eq!(range_parts(bound).len(), array.as_struct().num_columns());
    for (at, column) in array.as_struct().columns().iter().enumerate() {
        child(if at < 2 { bound } else { &Mapping::Boolean }, &**column)?;
    }
    Ok(())
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(count as i32).to_be_bytes());
}

fn put_nested(
    mapping: &Mapping,
    children: &[ColumnEncoder<'_>],
    levels: &[Level<'_>],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    match mapping {
        Mapping::Path | Mapping::Polygon => {
            if let Mapping::Path = mapping {
                children[0].put_present(row, out)?;
                refuse_null(levels[0], row)?;
            }
            let items = levels[0].items(row);
            put_count(items.len(), out);
            let points = &children[children.len() - 1];
            items.into_iter().try_for_each(|item| points.put_present(item, out))
        }
        Mapping::Hstore => {
            let items = levels[0].items(row);
            put_count(items.len(), out);
            for item in items {
                children[0].put(item, None, out)?;
                children[1].put(item, None, out)?;
            }
            Ok(())
        }
        Mapping::Vector | Mapping::HalfVector => put_vector(mapping, &children[0], levels[0].items(row), out),
        Mapping::SparseVector => put_sparse(children, levels, row, out),
        Mapping::List { lower_bound, element_oid, .. } => {
            put_array(*lower_bound, *element_oid, &children[0], levels, row, out)
        }
        Mapping::Struct { fields } => {
            put_count(fields.len(), out);
            for (field, child) in fields.iter().zip(children) {
                out.extend_from_slice(&field.oid.to_be_bytes());
                child.put(row, None, out)?;
            }
            Ok(())
        }
        Mapping::Range { .. } => put_range(children, row, out),
        Mapping::Multirange { .. } => {
            let items = levels[0].items(row);
            put_count(items.len(), out);
            for item in items {
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                put_range(children, item, out)?;
                patch_length(out, start)?;
            }
            Ok(())
        }
        records => put_record(records, children, row, out),
    }
}

fn put_sparse(
    children: &[ColumnEncoder<'_>],
    levels: &[Level<'_>],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    refuse_null(levels[0], row)?;
    refuse_null(levels[1], row)?;
    let (indices, values) = (levels[0].items(row), levels[1].items(row));
    if indices.len() != values.len() {
        return Err(CodecError::Stored("a sparse vector"));
    }
    children[0].put_present(row, out)?;
    put_count(indices.len(), out);
    put_count(0, out);
    indices.into_iter().try_for_each(|item| children[1].put_present(item, out))?;
    values.into_iter().try_for_each(|item| children[2].put_present(item, out))
}

fn put_record(
    records: &Mapping,
    children: &[ColumnEncoder<'_>],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let parts = record(records);
    let start = out.len();
    out.resize(start + parts.iter().map(|part| part.bytes).sum::<usize>(), 0);
    let mut scratch = Vec::with_capacity(8);
    for (part, child) in parts.iter().zip(children) {
        scratch.clear();
        child.put_present(row, &mut scratch)?;
        out[start + part.at..start + part.at + part.bytes].copy_from_slice(&scratch);
    }
    Ok(())
}

fn refuse_null(level: Level<'_>, row: usize) -> Result<(), CodecError> {
    match level.nulls {
        Some(nulls) if nulls.is_null(row) => Err(CodecError::Stored("no NULL list inside such a value")),
        _ => Ok(()),
    }
}

fn put_vector(
    mapping: &Mapping,
    values: &ColumnEncoder<'_>,
    items: std::ops::Range<usize>,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let count = u16::try_from(items.len()).map_err(|_| CodecError::Stored("a vector of its dimensions"))?;
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    for item in items {
        match (mapping, &values.source) {
            (Mapping::HalfVector, Source::Float32(singles)) if !values.is_null(item) => {
                let half = half::narrow(singles[item]).ok_or(CodecError::Stored("a half"))?;
                out.extend_from_slice(&half.to_be_bytes());
            }
            _ => values.put_present(item, out)?,
        }
    }
    Ok(())
}

fn put_array(
    lower_bound: i32,
    element_oid: u32,
    element: &ColumnEncoder<'_>,
    levels: &[Level<'_>],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&element_oid.to_be_bytes());
    let mut items = levels[0].items(row);
    if items.is_empty() {
        return Ok(());
    }
    out[start..start + 4].copy_from_slice(&(levels.len() as i32).to_be_bytes());
    let dimension = |extent: usize, out: &mut Vec<u8>| {
        put_count(extent, out);
        out.extend_from_slice(&lower_bound.to_be_bytes());
    };
    dimension(items.len(), out);
    for level in &levels[1..] {
        let extent = level.items(items.start).len();
        for item in items.clone() {
            refuse_null(*level, item)?;
            if level.items(item).len() != extent {
                return Err(CodecError::Stored("an array with rows of one length"));
            }
        }
        if extent == 0 {
            return Err(CodecError::Stored("an array without empty rows"));
        }
        dimension(extent, out);
        items = level.items(items.start).start..level.items(items.end - 1).end;
    }
    let nulls = items.clone().any(|item| element.is_null(item));
    out[start + 4..start + 8].copy_from_slice(&i32::from(nulls).to_be_bytes());
    items.into_iter().try_for_each(|item| element.put(item, None, out))
}

fn put_range(children: &[ColumnEncoder<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let flag = |at: usize| match &children[at].source {
        Source::Boolean(bits) if !children[at].is_null(row) => Ok(bits.value(row)),
        _ => Err(CodecError::Stored("a range with its flags")),
    };
    let [lower, upper] = [0, 1].map(|at| !children[at].is_null(row));
    let mut flags = 0;
    for (at, bit) in
        [(2, nested::RANGE_LOWER_INCLUSIVE), (3, nested::RANGE_UPPER_INCLUSIVE), (4, nested::RANGE_EMPTY)]
    {
        flags |= if flag(at)? { bit } else { 0 };
    }
    if flags & nested::RANGE_EMPTY != 0 {
        if lower || upper {
            return Err(CodecError::Stored("an empty range without bounds"));
        }
    } else {
        flags |= if lower { 0 } else { nested::RANGE_LOWER_INFINITE };
        flags |= if upper { 0 } else { nested::RANGE_UPPER_INFINITE };
    }
    out.push(flags);
    for (at, present) in [lower, upper].into_iter().enumerate() {
        if present {
            children[at].put(row, None, out)?;
        }
    }
    Ok(())
}

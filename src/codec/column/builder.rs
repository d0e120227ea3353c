//! [`ColumnBuilder`]: wire values of one column → one Arrow array.
//!
//! One `match` on an enum chosen once a column, for each value or, faster, for those of a strip of rows; then straight into vectors.
//! It does not keep exceptions; it says that a value is one.

use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray,
    StringArray,
};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::cells::{Bits, SHORT, Strings, Validity, take_items};
use super::nested::Nested;
use super::printed::Form;
use super::quick::Quick;
use super::strip::{STRIP, Strip};
use super::types::DIGITS_64;
use super::{arrow_type, fits, numeric, scalar};
use crate::codec::CodecError;
use crate::codec::wire::exact;
use crate::manifest::Mapping;

/// Bytes of a text from which on ASCII is looked for no faster than UTF-8.
const MIDDLING: usize = 128;

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It stands in the array, and its wire bytes follow from it.
    Natural,
    /// It does not fit: NULL stands in the array, the caller keeps the wire bytes.
    Exception,
    /// Its value stands in the array, and the caller keeps its display scale.
    DisplayScale(u16),
}

/// Collects the values of one column.
pub struct ColumnBuilder {
    cells: Cells,
    validity: Validity,
    data_type: DataType,
}

enum Cells {
    Boolean(Bits),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal64 { values: Vec<i64>, quick: Quick, precision: u8, scale: u8, display_scale: u16 },
    Decimal { values: Vec<i128>, precision: u8, scale: u8, display_scale: u16 },
    Utf8(Strings),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Money(Vec<i128>),
    Uuid(Vec<u8>),
    Binary(Strings),
    Printed { form: Form, text: Strings, scratch: Vec<u8> },
    Nested(Box<Nested>),
}

impl Cells {
    fn new(mapping: &Mapping) -> Self {
        if let Some(form) = Form::of(mapping) {
            return Cells::Printed { form, text: Strings::default(), scratch: Vec::new() };
        }
        match mapping {
            Mapping::Boolean => Cells::Boolean(Bits::default()),
            Mapping::Int16 => Cells::Int16(Vec::new()),
            Mapping::Int32 => Cells::Int32(Vec::new()),
            Mapping::Int64 => Cells::Int64(Vec::new()),
            Mapping::UInt32 => Cells::UInt32(Vec::new()),
            Mapping::UInt64 => Cells::UInt64(Vec::new()),
            Mapping::Float32 => Cells::Float32(Vec::new()),
            Mapping::Float64 => Cells::Float64(Vec::new()),
            &Mapping::Decimal { precision, scale, display_scale } if precision <= DIGITS_64 => {
                Cells::Decimal64 {
                    values: Vec::new(),
                    quick: Quick::new(precision, scale),
                    precision,
                    scale,
                    display_scale,
                }
            }
            &Mapping::Decimal { precision, scale, display_scale } => {
                Cells::Decimal { values: Vec::new(), precision, scale, display_scale }
            }
            Mapping::Money { .. } => Cells::Money(Vec::new()),
            Mapping::Utf8 | Mapping::ServerText | Mapping::Bpchar { .. } => Cells::Utf8(Strings::default()),
            Mapping::Binary => Cells::Binary(Strings::default()),
            Mapping::Uuid => Cells::Uuid(Vec::new()),
            Mapping::Date => Cells::Date(Vec::new()),
            Mapping::Timestamp | Mapping::TimestampTz => Cells::Timestamp(Vec::new()),
            Mapping::Time => Cells::Time(Vec::new()),
            nested => Cells::Nested(Box::new(Nested::new(nested))),
        }
    }
}

impl ColumnBuilder {
    /// An empty builder for values carried by `mapping`.
    pub fn new(mapping: &Mapping) -> Self {
        Self { cells: Cells::new(mapping), validity: Validity::default(), data_type: arrow_type(mapping) }
    }

    /// Adds one value, `None` for NULL. After an error the builder must not be used any more.
    #[inline]
    pub fn push(&mut self, wire: Option<&[u8]>) -> Result<Pushed, CodecError> {
        match wire {
            Some(wire) => self.push_first(wire, wire.len()),
            None => {
                self.push_null()?;
                Ok(Pushed::Natural)
            }
        }
    }

    /// Adds the value in the first `length` of these bytes, no more than there are; what stands behind them belongs to others, and
    /// lets values be read in larger pieces than they have. After an error the builder must not be used any more.
    #[inline]
    pub fn push_first(&mut self, bytes: &[u8], length: usize) -> Result<Pushed, CodecError> {
        let wire = &bytes[..length];
        let pushed = match &mut self.cells {
            Cells::Decimal64 { values, quick, precision, scale, display_scale } => {
                if let Some((value, dscale)) = read_decimal(quick, *precision, *scale, bytes, length)? {
                    values.push(value);
                    self.validity.push_valid();
                    return Ok(displayed(dscale, *display_scale));
                }
                false
            }
            Cells::Decimal { values, precision, scale, display_scale } => {
                if let Some((value, dscale)) = numeric::to_scaled(wire, *precision, *scale)? {
                    values.push(value);
                    self.validity.push_valid();
                    return Ok(displayed(dscale, *display_scale));
                }
                false
            }
            Cells::Timestamp(values) => {
                append(values, scalar::store_timestamp(i64::from_be_bytes(exact(wire)?)))
            }
            Cells::Int64(values) => append(values, Some(i64::from_be_bytes(exact(wire)?))),
            Cells::Int32(values) => append(values, Some(i32::from_be_bytes(exact(wire)?))),
            Cells::Float64(values) => append(values, Some(f64::from_be_bytes(exact(wire)?))),
            Cells::Utf8(text) => match bytes.first_chunk().filter(|first| is_short_ascii(first, length)) {
                Some(first) => text.push_short(first, length).map(|()| true)?,
                None => {
                    let valid = is_utf8(wire);
                    if valid {
                        text.push(wire)?;
                    }
                    valid
                }
            },
            _ => self.push_other(wire, true)?,
        };
        if pushed {
            self.validity.push_valid();
            Ok(Pushed::Natural)
        } else {
            self.push_null()?;
            Ok(Pushed::Exception)
        }
    }

    /// Adds the next value of each row of a strip, as [`Self::push_first`] would, and tells in order what became of those that are
    /// not NULL: the row's number in the strip and, unless it is natural, the value's wire bytes. Where it is `quiet`, natural ones
    /// before the first other one need not be told. After an error the builder must not be used any more.
    #[inline]
    pub fn push_strip(
        &mut self,
        strip: &mut Strip<'_>,
        quiet: bool,
        told: impl FnMut(usize, Pushed, &[u8]),
    ) -> Result<(), CodecError> {
        let validity = &mut self.validity;
        match &mut self.cells {
            Cells::Decimal64 { .. } => self.push_decimals(strip, quiet, told),
            Cells::Decimal { values, precision, scale, display_scale } => {
                push_fixed(values, validity, strip, quiet, told, |bytes, length| {
                    let read = numeric::to_scaled(&bytes[..length], *precision, *scale)?;
                    Ok(read.map(|(value, dscale)| (value, displayed(dscale, *display_scale))))
                })
            }
            Cells::Timestamp(values) => push_fixed(values, validity, strip, quiet, told, |bytes, length| {
                let stored = scalar::store_timestamp(i64::from_be_bytes(exact(&bytes[..length])?));
                Ok(stored.map(|value| (value, Pushed::Natural)))
            }),
            Cells::Int64(values) => push_fixed(values, validity, strip, quiet, told, |bytes, length| {
                Ok(Some((i64::from_be_bytes(exact(&bytes[..length])?), Pushed::Natural)))
            }),
            Cells::Int32(values) => push_fixed(values, validity, strip, quiet, told, |bytes, length| {
                Ok(Some((i32::from_be_bytes(exact(&bytes[..length])?), Pushed::Natural)))
            }),
            Cells::Float64(values) => push_fixed(values, validity, strip, quiet, told, |bytes, length| {
                Ok(Some((f64::from_be_bytes(exact(&bytes[..length])?), Pushed::Natural)))
            }),
            _ => self.push_one_by_one(strip, quiet, told),
        }
    }

    /// Most values of a strip are plain: all are read as if they were, and what is not is seen by a bit.
    fn push_decimals(
        &mut self,
        strip: &mut Strip<'_>,
        quiet: bool,
        mut told: impl FnMut(usize, Pushed, &[u8]),
    ) -> Result<(), CodecError> {
        let Cells::Decimal64 { values, quick, precision, scale, display_scale } = &mut self.cells else {
            return Ok(());
        };
        let (begin, rows) = (values.len(), strip.rows());
        let places = strip.places();
        let mut numerics = [(0, 0); STRIP];
        let others = strip.numerics(&mut numerics)?;
        values.resize(begin + rows, 0);
        let others = others | quick.read_all(&numerics[..rows], *display_scale, &mut values[begin..]);
        if others == 0 && quiet {
            self.validity.push_valid_run(rows);
            return Ok(());
        }
        for (row, place) in places[..rows].iter().enumerate() {
            if others >> row & 1 == 0 {
                self.validity.push_valid();
                told(row, Pushed::Natural, &[]);
                continue;
            }
            let Some((bytes, length)) = strip.field(*place)? else {
                values[begin + row] = 0;
                self.validity.push_null();
                continue;
            };
            let read = read_decimal(quick, *precision, *scale, bytes, length)?;
            values[begin + row] = read.map_or(0, |(value, _)| value);
            match read {
                Some(_) => self.validity.push_valid(),
                None => self.validity.push_null(),
            }
            let pushed = read.map_or(Pushed::Exception, |(_, dscale)| displayed(dscale, *display_scale));
            told(row, pushed, &bytes[..length]);
        }
        Ok(())
    }

    /// Columns whose values take longer than to ask what kind they are.
    #[inline]
    fn push_one_by_one(
        &mut self,
        strip: &mut Strip<'_>,
        mut quiet: bool,
        mut told: impl FnMut(usize, Pushed, &[u8]),
    ) -> Result<(), CodecError> {
        strip.each(|row, field| {
            match field {
                Some((bytes, length)) => {
                    let pushed = self.push_first(bytes, length)?;
                    if !quiet || pushed != Pushed::Natural {
                        quiet = false;
                        told(row, pushed, &bytes[..length]);
                    }
                }
                None => self.push_null()?,
            }
            Ok(())
        })
    }

    /// Adds a value that `fits` has approved of, as part of a nested one.
    pub(super) fn push_part(&mut self, wire: Option<&[u8]>) -> Result<(), CodecError> {
        match (&self.cells, wire) {
            (Cells::Nested(_), Some(wire)) => {
                self.push_other(wire, false)?;
                self.validity.push_valid();
            }
            _ => {
                let pushed = self.push(wire)?;
                debug_assert_eq!(pushed, Pushed::Natural, "a part that `fits` approved of");
            }
        }
        Ok(())
    }

    /// The kinds that are not on the hot path. Gives whether the value fits; if not, nothing was added.
    #[inline(never)]
    fn push_other(&mut self, wire: &[u8], check: bool) -> Result<bool, CodecError> {
        Ok(match &mut self.cells {
            Cells::Boolean(bits) => {
                let [byte] = exact(wire)?;
                if byte <= 1 {
                    bits.push(byte == 1);
                }
                byte <= 1
            }
            Cells::Int16(values) => append(values, Some(i16::from_be_bytes(exact(wire)?))),
            Cells::UInt32(values) => append(values, Some(u32::from_be_bytes(exact(wire)?))),
            Cells::UInt64(values) => append(values, Some(u64::from_be_bytes(exact(wire)?))),
            Cells::Float32(values) => append(values, Some(f32::from_be_bytes(exact(wire)?))),
            Cells::Date(values) => append(values, scalar::store_date(i32::from_be_bytes(exact(wire)?))),
            Cells::Time(values) => append(values, scalar::store_time(i64::from_be_bytes(exact(wire)?))),
            Cells::Money(values) => append(values, Some(i128::from(i64::from_be_bytes(exact(wire)?)))),
            Cells::Uuid(bytes) => {
                bytes.extend_from_slice(&exact::<16>(wire)?);
                true
            }
            Cells::Binary(bytes) => {
                bytes.push(wire)?;
                true
            }
            Cells::Printed { form, text, scratch } => {
                let exact = form.print_exact(wire, &mut text.data, scratch)?;
                if exact {
                    text.close()?;
                }
                exact
            }
            Cells::Nested(nested) => {
                if check && !fits(nested.mapping(), wire)? {
                    return Ok(false);
                }
                nested.push(wire)?;
                true
            }
            // The hot kinds were handled by the caller.
            _ => false,
        })
    }

    fn push_null(&mut self) -> Result<(), CodecError> {
        self.validity.push_null();
        match &mut self.cells {
            Cells::Boolean(bits) => bits.push(false),
            Cells::Int16(values) => values.push(0),
            Cells::Int32(values) | Cells::Date(values) => values.push(0),
            Cells::Int64(values) | Cells::Timestamp(values) | Cells::Time(values) => values.push(0),
            Cells::UInt32(values) => values.push(0),
            Cells::UInt64(values) => values.push(0),
            Cells::Float32(values) => values.push(0.0),
            Cells::Float64(values) => values.push(0.0),
            Cells::Decimal64 { values, .. } => values.push(0),
            Cells::Decimal { values, .. } | Cells::Money(values) => values.push(0),
            Cells::Utf8(text) | Cells::Binary(text) | Cells::Printed { text, .. } => text.push(&[])?,
            Cells::Uuid(bytes) => bytes.extend_from_slice(&[0; 16]),
            Cells::Nested(nested) => nested.push_null()?,
        }
        Ok(())
    }

    /// Values added since the last [`finish`](Self::finish).
    pub fn len(&self) -> usize {
        self.validity.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the values take, without spare capacity.
    pub fn bytes(&self) -> usize {
        let rows = self.validity.len();
        rows / 8
            + match &self.cells {
                Cells::Boolean(_) => rows / 8,
                Cells::Int16(_) => 2 * rows,
                Cells::Int32(_) | Cells::UInt32(_) | Cells::Float32(_) | Cells::Date(_) => 4 * rows,
                Cells::Int64(_)
                | Cells::Decimal64 { .. }
                | Cells::UInt64(_)
                | Cells::Float64(_)
                | Cells::Timestamp(_)
                | Cells::Time(_) => 8 * rows,
                Cells::Decimal { .. } | Cells::Money(_) | Cells::Uuid(_) => 16 * rows,
                Cells::Utf8(text) | Cells::Binary(text) | Cells::Printed { text, .. } => text.bytes(),
                Cells::Nested(nested) => nested.bytes(),
            }
    }

    /// The values as an array; the builder is empty again.
    pub fn finish(&mut self) -> Result<ArrayRef, CodecError> {
        let nulls = self.validity.take_nulls();
        let data_type = &self.data_type;
        Ok(match &mut self.cells {
            Cells::Boolean(bits) => Arc::new(BooleanArray::new(bits.take(), nulls)),
            Cells::Int16(values) => primitive::<Int16Type>(values, nulls, data_type)?,
            Cells::Int32(values) => primitive::<Int32Type>(values, nulls, data_type)?,
            Cells::Int64(values) => primitive::<Int64Type>(values, nulls, data_type)?,
            Cells::UInt32(values) => primitive::<UInt32Type>(values, nulls, data_type)?,
            Cells::UInt64(values) => primitive::<UInt64Type>(values, nulls, data_type)?,
            Cells::Float32(values) => primitive::<Float32Type>(values, nulls, data_type)?,
            Cells::Float64(values) => primitive::<Float64Type>(values, nulls, data_type)?,
            Cells::Decimal64 { values, .. } => primitive::<Decimal64Type>(values, nulls, data_type)?,
            Cells::Decimal { values, .. } | Cells::Money(values) => {
                primitive::<Decimal128Type>(values, nulls, data_type)?
            }
            Cells::Timestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls, data_type)?,
            Cells::Date(values) => primitive::<Date32Type>(values, nulls, data_type)?,
            Cells::Time(values) => primitive::<Time64MicrosecondType>(values, nulls, data_type)?,
            Cells::Uuid(bytes) => {
                let bytes = Buffer::from_vec(take_items(bytes));
                Arc::new(FixedSizeBinaryArray::try_new(16, bytes, nulls)?)
            }
            Cells::Utf8(text) => Arc::new(checked_strings(text, nulls)?),
            Cells::Printed { text, .. } => {
                let (offsets, data) = text.take();
                Arc::new(StringArray::try_new(offsets, data, nulls)?)
            }
            Cells::Binary(bytes) => {
                let (offsets, data) = bytes.take();
                Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
            }
            Cells::Nested(nested) => nested.finish(nulls, data_type)?,
        })
    }
}

/// Adds the next value of each row of a strip. `read` gives the value in the first so many of these bytes, if it fits.
#[inline]
fn push_fixed<T: Copy + Default>(
    values: &mut Vec<T>,
    validity: &mut Validity,
    strip: &mut Strip<'_>,
    mut quiet: bool,
    mut told: impl FnMut(usize, Pushed, &[u8]),
    read: impl Fn(&[u8], usize) -> Result<Option<(T, Pushed)>, CodecError>,
) -> Result<(), CodecError> {
    let begin = values.len();
    values.resize(begin + strip.rows(), T::default());
    let into = &mut values[begin..];
    let mut valid = 0;
    strip.each(|row, field| {
        let found = match field {
            Some((bytes, length)) => {
                let found = read(bytes, length)?;
                let pushed = found.map_or(Pushed::Exception, |(_, pushed)| pushed);
                if !quiet || pushed != Pushed::Natural {
                    quiet = false;
                    told(row, pushed, &bytes[..length]);
                }
                found
            }
            None => None,
        };
        match found {
            Some((value, _)) => {
                into[row] = value;
                valid += 1;
            }
            None => {
                validity.push_valid_run(std::mem::take(&mut valid));
                validity.push_null();
            }
        }
        Ok(())
    })?;
    validity.push_valid_run(valid);
    Ok(())
}

/// The value in the first `length` of these bytes, times 10^`scale`, and its display scale, if it fits.
#[inline]
fn read_decimal(
    quick: &Quick,
    precision: u8,
    scale: u8,
    bytes: &[u8],
    length: usize,
) -> Result<Option<(i64, u16)>, CodecError> {
    match bytes.first_chunk().and_then(|bytes| quick.read(bytes, length)) {
        Some(read) => Ok(Some(read)),
        None => numeric::to_scaled_64(&bytes[..length], precision, scale),
    }
}

#[inline]
fn displayed(dscale: u16, expected: u16) -> Pushed {
    if dscale == expected { Pushed::Natural } else { Pushed::DisplayScale(dscale) }
}

#[inline]
fn append<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            values.push(value);
            true
        }
        None => false,
    }
}

/// Whether the first `length` of these bytes are all of a text, and ASCII.
#[inline]
fn is_short_ascii(bytes: &[u8; SHORT], length: usize) -> bool {
    let text = u128::from_le_bytes(*bytes) & !(u128::MAX << (8 * length.min(SHORT - 1)));
    length < SHORT && text & 0x8080_8080_8080_8080_8080_8080_8080_8080 == 0
}

/// Most texts are ASCII, which up to some length is seen sooner than by the SIMD of any UTF-8.
#[inline]
fn is_utf8(bytes: &[u8]) -> bool {
    (bytes.len() <= MIDDLING && bytes.is_ascii()) || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Texts that [`ColumnBuilder::push_first`] has held to UTF-8 one by one; Arrow would do so once more.
#[expect(unsafe_code, reason = "what is known of each value cannot be told to Arrow")]
fn checked_strings(text: &mut Strings, nulls: Option<NullBuffer>) -> Result<StringArray, CodecError> {
    let (offsets, data) = text.take();
    if nulls.as_ref().is_some_and(|nulls| nulls.len() + 1 != offsets.len()) {
        return Err(CodecError::Piece("a column has other values than NULLs".to_owned()));
    }
    // SAFETY: `Strings` is private to its builder, whose only ways to add to a `Utf8` are an empty value for NULL and a value of
    // which every byte is ASCII or that `from_utf8` has just accepted, whole. So what lies between two offsets is UTF-8; offsets only grow, each to where the
    // data ended then, and the validity bitmap has as many bits as there are values.
    Ok(unsafe { StringArray::new_unchecked(offsets, data, nulls) })
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef, CodecError>
where
    T::Native: ArrowNativeType,
{
    let values = ScalarBuffer::from(take_items(values));
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values, nulls)?.with_data_type(data_type.clone())))
}

//! [`fits`]: whether a wire value can be stored naturally, decided before anything of it is stored.
//!
//! A nested value in which anything does not fit, however deep, is one exception as a whole.

use super::builder::{ColumnBuilder, Pushed};
use super::nested::{
    RANGE_EMPTY, RANGE_LOWER_INCLUSIVE, RANGE_LOWER_INFINITE, RANGE_UPPER_INCLUSIVE, RANGE_UPPER_INFINITE,
    range_bounds,
};
use super::printed::Form;
use super::types::{record, record_width};
use super::{numeric, scalar};
use crate::codec::CodecError;
use crate::codec::wire::{Wire, exact};
use crate::manifest::{Mapping, StructField, canonical_oid};

/// Whether the value comes back byte for byte (after canonicalisation) from the array it would be stored in. An error
/// if the bytes are no value of the type at all.
pub fn fits(mapping: &Mapping, bytes: &[u8]) -> Result<bool, CodecError> {
    let mut wire = Wire::new(bytes);
    match mapping {
        Mapping::Decimal { precision, scale, display_scale } => {
            // Inside a nested value there is no place for a display scale of its own.
            Ok(numeric::to_scaled(bytes, *precision, *scale)?
                .is_some_and(|(_, dscale)| dscale == *display_scale))
        }
        Mapping::Path => {
            let closed = wire.u8()?;
            points(&mut wire)?;
            wire.end()?;
            Ok(closed <= 1)
        }
        Mapping::Polygon => {
            points(&mut wire)?;
            wire.end()?;
            Ok(true)
        }
        Mapping::Hstore => hstore(wire),
        Mapping::Vector => vector(wire, 4),
        Mapping::HalfVector => vector(wire, 2),
        Mapping::SparseVector => {
            wire.i32()?;
            let count = wire.count(8)?;
            let unused = wire.i32()?;
            wire.take(8 * count)?;
            wire.end()?;
            Ok(unused == 0)
        }
        Mapping::List { dimensions, lower_bound, element_oid, element } => {
            array(wire, i32::from(*dimensions), *lower_bound, *element_oid, element)
        }
        Mapping::Struct { fields } => composite(wire, fields),
        Mapping::Range { bound } => range(wire, bound),
        Mapping::Multirange { bound } => {
            let count = wire.count(4)?;
            let mut whole = true;
            for _ in 0..count {
                let value = wire.present()?;
                whole = whole && range(Wire::new(value), bound)?;
            }
            wire.end()?;
            Ok(whole)
        }
        _ if !record(mapping).is_empty() => {
            wire.take(record_width(mapping))?;
            wire.end()?;
            Ok(true)
        }
        scalar => scalar_fits(scalar, bytes),
    }
}

fn scalar_fits(mapping: &Mapping, bytes: &[u8]) -> Result<bool, CodecError> {
    if let Some(form) = Form::of(mapping) {
        return form.print_exact(bytes, &mut Vec::new(), &mut Vec::new());
    }
    Ok(match mapping {
        Mapping::Boolean => exact::<1>(bytes)?[0] <= 1,
        Mapping::Int16 => exact::<2>(bytes).map(|_| true)?,
        Mapping::Int32 | Mapping::UInt32 | Mapping::Float32 => exact::<4>(bytes).map(|_| true)?,
        Mapping::Int64 | Mapping::UInt64 | Mapping::Float64 | Mapping::Money { .. } => {
            exact::<8>(bytes).map(|_| true)?
        }
        Mapping::Uuid => exact::<16>(bytes).map(|_| true)?,
        Mapping::Binary => true,
        Mapping::Utf8 | Mapping::ServerText | Mapping::Bpchar { .. } => std::str::from_utf8(bytes).is_ok(),
        Mapping::Date => scalar::store_date(i32::from_be_bytes(exact(bytes)?)).is_some(),
        Mapping::Timestamp | Mapping::TimestampTz => {
            scalar::store_timestamp(i64::from_be_bytes(exact(bytes)?)).is_some()
        }
        Mapping::Time => scalar::store_time(i64::from_be_bytes(exact(bytes)?)).is_some(),
        other => ColumnBuilder::new(other).push(Some(bytes))? == Pushed::Natural,
    })
}

fn composite(mut wire: Wire<'_>, fields: &[StructField]) -> Result<bool, CodecError> {
    let count = wire.count(8)?;
    if count != fields.len() {
        return Ok(false);
    }
    let mut whole = true;
    for field in fields {
        whole &= canonical_oid(wire.u32()?) == field.oid;
        if let Some(value) = wire.field()? {
            whole = whole && fits(&field.mapping, value)?;
        }
    }
    wire.end()?;
    Ok(whole)
}

fn points(wire: &mut Wire<'_>) -> Result<(), CodecError> {
    let count = wire.count(16)?;
    wire.take(16 * count).map(|_| ())
}

fn hstore(mut wire: Wire<'_>) -> Result<bool, CodecError> {
    let count = wire.count(8)?;
    let mut whole = true;
    for _ in 0..count {
        whole &= std::str::from_utf8(wire.present()?).is_ok();
        if let Some(value) = wire.field()? {
            whole &= std::str::from_utf8(value).is_ok();
        }
    }
    wire.end()?;
    Ok(whole)
}

fn vector(mut wire: Wire<'_>, bytes: usize) -> Result<bool, CodecError> {
    let count = usize::from(wire.u16()?);
    let unused = wire.u16()?;
    wire.take(bytes * count)?;
    wire.end()?;
    Ok(unused == 0)
}

fn array(
    mut wire: Wire<'_>,
    dimensions: i32,
    lower_bound: i32,
    element_oid: u32,
    element: &Mapping,
) -> Result<bool, CodecError> {
    let found = wire.i32()?;
    let flags = wire.i32()?;
    let oid = wire.u32()?;
    // Six is MAXDIM of every PostgreSQL.
    if !(0..=6).contains(&found) || !(0..=1).contains(&flags) {
        return Err(CodecError::malformed("the head of an array", 0));
    }
    let mut whole = canonical_oid(oid) == element_oid && (found == dimensions || found == 0);
    let mut elements = usize::from(found > 0);
    for _ in 0..found {
        let at = wire.at();
        let extent =
            usize::try_from(wire.i32()?).map_err(|_| CodecError::malformed("an array extent", at))?;
        whole &= wire.i32()? == lower_bound && extent > 0;
        elements = elements.saturating_mul(extent);
    }
    if elements.saturating_mul(4) > wire.left() {
        return Err(CodecError::malformed("more array elements than the value has", wire.at()));
    }
    for _ in 0..elements {
        if let Some(value) = wire.field()? {
            whole = whole && fits(element, value)?;
        }
    }
    wire.end()?;
    Ok(whole)
}

fn range(mut wire: Wire<'_>, bound: &Mapping) -> Result<bool, CodecError> {
    let flags = wire.u8()?;
    let (lower, upper) = range_bounds(flags);
    let mut whole = true;
    for _ in 0..usize::from(lower) + usize::from(upper) {
        let value = wire.present()?;
        whole = whole && fits(bound, value)?;
    }
    wire.end()?;
    // What the encoder writes: an inclusive bound exists, and the empty range has no other flag.
    let known = RANGE_EMPTY
        | RANGE_LOWER_INCLUSIVE
        | RANGE_UPPER_INCLUSIVE
        | RANGE_LOWER_INFINITE
        | RANGE_UPPER_INFINITE;
    let plain = if flags & RANGE_EMPTY != 0 {
        flags == RANGE_EMPTY
    } else {
        flags & !known == 0
            && (lower || flags & RANGE_LOWER_INCLUSIVE == 0)
            && (upper || flags & RANGE_UPPER_INCLUSIVE == 0)
    };
    Ok(whole && plain)
}

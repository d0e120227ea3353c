//! [`canonicalise`]: wire bytes as the server sends them → the bytes that are hashed and restored.
//!
//! Arrays and composites carry type OIDs, which differ between servers, and an array's has-null flag is a leftover of
//! the value's history. Both are overwritten in place, so no length ever changes. Everything else is canonical as sent.

use crate::codec::CodecError;
use crate::codec::wire::Wire;
use crate::manifest::{Mapping, canonical_oid};

/// Makes one column's value canonical in place.
pub fn canonicalise(mapping: &Mapping, wire: &mut [u8]) -> Result<(), CodecError> {
    if !mapping.needs_canonicalising() {
        return Ok(());
    }
    match mapping {
        Mapping::List { element, .. } => array(element, wire),
        Mapping::Struct { fields } => {
            let mut cursor = Wire::new(wire);
            let count = cursor.count(8)?;
            let mut at = cursor.at();
            for index in 0..count {
                canonical_oid_at(wire, at)?;
                let (start, end) = field_at(wire, at + 4)?;
                if let (Some(start), Some(field)) = (start, fields.get(index)) {
                    canonicalise(&field.mapping, &mut wire[start..end])?;
                }
                at = end;
            }
            Ok(())
        }
        Mapping::Range { bound } => range(bound, wire),
        Mapping::Multirange { bound } => {
            let mut cursor = Wire::new(wire);
            let count = cursor.count(4)?;
            let mut at = cursor.at();
            for _ in 0..count {
                let (start, end) = field_at(wire, at)?;
                if let Some(start) = start {
                    range(bound, &mut wire[start..end])?;
                }
                at = end;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Makes a whole tuple canonical in place; `mappings` are those of its columns, in order.
pub fn canonical_tuple<'m>(
    mappings: impl IntoIterator<Item = &'m Mapping>,
    tuple: &mut [u8],
) -> Result<(), CodecError> {
    let mut at = 2;
    for mapping in mappings {
        let (start, end) = field_at(tuple, at)?;
        if let Some(start) = start {
            canonicalise(mapping, &mut tuple[start..end])?;
        }
        at = end;
    }
    if at == tuple.len() { Ok(()) } else { Err(CodecError::malformed("bytes after the last field", at)) }
}

fn array(element: &Mapping, wire: &mut [u8]) -> Result<(), CodecError> {
    let mut cursor = Wire::new(wire);
    let dimensions = cursor.i32()?;
    let flags = cursor.i32()?;
    let _oid = cursor.u32()?;
    if !(0..=6).contains(&dimensions) || !(0..=1).contains(&flags) {
        return Err(CodecError::malformed("the head of an array", 0));
    }
    cursor.take(8 * dimensions as usize)?;
    let mut at = cursor.at();
    let mut nulls = false;
    while at < wire.len() {
        let (start, end) = field_at(wire, at)?;
        match start {
            Some(start) => canonicalise(element, &mut wire[start..end])?,
            None => nulls = true,
        }
        at = end;
    }
    wire[4..8].copy_from_slice(&i32::from(nulls).to_be_bytes());
    canonical_oid_at(wire, 8)
}

fn range(bound: &Mapping, wire: &mut [u8]) -> Result<(), CodecError> {
    let mut at = 1;
    while at < wire.len() {
        let (start, end) = field_at(wire, at)?;
        if let Some(start) = start {
            canonicalise(bound, &mut wire[start..end])?;
        }
        at = end;
    }
    Ok(())
}

fn canonical_oid_at(wire: &mut [u8], at: usize) -> Result<(), CodecError> {
    let Some(bytes) = wire.get_mut(at..at + 4) else {
        return Err(CodecError::malformed("the OID of a type", at));
    };
    let oid = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes.copy_from_slice(&canonical_oid(oid).to_be_bytes());
    Ok(())
}

/// Where the field whose length stands at `at` starts (`None` for NULL) and ends.
fn field_at(wire: &[u8], at: usize) -> Result<(Option<usize>, usize), CodecError> {
    let mut cursor = Wire::new(wire.get(at..).unwrap_or_default());
    let length = cursor.field()?.map(<[u8]>::len);
    Ok((length.map(|_| at + 4), at + 4 + length.unwrap_or(0)))
}

//! [`Nested`]: the builder of everything that is more than one Arrow column: records, lists, maps, ranges.
//!
//! Values come here after `fits` has said that every part fits, so that a value is either whole or an exception.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Fields};

use super::builder::ColumnBuilder;
use super::cells::Offsets;
use super::types::{range_parts, record};
use super::{arrow_type, half};
use crate::codec::CodecError;
use crate::codec::wire::Wire;
use crate::manifest::Mapping;

pub(super) const RANGE_EMPTY: u8 = 0x01;
pub(super) const RANGE_LOWER_INCLUSIVE: u8 = 0x02;
pub(super) const RANGE_UPPER_INCLUSIVE: u8 = 0x04;
pub(super) const RANGE_LOWER_INFINITE: u8 = 0x08;
pub(super) const RANGE_UPPER_INFINITE: u8 = 0x10;

/// Children and list offsets of one nested column; which is what depends on the mapping.
pub(super) struct Nested {
    mapping: Mapping,
    children: Vec<ColumnBuilder>,
    offsets: Vec<Offsets>,
}

impl Nested {
    pub(super) fn new(mapping: &Mapping) -> Self {
        let (parts, levels) = match mapping {
            Mapping::Path => (vec![Mapping::Boolean, Mapping::Point], 1),
            Mapping::Polygon => (vec![Mapping::Point], 1),
            Mapping::Hstore => (vec![Mapping::Utf8, Mapping::Utf8], 1),
            Mapping::Vector | Mapping::HalfVector => (vec![Mapping::Float32], 1),
            Mapping::SparseVector => (vec![Mapping::Int32, Mapping::Int32, Mapping::Float32], 2),
            Mapping::List { dimensions, element, .. } => {
                (vec![(**element).clone()], usize::from((*dimensions).max(1)))
            }
            // A composite without attributes has the placeholder alone.
            Mapping::Struct { fields } if fields.is_empty() => (vec![Mapping::Boolean], 0),
            Mapping::Struct { fields } => (fields.iter().map(|field| field.mapping.clone()).collect(), 0),
            Mapping::Range { bound } => (range_parts(bound).map(|(_, mapping)| mapping).into(), 0),
            Mapping::Multirange { bound } => (vec![Mapping::Range { bound: bound.clone() }], 1),
            records => (record(records).iter().map(|part| part.mapping()).collect(), 0),
        };
        let children = parts.iter().map(ColumnBuilder::new).collect();
        let offsets = (0..levels).map(|_| Offsets::default()).collect();
        Self { mapping: mapping.clone(), children, offsets }
    }

    pub(super) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(super) fn bytes(&self) -> usize {
        self.children.iter().map(ColumnBuilder::bytes).sum::<usize>()
            + self.offsets.iter().map(Offsets::bytes).sum::<usize>()
    }

    pub(super) fn push_null(&mut self) -> Result<(), CodecError> {
        match &self.mapping {
            Mapping::Path => {
                self.children[0].push_part(None)?;
                self.offsets[0].push(0)
            }
            Mapping::SparseVector => {
                self.children[0].push_part(None)?;
                self.offsets.iter_mut().try_for_each(|offsets| offsets.push(0))
            }
            _ if !self.offsets.is_empty() => self.offsets[0].push(0),
            _ => self.children.iter_mut().try_for_each(|child| child.push_part(None)),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let Self { mapping, children, offsets } = self;
        let mut wire = Wire::new(bytes);
        match mapping {
            Mapping::Path => {
                children[0].push_part(Some(wire.take(1)?))?;
                push_points(&mut wire, &mut children[1], &mut offsets[0])
            }
            Mapping::Polygon => push_points(&mut wire, &mut children[0], &mut offsets[0]),
            Mapping::Hstore => {
                let count = wire.count(8)?;
                for _ in 0..count {
                    children[0].push_part(Some(wire.present()?))?;
                    children[1].push_part(wire.field()?)?;
                }
                offsets[0].push(count)
            }
            Mapping::Vector | Mapping::HalfVector => {
                let half = matches!(mapping, Mapping::HalfVector);
                push_vector(&mut wire, half, &mut children[0], &mut offsets[0])
            }
            Mapping::SparseVector => push_sparse(&mut wire, children, offsets),
            Mapping::List { .. } => push_array(&mut wire, &mut children[0], offsets),
            Mapping::Struct { fields } => {
                wire.i32()?;
                if fields.is_empty() {
                    return children[0].push_part(None);
                }
                for child in children {
                    wire.u32()?;
                    child.push_part(wire.field()?)?;
                }
                Ok(())
            }
            Mapping::Range { .. } => push_range(&mut wire, children),
            Mapping::Multirange { .. } => {
                let count = wire.count(4)?;
                for _ in 0..count {
                    children[0].push_part(Some(wire.present()?))?;
                }
                offsets[0].push(count)
            }
            records => {
                for (part, child) in record(records).iter().zip(children) {
                    child.push_part(bytes.get(part.at..part.at + part.bytes))?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn finish(
        &mut self,
        nulls: Option<NullBuffer>,
        data_type: &DataType,
    ) -> Result<ArrayRef, CodecError> {
        let mut arrays =
            self.children.iter_mut().map(ColumnBuilder::finish).collect::<Result<Vec<_>, _>>()?;
        let lists = !self.offsets.is_empty();
        let mut offsets = self.offsets.iter_mut().map(Offsets::take);
        match &self.mapping {
            Mapping::Path => {
                if let (Some(points), Some(offsets)) = (arrays.get_mut(1), offsets.next()) {
                    *points = list_of(offsets, points.clone(), None)?;
                }
                structure(data_type, arrays, nulls)
            }
            Mapping::SparseVector => {
                for (array, offsets) in arrays[1..].iter_mut().zip(offsets) {
                    *array = list_of(offsets, array.clone(), None)?;
                }
                structure(data_type, arrays, nulls)
            }
            Mapping::Hstore => {
                let (DataType::Map(entry, ordered), Some(offsets)) = (data_type, offsets.next()) else {
                    return Err(wrong_type(data_type));
                };
                let entries = StructArray::try_new(fields_of(entry.data_type())?, arrays, None)?;
                Ok(Arc::new(MapArray::try_new(entry.clone(), offsets, entries, nulls, *ordered)?))
            }
            _ if lists => {
                let Some(mut array) = arrays.pop() else { return Err(wrong_type(data_type)) };
                // The innermost level first; only whole values (the outermost level) can be NULL.
                let levels: Vec<_> = offsets.collect();
                for (level, offsets) in levels.into_iter().enumerate().rev() {
                    array = list_of(offsets, array, if level == 0 { nulls.clone() } else { None })?;
                }
                Ok(array)
            }
            _ => structure(data_type, arrays, nulls),
        }
    }
}

fn push_points(
    wire: &mut Wire<'_>,
    points: &mut ColumnBuilder,
    offsets: &mut Offsets,
) -> Result<(), CodecError> {
    let count = wire.count(16)?;
    for _ in 0..count {
        points.push_part(Some(wire.take(16)?))?;
    }
    offsets.push(count)
}

fn push_sparse(
    wire: &mut Wire<'_>,
    children: &mut [ColumnBuilder],
    offsets: &mut [Offsets],
) -> Result<(), CodecError> {
    children[0].push_part(Some(wire.take(4)?))?;
    let count = wire.count(8)?;
    wire.i32()?;
    for child in 1..=2 {
        for _ in 0..count {
            children[child].push_part(Some(wire.take(4)?))?;
        }
        offsets[child - 1].push(count)?;
    }
    Ok(())
}

fn push_vector(
    wire: &mut Wire<'_>,
    half: bool,
    values: &mut ColumnBuilder,
    offsets: &mut Offsets,
) -> Result<(), CodecError> {
    let count = usize::from(wire.u16()?);
    wire.u16()?;
    for _ in 0..count {
        let single = if half { half::widen(wire.u16()?).to_be_bytes() } else { wire.array()? };
        values.push_part(Some(&single))?;
    }
    offsets.push(count)
}

fn push_array(
    wire: &mut Wire<'_>,
    element: &mut ColumnBuilder,
    levels: &mut [Offsets],
) -> Result<(), CodecError> {
    let dimensions = wire.i32()?;
    wire.i32()?;
    wire.u32()?;
    if dimensions == 0 {
        return levels[0].push(0);
    }
    let mut lists = 1usize;
    for offsets in levels.iter_mut() {
        let extent = wire.i32()?.max(0) as usize;
        wire.i32()?;
        for _ in 0..lists {
            offsets.push(extent)?;
        }
        // `fits` has bounded the product by the length of the value.
        lists = lists.saturating_mul(extent);
    }
    for _ in 0..lists {
        element.push_part(wire.field()?)?;
    }
    Ok(())
}

fn push_range(wire: &mut Wire<'_>, children: &mut [ColumnBuilder]) -> Result<(), CodecError> {
    let flags = wire.u8()?;
    let (lower, upper) = range_bounds(flags);
    children[0].push_part(if lower { Some(wire.present()?) } else { None })?;
    children[1].push_part(if upper { Some(wire.present()?) } else { None })?;
    for (child, flag) in
        children[2..].iter_mut().zip([RANGE_LOWER_INCLUSIVE, RANGE_UPPER_INCLUSIVE, RANGE_EMPTY])
    {
        child.push_part(Some(&[u8::from(flags & flag != 0)]))?;
    }
    Ok(())
}

/// Whether a range with these flags has a lower and an upper bound on the wire.
pub(super) fn range_bounds(flags: u8) -> (bool, bool) {
    let finite = flags & RANGE_EMPTY == 0;
    (finite && flags & RANGE_LOWER_INFINITE == 0, finite && flags & RANGE_UPPER_INFINITE == 0)
}

fn list_of(
    offsets: OffsetBuffer<i32>,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, CodecError> {
    let element = super::types::field("element", values.data_type().clone());
    Ok(Arc::new(ListArray::try_new(element, offsets, values, nulls)?))
}

fn structure(
    data_type: &DataType,
    arrays: Vec<ArrayRef>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, CodecError> {
    Ok(Arc::new(StructArray::try_new(fields_of(data_type)?, arrays, nulls)?))
}

fn fields_of(data_type: &DataType) -> Result<Fields, CodecError> {
    match data_type {
        DataType::Struct(fields) => Ok(fields.clone()),
        other => Err(wrong_type(other)),
    }
}

fn wrong_type(found: &DataType) -> CodecError {
    CodecError::Type { expected: arrow_type(&Mapping::Point).to_string(), found: found.to_string() }
}

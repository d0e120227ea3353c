//! The queries that read a group's rows from the database: one, or one for each range of time of a chunked table.

use std::collections::BTreeMap;

use super::{Group, kept};
use crate::base::{RowsetDigest, TableName};
use crate::manifest::{Manifest, Piece, Table, TableKind};
use crate::plan::copy::{copy_out, large_object_sql};
use crate::plan::timescale::ranges::{Part, ROWS, parts, whole};

/// Rows that one query reads.
pub(in crate::ops) struct Reading {
    /// Their range, where it is not everything.
    pub(in crate::ops) label: Option<String>,
    /// The COPY, columns in the backup's order.
    pub(in crate::ops) sql: String,
    /// What the backup has of them.
    pub(in crate::ops) expected: RowsetDigest,
    /// The units of the group's only table that hold them; `None` where it is everything.
    pub(in crate::ops) units: Option<Vec<usize>>,
}

/// The readings of a group from `target`, its name in the database. `materialised` are the database's continuous aggregates
/// with what holds their rows.
pub(in crate::ops) fn readings(
    target: &TableName,
    manifest: &Manifest,
    group: &Group<'_>,
    materialised: &BTreeMap<TableName, TableName>,
) -> Vec<Reading> {
    let Some(first) = group.leaves.first() else { return Vec::new() };
    let one = |sql| vec![Reading { label: None, sql, expected: group.expected, units: None }];
    if first.kind == TableKind::LargeObjects {
        return one(large_object_sql());
    }
    let conditions: Vec<String> = first.condition.iter().cloned().collect();
    if !first.kind.is_chunked() {
        let target = target.sql();
        let relation = if first.load_through.is_some() { target } else { format!("ONLY {target}") };
        return one(copy_out(kept(first), &relation, &conditions));
    }
    // Never ONLY: the rows of a hypertable, and of partitions, are below the root.
    let relation = match first.kind {
        TableKind::ContinuousAggregate => materialised.get(target).unwrap_or(target).sql(),
        _ => target.sql(),
    };
    let timescale = manifest.body.timescale.as_ref();
    let time = timescale.and_then(|timescale| timescale.rows_of(&first.name)).and_then(|rows| rows.time());
    let parts: Vec<Part> = time.map_or_else(|| vec![whole(first)], |time| parts(first, time, ROWS));
    parts
        .into_iter()
        .map(|part| {
            let all: Vec<String> = conditions.iter().cloned().chain(part.conditions).collect();
            Reading {
                sql: copy_out(kept(first), &relation, &all),
                expected: part.expected,
                units: part.label.is_some().then_some(part.units),
                label: part.label,
            }
        })
        .collect()
}

/// The pieces of a group that hold what the readings read, each with its table.
pub(in crate::ops) fn pieces_of<'a>(
    manifest: &'a Manifest,
    group: &Group<'a>,
    readings: &[Reading],
) -> Vec<(&'a Table, &'a Piece)> {
    let named: Vec<&Vec<usize>> = readings.iter().filter_map(|reading| reading.units.as_ref()).collect();
    let all = named.len() < readings.len();
    let wanted = |unit: usize| all || named.iter().any(|units| units.contains(&unit));
    let mut pieces = Vec::new();
    for table in &group.leaves {
        let units = table.units.iter().enumerate().filter(|(unit, _)| wanted(*unit));
        let numbers = units.flat_map(|(_, unit)| &unit.pieces);
        pieces.extend(numbers.filter_map(|number| Some((*table, manifest.head.pieces.get(*number)?))));
    }
    pieces
}

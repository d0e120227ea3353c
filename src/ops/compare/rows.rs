//! Which rows differ, in bounded memory and without a key: both sides are summed into buckets by row hash, and only the
//! rows of buckets that differ are looked at again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::readings::Reading;
use super::{Group, Sides, digest_error, kept, mappings};
use crate::base::TableName;
use crate::codec::CodecError;
use crate::codec::column::display;
use crate::codec::rowset::RowHasher;
use crate::ops::OpsError;
use crate::ops::verify::each_row;
use crate::pipeline::digest::{OnRow, of_query};

/// Buckets by the first sixteen bits of the row hash.
const BUCKETS: usize = 1 << 16;
/// Rows held at most on each side; beyond, the answer is cut and says so.
const HELD: usize = 100_000;
/// And bytes of them; one row is held whatever its size.
const HELD_BYTES: usize = 64 << 20;

/// On which side a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// In the backup, not in the database: `-`.
    OnlyInBackup,
    /// In the database, not in the backup: `+`.
    OnlyInDatabase,
}

/// A row that is on one side only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowDifference {
    /// Where it is.
    pub side: Side,
    /// Its columns with values as text; NULL is absent.
    pub columns: Vec<(String, Option<String>)>,
}

/// Count and sum of a bucket; 128 bits of each hash are plenty to tell equal buckets from others.
type Buckets = Vec<(u64, u128)>;

fn bucket(hash: &[u8; 32]) -> usize {
    usize::from(hash[0]) | usize::from(hash[1]) << 8
}

fn part(hash: &[u8; 32]) -> u128 {
    hash[16..].iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

fn count_in(buckets: &mut Buckets, hash: &[u8; 32]) {
    let (count, sum) = &mut buckets[bucket(hash)];
    *count += 1;
    *sum = sum.wrapping_add(part(hash));
}

/// Rows by hash, with how often they are there.
#[derive(Default)]
struct Held {
    rows: HashMap<[u8; 32], (i64, Vec<u8>)>,
    bytes: usize,
    cut: bool,
}

impl Held {
    fn take(&mut self, hash: &[u8; 32], tuple: &[u8], step: i64) {
        if let Some((count, _)) = self.rows.get_mut(hash) {
            *count += step;
            return;
        }
        // What is held only grows: a row that is cut on one side is cut on the other too, and not taken for missing.
        let full = self.rows.len() >= HELD || self.bytes + tuple.len() > HELD_BYTES;
        if full && !self.rows.is_empty() {
            self.cut = true;
            return;
        }
        self.bytes += tuple.len();
        self.rows.insert(*hash, (step, tuple.to_vec()));
    }
}

/// The rows of `readings` that are on one side only, at most `request.limit` of each, and whether there are more.
pub(super) async fn differences(
    sides: &Sides<'_>,
    group: &Group<'_>,
    readings: &[Reading],
) -> Result<(Vec<RowDifference>, bool), OpsError> {
    let mut ours = vec![(0, 0); BUCKETS];
    stored_rows(sides, group, readings, &mut |hash, _| count_in(&mut ours, hash))?;
    let theirs = Arc::new(Mutex::new(vec![(0u64, 0u128); BUCKETS]));
    for reading in readings {
        let shared = Arc::clone(&theirs);
        let count: OnRow = Box::new(move |hash, _| {
            count_in(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), hash);
        });
        live_rows(sides, group, reading, count).await?;
    }
    let theirs = theirs.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let differs: Arc<Vec<bool>> = Arc::new(ours.iter().zip(&theirs).map(|(a, b)| a != b).collect());
    let held = Arc::new(Mutex::new(Held::default()));
    {
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        stored_rows(sides, group, readings, &mut |hash, tuple| {
            if differs[bucket(hash)] {
                held.take(hash, tuple, 1);
            }
        })?;
    }
    for reading in readings {
        let (shared, wanted) = (Arc::clone(&held), Arc::clone(&differs));
        let collect: OnRow = Box::new(move |hash, tuple| {
            if wanted[bucket(hash)] {
                shared.lock().unwrap_or_else(PoisonError::into_inner).take(hash, tuple, -1);
            }
        });
        live_rows(sides, group, reading, collect).await?;
    }
    let held = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
    report(group, sides.request.limit, held)
}

/// The backup's rows of `readings`.
fn stored_rows(
    sides: &Sides<'_>,
    group: &Group<'_>,
    readings: &[Reading],
    on_row: &mut dyn FnMut(&[u8; 32], &[u8]),
) -> Result<(), OpsError> {
    let hasher = RowHasher::new(sides.key);
    let named: Vec<&Vec<usize>> = readings.iter().filter_map(|reading| reading.units.as_ref()).collect();
    let all = named.len() < readings.len();
    for table in &group.leaves {
        let wanted = |unit: usize| all || named.iter().any(|units| units.contains(&unit));
        let units = table.units.iter().enumerate().filter(|(unit, _)| wanted(*unit));
        let numbers = units.flat_map(|(_, unit)| &unit.pieces);
        for piece in numbers.filter_map(|number| sides.manifest.head.pieces.get(*number)) {
            // Nothing is decoded before its bytes are known to be those that were written.
            sides.vault.check_digest(&piece.path, piece.bytes, piece.blake3)?;
            if let Some(sidecar) = &piece.exceptions {
                sides.vault.check_digest(&sidecar.path, sidecar.bytes, sidecar.blake3)?;
            }
            each_row(sides.vault, table, piece, &mut |tuple| {
                on_row(&hasher.hash(tuple), tuple);
                Ok(())
            })
            .map_err(|source| OpsError::Rows {
                table: table.name.clone(),
                source: source.in_file(&piece.path),
            })?;
        }
    }
    Ok(())
}

async fn live_rows(
    sides: &Sides<'_>,
    group: &Group<'_>,
    reading: &Reading,
    on_row: OnRow,
) -> Result<(), OpsError> {
    let columns = group.leaves.first().map(|table| mappings(table)).unwrap_or_default();
    of_query(sides.probe.client(), &reading.sql, columns, sides.key, on_row)
        .await
        .map_err(|error| digest_error(&group.name, error))?;
    if reading.units.is_some() {
        sides.probe.back().await?;
    }
    Ok(())
}

fn report(group: &Group<'_>, limit: usize, held: Held) -> Result<(Vec<RowDifference>, bool), OpsError> {
    let mut rows = Vec::new();
    for (count, tuple) in held.rows.values().filter(|(count, _)| *count != 0) {
        let side = if *count > 0 { Side::OnlyInBackup } else { Side::OnlyInDatabase };
        let columns = columns_of(group, tuple)
            .map_err(|source| OpsError::Rows { table: group.name.clone(), source })?;
        for _ in 0..count.unsigned_abs().min(limit as u64) {
            rows.push(RowDifference { side, columns: columns.clone() });
        }
    }
    let key = |row: &RowDifference| (key_text(group, row), row.side == Side::OnlyInDatabase);
    rows.sort_by_key(key);
    let (mut shown, mut cut) = (Vec::new(), held.cut);
    for side in [Side::OnlyInBackup, Side::OnlyInDatabase] {
        let of_side: Vec<_> = rows.iter().filter(|row| row.side == side).cloned().collect();
        cut |= of_side.len() > limit;
        shown.extend(of_side.into_iter().take(limit));
    }
    shown.sort_by_key(key);
    Ok((shown, cut))
}

/// Rows of one primary key stand together; without one, equal columns do.
fn key_text(group: &Group<'_>, row: &RowDifference) -> Vec<Option<String>> {
    let key = group.leaves.first().map(|table| table.primary_key.as_slice()).unwrap_or_default();
    let columns = row.columns.iter().filter(|(name, _)| key.is_empty() || key.contains(name));
    // Numbers sort as numbers when padded; this is for reading, not for proof.
    columns.map(|(_, value)| value.as_ref().map(|text| format!("{text:>24}"))).collect()
}

fn columns_of(group: &Group<'_>, tuple: &[u8]) -> Result<Vec<(String, Option<String>)>, CodecError> {
    let Some(table) = group.leaves.first() else { return Ok(Vec::new()) };
    let mut rest = tuple.get(2..).unwrap_or_default();
    kept(table)
        .into_iter()
        .map(|column| {
            let (length, after) = rest.split_at_checked(4).ok_or_else(|| short(&table.name))?;
            let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
            let Ok(length) = usize::try_from(length) else {
                rest = after;
                return Ok((column.name.clone(), None));
            };
            let (value, after) = after.split_at_checked(length).ok_or_else(|| short(&table.name))?;
            rest = after;
            Ok((column.name.clone(), Some(display(&column.mapping, value)?)))
        })
        .collect()
}

fn short(table: &TableName) -> CodecError {
    CodecError::Piece(format!("a tuple of {table} ends early"))
}

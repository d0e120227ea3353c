//! [`Held`]: the second pass: the rows of buckets that differ, and what they come to when paired by key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::sieve::{KeyedHasher, Wanted};
use super::source::RowSink;
use super::{Search, Which, fields_of};
use crate::codec::CodecError;
use crate::manifest::Mapping;

/// What only one side has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ops) struct Found {
    /// Rows of B whose key A lacks.
    pub(in crate::ops) added: u64,
    /// Rows of A whose key B lacks.
    pub(in crate::ops) removed: u64,
    /// Rows of both sides with one key and other values.
    pub(in crate::ops) changed: u64,
    /// The numbers are exact; otherwise there are at least as many.
    pub(in crate::ops) complete: bool,
    /// Some of them, in the order of their keys.
    pub(in crate::ops) differences: Vec<Difference>,
}

/// A row that was removed (`a`), added (`b`) or changed (both), as projected tuples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ops) struct Difference {
    pub(in crate::ops) a: Option<Vec<u8>>,
    pub(in crate::ops) b: Option<Vec<u8>>,
    /// How many such rows there are.
    pub(in crate::ops) times: u64,
}

impl Found {
    /// The sides have the same rows.
    pub(in crate::ops) fn none() -> Self {
        Self { added: 0, removed: 0, changed: 0, complete: true, differences: Vec::new() }
    }
}

struct Row {
    key: u128,
    /// In A, less in B.
    count: i64,
    tuple: Option<Vec<u8>>,
}

/// Rows that may differ, by hash; those that both sides turn out to have are let go.
pub(super) struct Held {
    hasher: KeyedHasher,
    wanted: Wanted,
    rows: HashMap<u128, Row>,
}

impl RowSink for Held {
    fn row(&mut self, side: Which, tuple: &[u8]) -> Result<(), CodecError> {
        let (key, row) = self.hasher.hash(tuple)?;
        let Some(shown) = self.wanted.takes(key) else { return Ok(()) };
        let step = if side == Which::A { 1 } else { -1 };
        match self.rows.entry(row) {
            Entry::Vacant(free) => {
                let tuple = shown.then(|| tuple.to_vec());
                free.insert(Row { key, count: step, tuple });
            }
            Entry::Occupied(held) if held.get().count + step == 0 => {
                held.remove();
            }
            Entry::Occupied(mut held) => held.get_mut().count += step,
        }
        Ok(())
    }
}

impl Held {
    pub(super) fn new(hasher: KeyedHasher, wanted: Wanted) -> Self {
        Self { hasher, wanted, rows: HashMap::new() }
    }

    /// Pairs what is left by key, counts it, and takes a sample.
    pub(super) fn pair(self, search: &Search<'_>) -> Found {
        let mut found = Found { complete: self.wanted.complete, ..Found::none() };
        let mut rows: Vec<Row> = self.rows.into_values().collect();
        rows.sort_unstable_by_key(|row| row.key);
        let (mut a, mut b): (Vec<Row>, Vec<Row>) = Default::default();
        let mut all: Vec<(Vec<u8>, Difference)> = Vec::new();
        for of_one_key in rows.chunk_by_mut(|one, other| one.key == other.key) {
            for row in of_one_key {
                let side = if row.count > 0 { &mut a } else { &mut b };
                side.push(Row { tuple: row.tuple.take(), ..*row });
            }
            while let Some((difference, shown)) = next(&mut a, &mut b) {
                match (&difference.a, &difference.b) {
                    (Some(_), Some(_)) => found.changed += difference.times,
                    (Some(_), None) => found.removed += difference.times,
                    _ => found.added += difference.times,
                }
                if shown {
                    all.push((order(search, &difference), difference));
                }
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        found.differences = sample(all.into_iter().map(|(_, difference)| difference), search.sample);
        found
    }
}

/// The next difference of one key, and whether its rows are there to be shown. A key that is none, as more rows than one
/// have it, pairs them as they come.
fn next(a: &mut Vec<Row>, b: &mut Vec<Row>) -> Option<(Difference, bool)> {
    let left = |rows: &[Row]| rows.last().map(|row| row.count.unsigned_abs());
    let times = match (left(a), left(b)) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    let mut shown = true;
    let mut take = |rows: &mut Vec<Row>| {
        let row = rows.last_mut()?;
        let rest = row.count.unsigned_abs() - times;
        shown &= row.tuple.is_some();
        if rest == 0 {
            return rows.pop().map(|row| row.tuple.unwrap_or_default());
        }
        row.count = row.count.signum() * i64::try_from(rest).unwrap_or(i64::MAX);
        Some(row.tuple.clone().unwrap_or_default())
    };
    let difference = Difference { a: take(a), b: take(b), times };
    Some((difference, shown))
}

/// The first differences, of no more than `most` rows of each side.
fn sample(all: impl Iterator<Item = Difference>, most: usize) -> Vec<Difference> {
    let (mut of_a, mut of_b) = (0, 0);
    let mut chosen = Vec::new();
    for mut difference in all {
        let room = |side: &Option<Vec<u8>>, taken: u64| match side {
            Some(_) => (most as u64).saturating_sub(taken),
            None => u64::MAX,
        };
        difference.times = difference.times.min(room(&difference.a, of_a)).min(room(&difference.b, of_b));
        if difference.times > 0 {
            of_a += if difference.a.is_some() { difference.times } else { 0 };
            of_b += if difference.b.is_some() { difference.times } else { 0 };
            chosen.push(difference);
        }
    }
    chosen
}

/// What puts differences into the order of their keys: for reading, not for proof. A removed row stands before an added one.
fn order(search: &Search<'_>, difference: &Difference) -> Vec<u8> {
    let tuple = difference.a.as_ref().or(difference.b.as_ref()).map(Vec::as_slice).unwrap_or_default();
    let spans = fields_of(tuple).unwrap_or_default();
    let every: Vec<usize> = (0..spans.len()).collect();
    let keyed_by = if search.keyed_by.is_empty() { &every } else { search.keyed_by };
    let mut text = Vec::new();
    for place in keyed_by {
        let Some(span) = spans.get(*place) else { continue };
        // NULL comes last, as in the server's own order.
        text.push(u8::from(span.is_null(tuple)));
        let at = text.len();
        text.extend_from_slice(&tuple[span.start + 4..span.end]);
        let signed = search.mappings.get(*place).is_some_and(is_signed);
        if let Some(first) = text.get_mut(at).filter(|_| signed) {
            *first ^= 0x80;
        }
    }
    text.push(u8::from(difference.a.is_none()));
    text
}

/// Whether the wire form is a signed number, most significant byte first.
fn is_signed(mapping: &Mapping) -> bool {
    use Mapping::{Date, Int16, Int32, Int64, Money, Timestamp, TimestampTz};
    matches!(mapping, Int16 | Int32 | Int64 | Money { .. } | Date | Timestamp | TimestampTz)
}

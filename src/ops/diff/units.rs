//! What of two backups' versions of a table has to be read: the pieces whose digests the other side does not have.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::RowsetDigest;
use crate::catalog::timescale::Range;
use crate::manifest::{Manifest, Piece, Table, Unit};
use crate::ops::compare::Group;
use crate::plan::chunks::label;

/// A chunk, a range of pages, or a leaf of a hash-partitioned table that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitDiff {
    /// Which, for people.
    pub unit: String,
    /// Its rows in A; absent where A has no such unit.
    pub a: Option<u64>,
    /// Its rows in B.
    pub b: Option<u64>,
}

/// A unit with its table.
type OfTable<'a> = (&'a Table, &'a Unit);

/// A piece with its table.
pub(super) type PieceOf<'a> = (&'a Table, &'a Piece);

/// What is left of a table when all that both sides have is taken away.
pub(super) struct Leftover<'a> {
    pub(super) units: Vec<UnitDiff>,
    pub(super) pieces: [Vec<PieceOf<'a>>; 2],
}

/// One side of a table.
pub(super) type Stored<'a> = (&'a Manifest, &'a Group<'a>);

/// The units and pieces of a table that differ; `aligned` says that digests of one side mean something on the other.
pub(super) fn leftover<'a>(a: Stored<'a>, b: Stored<'a>, aligned: bool) -> Leftover<'a> {
    let all = |(_, group): Stored<'a>| -> Vec<OfTable<'a>> {
        let units = |table: &&'a Table| -> Vec<OfTable<'a>> {
            let table = *table;
            table.units.iter().map(|unit| (table, unit)).collect()
        };
        group.leaves.iter().flat_map(units).collect()
    };
    let (mut ours, mut theirs) = (all(a), all(b));
    let split = ours.len() > 1 || theirs.len() > 1;
    if aligned {
        cancel(&mut ours, &mut theirs, |(_, unit)| unit.rowset);
    }
    let units = if aligned && split { named(a, &ours, b, &theirs) } else { Vec::new() };
    let (mut a, mut b) = (pieces(a, &ours), pieces(b, &theirs));
    if aligned {
        cancel(&mut a, &mut b, |(_, piece)| piece.rowset);
    }
    Leftover { units, pieces: [a, b] }
}

/// Takes away what both have, as often as both have it: the rows of equal digests are the same, wherever they lie.
fn cancel<T>(a: &mut Vec<T>, b: &mut Vec<T>, digest: impl Fn(&T) -> RowsetDigest) {
    let key = |one: &T| (digest(one).rows, digest(one).sum.to_bytes());
    let mut counts: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    a.iter().for_each(|one| counts.entry(key(one)).or_default().0 += 1);
    b.iter().for_each(|one| counts.entry(key(one)).or_default().1 += 1);
    let both = |counts: &BTreeMap<_, (usize, usize)>| -> BTreeMap<_, usize> {
        counts.iter().map(|(key, (a, b))| (*key, *a.min(b))).collect()
    };
    for side in [a, b] {
        let mut gone = both(&counts);
        side.retain(|one| match gone.get_mut(&key(one)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
    }
}

fn pieces<'a>((manifest, _): Stored<'a>, units: &[OfTable<'a>]) -> Vec<PieceOf<'a>> {
    let of = |(table, unit): &OfTable<'a>| -> Vec<PieceOf<'a>> {
        let numbers = unit.pieces.iter();
        numbers.filter_map(|number| Some((*table, manifest.head.pieces.get(*number)?))).collect()
    };
    units.iter().flat_map(of).collect()
}

/// Units by their names, those of both sides together.
fn named<'a>(a: Stored<'a>, ours: &[OfTable<'a>], b: Stored<'a>, theirs: &[OfTable<'a>]) -> Vec<UnitDiff> {
    let mut rows: BTreeMap<(i64, String), (Option<u64>, Option<u64>)> = BTreeMap::new();
    for unit in ours {
        *rows.entry(name(a, unit)).or_default().0.get_or_insert(0) += unit.1.rowset.rows;
    }
    for unit in theirs {
        *rows.entry(name(b, unit)).or_default().1.get_or_insert(0) += unit.1.rowset.rows;
    }
    rows.into_iter().map(|((_, unit), (a, b))| UnitDiff { unit, a, b }).collect()
}

/// What a unit is called, behind what puts it in order.
fn name((manifest, group): Stored<'_>, (table, unit): &OfTable<'_>) -> (i64, String) {
    let of_leaf = if group.leaves.len() > 1 { format!("{} ", table.name) } else { String::new() };
    if let Some(chunk) = &unit.chunk {
        let timescale = manifest.body.timescale.as_ref();
        let time =
            timescale.and_then(|timescale| timescale.rows_of(&table.name)).and_then(|rows| rows.time());
        return match time.and_then(|time| Some((time, *chunk.chunk.ranges.get(&time.column)?))) {
            Some((time, range)) => (range.from, format!("chunk {}", label(time, range))),
            None => (Range::MIN, format!("chunk {}", chunk.chunk.name)),
        };
    }
    match unit.from_page {
        Some(page) => (i64::from(page), format!("{of_leaf}pages from {page}")),
        None => (0, format!("{of_leaf}whole")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: u64) -> RowsetDigest {
        RowsetDigest { rows, ..RowsetDigest::default() }
    }

    #[test]
    fn what_both_sides_have_is_taken_away_as_often_as_both_have_it() {
        let (mut a, mut b) = (vec![1, 2, 2, 3, 5], vec![2, 4, 3, 5, 5]);
        cancel(&mut a, &mut b, |rows| digest(*rows));
        assert_eq!((a, b), (vec![1, 2], vec![4, 5]));
    }
}

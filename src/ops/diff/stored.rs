//! The other side is a backup of the same vault.

use std::collections::BTreeMap;

use super::layout::Layout;
use super::units::{Leftover, PieceOf, Stored, leftover};
use super::{Compared, DiffVerdict, Run, by_columns, conditions_note, side, table_diff};
use crate::base::{RowsetDigest, TableName};
use crate::manifest::{Manifest, SealedManifest};
use crate::ops::OpsError;
use crate::ops::compare::{Group, groups, names};
use crate::ops::rows::{Rows, Search, Source, differences};

impl Run<'_> {
    pub(super) async fn with_backup(&self, b: &SealedManifest) -> Result<Compared, OpsError> {
        let (a, b_side) = (&self.a.manifest, side(b));
        let b = &b.manifest;
        self.strictly_matched(names(b))?;
        let (ours, theirs) = (self.groups(), groups(b, &self.request.selection));
        let count = |manifest: &Manifest, groups: &BTreeMap<TableName, Group<'_>>| -> usize {
            let leaves = groups.values().flat_map(|group| &group.leaves);
            leaves.map(|table| manifest.pieces(table).count()).sum()
        };
        let mut compared = Compared {
            b: b_side,
            tables: Vec::new(),
            digests: only_one_has(&ours, &theirs),
            pieces_read: 0,
            pieces: count(a, &ours) + count(b, &theirs),
        };
        let mut every: Vec<&TableName> = ours.keys().chain(theirs.keys()).collect();
        every.sort();
        every.dedup();
        for name in every {
            let table = match (ours.get(name), theirs.get(name)) {
                (Some(a_group), Some(b_group)) => {
                    self.pair((a, a_group), (b, b_group), &mut compared.pieces_read).await?
                }
                (Some(group), None) => {
                    table_diff(name, Some(group.expected.rows), None, DiffVerdict::OnlyInA)
                }
                (None, group) => {
                    table_diff(name, None, group.map(|group| group.expected.rows), DiffVerdict::OnlyInB)
                }
            };
            self.done(&table);
            compared.tables.push(table);
        }
        Ok(compared)
    }

    async fn pair(
        &self,
        a: Stored<'_>,
        b: Stored<'_>,
        pieces_read: &mut usize,
    ) -> Result<super::TableDiff, OpsError> {
        let (Some(first), Some(other)) = (a.1.leaves.first(), b.1.leaves.first()) else {
            return Err(OpsError::Internal(format!("{} has no tables", a.1.name)));
        };
        let layout = Layout::of(first, other);
        let (ours, theirs) = (a.1.expected, b.1.expected);
        let mut table = by_columns(&a.1.name, &layout, ours.rows, theirs.rows);
        let same_key = a.0.head.rowset == b.0.head.rowset;
        let aligned = same_key && layout.is_aligned();
        if aligned && ours == theirs {
            return Ok(table);
        }
        table.notes.extend(conditions_note(first, other));
        let Leftover { units, pieces } = leftover(a, b, aligned);
        table.units = units;
        if aligned && self.request.summary {
            table.verdict = DiffVerdict::Different;
            return Ok(table);
        }
        let [of_a, of_b] = pieces;
        *pieces_read += of_a.len() + of_b.len();
        let rows = |pieces: &[PieceOf<'_>]| pieces.iter().map(|(_, piece)| piece.rowset.rows).sum::<u64>();
        let [mappings, _] = layout.mappings();
        let search = Search {
            key: self.key,
            rows: rows(&of_a) + rows(&of_b),
            mappings: &mappings,
            keyed_by: &layout.keyed_by(),
            sample: if self.request.summary { 0 } else { self.request.sample },
        };
        let stored = |pieces| Rows::Stored { vault: self.vault, pieces };
        let a = Source { table: &a.1.name, rows: stored(of_a), projection: layout.of_a() };
        let b = Source { table: &b.1.name, rows: stored(of_b), projection: layout.of_b() };
        let found = differences(&search, &a, &b).await?;
        self.describe(&layout, found, &mut table)?;
        Ok(table)
    }
}

/// The digests of tables that are on one side only.
fn only_one_has(
    a: &BTreeMap<TableName, Group<'_>>,
    b: &BTreeMap<TableName, Group<'_>>,
) -> BTreeMap<TableName, RowsetDigest> {
    let only = |of: &BTreeMap<TableName, Group<'_>>, not: &BTreeMap<TableName, Group<'_>>| {
        let lone = of.iter().filter(|(name, _)| !not.contains_key(*name));
        lone.map(|(name, group)| (name.clone(), group.expected)).collect::<Vec<_>>()
    };
    only(a, b).into_iter().chain(only(b, a)).collect()
}

//! Tables into units: what one COPY reads, and in which order the lanes take them.

use crate::base::TableName;
use crate::catalog::{Column, Generated, Relation};
use crate::manifest::{Mapping, Table, TableColumn, TableKind};

/// Data of this many bytes (TOAST included) makes a unit: enough rows for good row groups, little enough that one changed
/// page does not rewrite half a gigabyte.
const UNIT_BYTES: u64 = 256 << 20;
/// A table that has fewer than so many of them is cut into smaller ones, so that lanes share it evenly.
const UNITS: u64 = 8;
/// But into none much smaller than this: a file has a cost of its own.
const SMALL_UNIT_BYTES: u64 = 32 << 20;
/// A unit has at least so many pages, however much TOAST hangs on them.
const FEWEST_PAGES: u32 = 16;
/// A page, as far as splitting is concerned; other block sizes only shift the unit's size.
const PAGE: u64 = 8192;

/// One COPY to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitPlan {
    /// Index of its table in the plan.
    pub table: usize,
    /// Index of the unit within its table.
    pub unit: usize,
    /// First page and the page after the last (`None`: to the end), where the table is split.
    pub pages: Option<(u32, Option<u32>)>,
    /// Estimated bytes, for the order.
    pub weight: u64,
}

impl UnitPlan {
    /// The condition that selects the unit's pages.
    pub fn condition(&self) -> Option<String> {
        let (from, to) = self.pages?;
        let upper = to.map(|to| format!(" AND ctid < '({to},0)'::pg_catalog.tid")).unwrap_or_default();
        Some(format!("ctid >= '({from},0)'::pg_catalog.tid{upper}"))
    }
}

/// Pages in a unit of this table, or `None` where it is read in one go. All units are of one size and their number is even: with a
/// smaller one at the end, one of two lanes has less to do than the other. `earlier` (the previous backup's choice) stays while
/// it is within a factor of four, because only equal boundaries let unchanged ranges be recognised.
pub fn pages_per_unit(relation: &Relation, earlier: Option<u32>) -> Option<u32> {
    if relation.access_method.as_deref() != Some("heap") || relation.pages == 0 {
        return None;
    }
    let bytes = relation.pages * PAGE + relation.toast_bytes;
    let units = match bytes.div_ceil((bytes / UNITS).clamp(SMALL_UNIT_BYTES, UNIT_BYTES)) {
        1 => 1,
        several => several.next_multiple_of(2),
    };
    let pages = u32::try_from(relation.pages.div_ceil(units)).unwrap_or(u32::MAX).max(FEWEST_PAGES);
    let pages = match earlier {
        Some(earlier) if earlier >= pages / 4 && earlier <= pages.saturating_mul(4) => earlier,
        _ => pages,
    };
    (relation.pages > u64::from(pages)).then_some(pages)
}

/// The units of one table; the last page range is open-ended, so that pages added since are in it.
pub fn split(table: usize, relation: &Relation, pages_per_unit: Option<u32>) -> Vec<UnitPlan> {
    let bytes = relation.pages * PAGE + relation.toast_bytes;
    let Some(step) = pages_per_unit else {
        return vec![UnitPlan { table, unit: 0, pages: None, weight: bytes }];
    };
    let count = relation.pages.div_ceil(u64::from(step)).max(1);
    let weight = bytes / count;
    (0..count)
        .map(|unit| {
            let from = u32::try_from(unit * u64::from(step)).unwrap_or(u32::MAX);
            let to = (unit + 1 < count).then(|| from.saturating_add(step));
            UnitPlan { table, unit: usize::try_from(unit).unwrap_or(0), pages: Some((from, to)), weight }
        })
        .collect()
}

/// Largest first, so that no lane starts something big when the others are done.
pub fn order(units: &mut [UnitPlan]) {
    units.sort_by(|a, b| b.weight.cmp(&a.weight).then(a.table.cmp(&b.table)).then(a.unit.cmp(&b.unit)));
}

/// A table of the manifest with its columns in tuple order (derived ones last) and no units yet.
pub fn table_of(relation: &Relation, tree: &Tree, mappings: &[Mapping]) -> Table {
    let describe = |(column, mapping): (&Column, &Mapping)| TableColumn {
        name: column.name.clone(),
        type_sql: column.type_sql.clone(),
        collation: column.collation.clone(),
        not_null: column.not_null,
        identity: column.identity,
        derived: column.generated == Some(Generated::Stored),
        mapping: mapping.clone(),
        text: Some(column.text.clone()),
        exceptions: 0,
    };
    let kept = relation
        .columns
        .iter()
        .zip(mappings)
        .filter(|(column, _)| column.generated != Some(Generated::Virtual));
    let (derived, mut columns): (Vec<_>, Vec<_>) = kept.map(describe).partition(|column| column.derived);
    columns.extend(derived);
    let kind = match (relation.hypertable, &relation.stored_in) {
        (Some(_), None) => TableKind::Hypertable,
        (Some(_), Some(_)) => TableKind::ContinuousAggregate,
        _ if relation.extension_condition.is_some() => TableKind::ExtensionConfiguration,
        _ => TableKind::Table,
    };
    Table {
        name: relation.name.clone(),
        kind,
        folder: tree.root.as_ref().unwrap_or(&relation.name).folder(),
        root: tree.root.clone(),
        load_through: tree.hashed.clone(),
        columns,
        primary_key: relation.primary_key.clone(),
        condition: relation
            .extension_condition
            .as_deref()
            .map(|text| text.trim().trim_start_matches("WHERE ").trim_start_matches("where ").to_owned())
            .filter(|text| !text.is_empty()),
        rowset: Default::default(),
        counted: None,
        pages_per_unit: None,
        clustered: None,
        units: Vec::new(),
    }
}

/// Where a leaf hangs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The root of its partition tree.
    pub root: Option<TableName>,
    /// The topmost hash-partitioned ancestor.
    pub hashed: Option<TableName>,
}

/// Follows `partition_of` upwards.
pub fn tree_of(relation: &Relation, all: &std::collections::BTreeMap<TableName, Relation>) -> Tree {
    let mut tree = Tree::default();
    let mut at = relation.partition_of.clone();
    while let Some(name) = at {
        let parent = all.get(&name);
        if parent.is_some_and(|parent| parent.partition_strategy == Some('h')) {
            tree.hashed = Some(name.clone());
        }
        at = parent.and_then(|parent| parent.partition_of.clone());
        tree.root = Some(name);
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::RelationKind;
    use proptest::prelude::*;

    fn heap(pages: u64, toast_bytes: u64) -> Relation {
        Relation {
            oid: 1,
            name: TableName::new("public", "t"),
            kind: RelationKind::Table,
            owner: "me".into(),
            unlogged: false,
            partition_of: None,
            partition_strategy: None,
            access_method: Some("heap".into()),
            pages,
            toast_bytes,
            estimated_rows: -1,
            filenode: Some(1),
            rewritten: false,
            readable: true,
            row_security: false,
            extension: None,
            extension_condition: None,
            columns: Vec::new(),
            primary_key: Vec::new(),
            populated: true,
            hypertable: None,
            stored_in: None,
        }
    }

    proptest! {
        #[test]
        fn ranges_cover_every_page_once_and_the_last_is_open(pages in 0u64..5_000_000, toast in 0u64..1 << 40) {
            let relation = heap(pages, toast);
            let step = pages_per_unit(&relation, None);
            let units = split(0, &relation, step);
            if step.is_some() {
                let mut next = Some(0);
                for unit in &units {
                    let (from, to) = unit.pages.unwrap();
                    prop_assert_eq!(Some(from), next);
                    next = to;
                }
                prop_assert_eq!(next, None);
            } else {
                prop_assert_eq!(units.len(), 1);
                prop_assert!(units[0].condition().is_none());
            }
        }
    }

    #[test]
    fn toast_counts_and_an_earlier_choice_stays() {
        assert_eq!(pages_per_unit(&heap(1_000_000, 0), None), Some(31_250));
        assert_eq!(pages_per_unit(&heap(100_000, 0), None), Some(12_500));
        assert_eq!(pages_per_unit(&heap(100_001, 0), None), Some(12_501));
        assert_eq!(pages_per_unit(&heap(10_000, 0), None), Some(2_500));
        assert_eq!(pages_per_unit(&heap(4_097, 0), None), Some(2_049));
        assert_eq!(pages_per_unit(&heap(4_096, 0), None), None);
        assert!(pages_per_unit(&heap(1_000, 100 << 30), None).is_some());
        assert_eq!(pages_per_unit(&heap(100_000, 0), Some(8_192)), Some(8_192));
        assert_eq!(pages_per_unit(&heap(100_000, 0), Some(1_024)), Some(12_500));
        let columnar = Relation { access_method: Some("columnar".into()), ..heap(100_000, 0) };
        assert_eq!(pages_per_unit(&columnar, None), None);
    }
}

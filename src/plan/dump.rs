//! The dump's plan: which relations, and what of an earlier backup can stay.

use std::collections::BTreeMap;

use super::mapping::{NumericProfile, choose, is_unconstrained_numeric, still_fits};
use super::selection::TableSelection;
use super::units::{Tree, tree_of};
use crate::base::TableName;
use crate::catalog::{Relation, RelationKind, SourceFacts};
use crate::manifest::{Mapping, Omission, Table};

/// What the survey's relations come to under a selection.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Relations whose rows are read.
    pub tables: Vec<Relation>,
    /// What is there and left out.
    pub omitted: Vec<Omission>,
}

/// Chooses. A partitioned table that is selected brings its leaves along; `-T` takes a leaf, or a whole tree, out.
pub fn choose_relations(relations: &[Relation], selection: &TableSelection, in_recovery: bool) -> Chosen {
    let by_name: BTreeMap<TableName, Relation> =
        relations.iter().map(|relation| (relation.name.clone(), relation.clone())).collect();
    let mut chosen = Chosen::default();
    let mut omit = |what: String, why: &str| chosen.omitted.push(Omission { what, why: why.to_owned() });
    for relation in relations {
        if relation.extension.is_some() && relation.extension_condition.is_none() {
            continue;
        }
        let name = &relation.name;
        match relation.kind {
            RelationKind::Partitioned | RelationKind::MaterializedView => continue,
            RelationKind::Foreign => {
                omit(format!("rows of the foreign table {name}"), "they live on another server")
            }
            RelationKind::Table if !takes_with_tree(relation, selection, &by_name) => {
                omit(format!("table {name}"), "not selected");
            }
            RelationKind::Table if relation.unlogged && in_recovery => {
                omit(format!("rows of the unlogged table {name}"), "a standby has none");
            }
            RelationKind::Table => chosen.tables.push(relation.clone()),
        }
    }
    chosen
}

fn takes_with_tree(
    relation: &Relation,
    selection: &TableSelection,
    all: &BTreeMap<TableName, Relation>,
) -> bool {
    let mut names = vec![relation.name.clone()];
    let mut at = relation.partition_of.clone();
    while let Some(name) = at {
        at = all.get(&name).and_then(|parent| parent.partition_of.clone());
        names.push(name);
    }
    let excluded = |name: &TableName| selection.exclude_tables.iter().any(|pattern| pattern.matches(name));
    !names.iter().any(excluded) && names.iter().any(|name| selection.takes(name))
}

/// The tree each chosen table hangs in.
pub fn trees(chosen: &[Relation], relations: &[Relation]) -> Vec<Tree> {
    let by_name: BTreeMap<TableName, Relation> =
        relations.iter().map(|relation| (relation.name.clone(), relation.clone())).collect();
    chosen.iter().map(|relation| tree_of(relation, &by_name)).collect()
}

/// The mapping of every column of a relation. The choice of an earlier backup (`before`) stays where it still holds everything, so that
/// its pieces can stay too.
pub fn mappings(
    relation: &Relation,
    facts: &SourceFacts,
    profiles: &BTreeMap<String, NumericProfile>,
    before: Option<&Table>,
) -> Vec<Mapping> {
    relation
        .columns
        .iter()
        .map(|column| {
            let profile = profiles.get(&column.name).copied();
            let chosen = choose(column, facts.money_fraction, profile);
            let kept = before.and_then(|table| {
                table.columns.iter().find(|old| old.name == column.name && old.type_sql == column.type_sql)
            });
            match (kept.map(|old| &old.mapping), profile) {
                (Some(old), Some(profile)) if still_fits(old, profile) => old.clone(),
                (Some(old), None) if Some(old) == widened(&chosen).as_ref() => old.clone(),
                _ => chosen,
            }
        })
        .collect()
}

/// Columns of a relation whose mapping needs to know what is in them.
pub fn columns_to_profile(relation: &Relation) -> Vec<String> {
    relation
        .columns
        .iter()
        .filter(|column| is_unconstrained_numeric(column))
        .map(|column| column.name.clone())
        .collect()
}

/// The next wider mapping for a column with too many exceptions; `None` where there is none.
pub fn widened(mapping: &Mapping) -> Option<Mapping> {
    match mapping {
        Mapping::ServerText | Mapping::NumericText | Mapping::Binary => None,
        Mapping::Decimal { .. } => Some(Mapping::NumericText),
        // What is no UTF-8 under one mapping is none under another; the bytes themselves are.
        Mapping::Utf8 | Mapping::Bpchar { .. } | Mapping::VersionedText | Mapping::Char => {
            Some(Mapping::Binary)
        }
        _ => Some(Mapping::ServerText),
    }
}

/// Fewer exceptions than this never widen a column: a small table with one NaN keeps its decimals.
const FEW: u64 = 100;

/// Whether a column has more exceptions than a sidecar is meant for: above one in a hundred rows.
pub fn too_many(exceptions: u64, rows: u64) -> bool {
    exceptions >= FEW && exceptions.saturating_mul(100) > rows
}

/// Why tables cannot be read by this role: every one of them, at once.
pub fn unreadable(tables: &[Relation]) -> Vec<String> {
    tables
        .iter()
        .filter_map(|relation| {
            if !relation.readable {
                Some(format!("{}: no SELECT privilege (or no USAGE on its schema)", relation.name))
            } else if relation.row_security {
                Some(format!("{}: row security would hide rows from this role", relation.name))
            } else {
                None
            }
        })
        .collect()
}

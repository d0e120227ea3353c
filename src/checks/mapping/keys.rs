//! Keys: which of a table's columns others refer to, and how keys of different types are compared.

use std::collections::BTreeMap;

use super::{Candidate, MappedColumn, Mapping, RECOGNISED, recognise};
use crate::checks::columns::ColumnSort;
use crate::checks::definition::{Kind, Role};

/// A table of orders may have both a number and a UUID; which of them is the `id` shows in the columns that refer to it.
pub(super) fn fit_ids(mapping: &mut Mapping, roles: &BTreeMap<String, Role>, tables: &[Candidate]) {
    let mut referring: BTreeMap<&'static str, ColumnSort> = BTreeMap::new();
    for (role, mapped) in &mapping.roles {
        for (name, column) in mapped.columns.iter().filter(|(name, _)| *name != "id") {
            referring.extend(thing(role, name).map(|thing| (thing, column.sort)));
        }
    }
    for (name, mapped) in &mut mapping.roles {
        let sort = thing(name, "id").and_then(|thing| referring.get(thing));
        let (Some(sort), Some(id)) = (sort, mapped.columns.get_mut("id")) else { continue };
        let table = tables.iter().find(|table| table.name == mapped.table);
        let (Some(table), Some(role)) = (table, roles.get(name)) else { continue };
        if id.why == RECOGNISED && !id.sort.compares_with(*sort) {
            let names = &role.columns["id"].names;
            let fitting = names.iter().filter_map(|name| recognise(table, name, Kind::Key));
            *id = fitting.into_iter().find(|other| other.sort.compares_with(*sort)).unwrap_or(id.clone());
        }
    }
}

/// Marks keys of one thing to be compared as text where their types have no comparison: a number here, its text there.
pub(super) fn align(mapping: &mut Mapping, roles: &BTreeMap<String, Role>) {
    let mut sorts: BTreeMap<&'static str, Vec<ColumnSort>> = BTreeMap::new();
    for_each_key(mapping, roles, |thing, column| sorts.entry(thing).or_default().push(column.sort));
    for_each_key(mapping, roles, |thing, column| {
        let others = sorts.get(thing).into_iter().flatten();
        column.as_text = others.into_iter().any(|other| !column.sort.compares_with(*other));
    });
}

fn for_each_key(
    mapping: &mut Mapping,
    roles: &BTreeMap<String, Role>,
    mut visit: impl FnMut(&'static str, &mut MappedColumn),
) {
    for (role, mapped) in &mut mapping.roles {
        for (name, column) in &mut mapped.columns {
            let is_key = roles
                .get(role)
                .and_then(|role| role.columns.get(name))
                .is_some_and(|known| known.kind == Kind::Key);
            if let (true, Some(thing)) = (is_key, thing(role, name)) {
                visit(thing, column);
            }
        }
    }
}

/// What a role's key identifies, for things that several roles speak of.
fn thing(role: &str, column: &str) -> Option<&'static str> {
    Some(match (role, column) {
        ("orders", "id") | (_, "order_id") => "order",
        ("accounts", "id") | (_, "account") => "account",
        ("symbols", "id") | (_, "symbol") => "symbol",
        ("assets", "id") | (_, "asset" | "fee_asset" | "base_asset" | "quote_asset") => "asset",
        (_, "venue") => "venue",
        _ => return None,
    })
}

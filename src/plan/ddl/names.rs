//! What every name becomes when schemas and tables are renamed: tables, and what shares a name space with them.
//!
//! Names are looked up by the entries that made them, so that an extension's function in a renamed schema keeps its
//! name. Does not touch SQL ([`super::rewrite`]).

use std::collections::{BTreeMap, BTreeSet};

use super::ast;
use super::selection::subject;
use crate::base::{Digest, TableName};
use crate::catalog::ddl::{SchemaDump, SchemaEntry};

/// PostgreSQL's limit for a name, in bytes (NAMEDATALEN - 1).
const LONGEST_NAME: usize = 63;

/// What is to be renamed. A table's own entry wins over its schema's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renames {
    /// Old schema to new schema.
    pub schemas: BTreeMap<String, String>,
    /// Old table to new table, each with its schema. Partitions are named one by one, like other tables.
    pub tables: BTreeMap<TableName, TableName>,
}

impl Renames {
    /// Whether nothing is renamed.
    pub fn is_empty(&self) -> bool {
        self.schemas.is_empty() && self.tables.is_empty()
    }

    /// Where the rows of a table go.
    pub fn target(&self, table: &TableName) -> TableName {
        self.tables.get(table).cloned().unwrap_or_else(|| {
            let schema = self.schemas.get(&table.schema).unwrap_or(&table.schema);
            TableName::new(schema.clone(), table.name.clone())
        })
    }
}

/// The complete mapping for one dump.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    schemas: BTreeMap<String, String>,
    /// Relations and their indexes that get an own new name; others follow their schema.
    relations: BTreeMap<TableName, TableName>,
    /// Statistics objects, which have a name space of their own.
    statistics: BTreeMap<TableName, TableName>,
    /// Everything the dump makes, by schema.
    made: BTreeMap<String, BTreeSet<String>>,
    /// Schemas that hold extensions' objects, which are in no entry.
    of_extensions: BTreeSet<String>,
}

impl Names {
    pub(super) fn new(dump: &SchemaDump, renames: &Renames) -> Self {
        let mut names = Self { schemas: renames.schemas.clone(), ..Self::default() };
        names.relations = renames.tables.clone();
        for entry in &dump.entries {
            names.learn(entry);
            if let Some(table) = subject(entry)
                && let Some(target) = renames.tables.get(&table)
            {
                names.follow(entry, &table, target);
            }
        }
        names
    }

    fn learn(&mut self, entry: &SchemaEntry) {
        if entry.kind == "EXTENSION" {
            self.of_extensions.extend(extension_schema(&entry.definition));
        }
        let (Some(schema), false) =
            (&entry.schema, matches!(&*entry.kind, "COMMENT" | "ACL" | "SECURITY LABEL"))
        else {
            return;
        };
        let made = self.made.entry(schema.clone()).or_default();
        match &*entry.kind {
            "FUNCTION" | "PROCEDURE" | "AGGREGATE" => {
                made.extend(entry.name.split('(').next().map(str::to_owned));
            }
            // The name of a key's index is the constraint's, behind the table's.
            "CONSTRAINT" => made.extend(constraint_name(entry)),
            _ => {
                made.insert(entry.name.clone());
            }
        }
        if entry.kind == "TYPE" {
            made.extend(multirange(&entry.definition));
        }
    }

    /// Indexes, keys, sequences and statistics of a renamed table go with it.
    fn follow(&mut self, entry: &SchemaEntry, table: &TableName, target: &TableName) {
        let name = match &*entry.kind {
            "INDEX" | "SEQUENCE" | "SEQUENCE OWNED BY" | "STATISTICS" => Some(entry.name.clone()),
            "CONSTRAINT" => constraint_name(entry),
            _ => None,
        };
        let (Some(name), Some(schema)) = (name, &entry.schema) else { return };
        let new = TableName::new(target.schema.clone(), derived(&table.name, &target.name, &name));
        let map = if entry.kind == "STATISTICS" { &mut self.statistics } else { &mut self.relations };
        map.insert(TableName::new(schema.clone(), name), new);
    }

    /// The new name of a schema.
    pub(super) fn schema<'a>(&'a self, schema: &'a str) -> &'a str {
        self.schemas.get(schema).map_or(schema, String::as_str)
    }

    /// The new name of a relation or index; `None` if it stays.
    pub(super) fn relation(&self, old: &TableName) -> Option<TableName> {
        self.relations.get(old).cloned().or_else(|| self.member(old))
    }

    /// The new name of a statistics object; `None` if it stays.
    pub(super) fn statistics(&self, old: &TableName) -> Option<TableName> {
        self.statistics.get(old).cloned().or_else(|| self.member(old))
    }

    /// The new name of anything else in a schema, which only follows its schema; `None` if it stays.
    pub(super) fn member(&self, old: &TableName) -> Option<TableName> {
        let schema = self.schemas.get(&old.schema)?;
        let made = self.made.get(&old.schema).is_some_and(|names| names.contains(&old.name));
        (made || !self.of_extensions.contains(&old.schema))
            .then(|| TableName::new(schema.clone(), old.name.clone()))
    }

    /// The old names that a text must not mention any more: renamed schemas, and tables with a new name.
    pub(super) fn outdated(&self) -> impl Iterator<Item = &str> {
        let tables =
            self.relations.iter().filter(|(old, new)| old.name != new.name).map(|(old, _)| &*old.name);
        let schemas = self.schemas.iter().filter(|(old, new)| old != new).map(|(old, _)| &**old);
        schemas.chain(tables)
    }

    /// Every relation with an own new name: tables, and the indexes, keys and sequences that follow them.
    pub(super) fn relations(&self) -> &BTreeMap<TableName, TableName> {
        &self.relations
    }
}

/// `orders_pkey` of the tag `orders orders_pkey`.
pub(super) fn constraint_name(entry: &SchemaEntry) -> Option<String> {
    let table = subject(entry)?;
    entry.name.strip_prefix(&format!("{} ", table.name)).map(str::to_owned)
}

/// How an index, key, sequence or statistics object of a renamed table is called, so that it can stand beside the
/// original: the table's old name at its beginning is replaced by the new one; without that, the new name is put
/// behind it. Above 63 bytes, the last nine are `_` and eight hex digits of the whole name's blake3.
pub(super) fn derived(old_table: &str, new_table: &str, name: &str) -> String {
    if old_table == new_table {
        return name.to_owned();
    }
    let rest = name.strip_prefix(old_table).filter(|rest| rest.is_empty() || rest.starts_with('_'));
    let mut new = match rest {
        Some(rest) => format!("{new_table}{rest}"),
        None => format!("{name}_{new_table}"),
    };
    if new.len() > LONGEST_NAME {
        let digest = Digest::of(new.as_bytes()).short();
        let mut end = LONGEST_NAME - 9;
        while !new.is_char_boundary(end) {
            end -= 1;
        }
        new.truncate(end);
        new = format!("{new}_{digest}");
    }
    new
}

fn extension_schema(definition: &str) -> Option<String> {
    let tree = ast::trees(definition)?;
    let mut found = None;
    ast::walk(&tree, &mut |kind, fields| {
        if kind == "DefElem" && fields.get("defname").and_then(|name| name.as_str()) == Some("schema") {
            found = fields.get("arg").and_then(ast::string).map(str::to_owned);
        }
    });
    found
}

fn multirange(definition: &str) -> Option<String> {
    let tree = ast::trees(definition)?;
    let mut found = None;
    ast::walk(&tree, &mut |kind, fields| {
        let name = fields.get("defname").and_then(|name| name.as_str());
        if kind == "DefElem" && name == Some("multirange_type_name") {
            let names = fields.get("arg").and_then(|arg| arg.pointer("/node/TypeName/names"));
            found = names.and_then(|names| names.as_array()?.last().and_then(ast::string)).map(str::to_owned);
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_renamed_table_gets_a_name_beside_the_original() {
        assert_eq!(derived("orders", "orders_old", "orders_pkey"), "orders_old_pkey");
        assert_eq!(derived("orders", "orders_old", "orders"), "orders_old");
        assert_eq!(derived("orders", "orders_old", "ordersets_idx"), "ordersets_idx_orders_old");
        assert_eq!(derived("orders", "orders", "by_day"), "by_day");
    }

    #[test]
    fn a_table_of_its_own_name_wins_over_its_schema() {
        let (old, new) = (TableName::new("a", "t"), TableName::new("c", "u"));
        let renames = Renames {
            schemas: [("a".to_owned(), "b".to_owned())].into(),
            tables: [(old.clone(), new.clone())].into(),
        };
        assert_eq!(renames.target(&old), new);
        assert_eq!(renames.target(&TableName::new("a", "x")), TableName::new("b", "x"));
        assert_eq!(renames.target(&TableName::new("z", "x")), TableName::new("z", "x"));
    }

    #[test]
    fn a_derived_name_fits_and_two_long_ones_stay_apart() {
        let long = |end: &str| derived("t", &"ü".repeat(28), &format!("t_some_long_name_{end}"));
        assert!(long("a").len() <= LONGEST_NAME);
        assert_ne!(long("a"), long("b"));
    }
}

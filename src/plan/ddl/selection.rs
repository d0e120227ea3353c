//! Which entries belong to chosen tables or schemas.
//!
//! As `pg_dump` does it: a chosen table brings its indexes, constraints, triggers, rules, policies, defaults, owned
//! sequences, comments, grants, statistics and labels, but not the types, functions or schemas it needs; a chosen
//! schema brings everything in it. What an entry belongs to is read from its parse tree and its dependencies, never
//! guessed from its name.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::ast;
use crate::base::TableName;
use crate::catalog::ddl::{SchemaDump, SchemaEntry};

/// What to choose. An entry is chosen if its table is, or if its schema is.
pub struct Selection<'a> {
    /// Whether a table, view, materialised view, foreign table or sequence is wanted.
    pub table: &'a dyn Fn(&TableName) -> bool,
    /// Whether everything in a schema is wanted (relations must pass `table` too).
    pub schema: &'a dyn Fn(&str) -> bool,
}

/// Chosen entries and what they lean on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// The chosen entries in the dump's order, ready to be planned like a whole dump.
    pub dump: SchemaDump,
    /// Foreign keys of chosen tables that refer to tables not chosen: label of the key, and that table.
    pub foreign_keys_out: Vec<(String, TableName)>,
}

impl Selection<'_> {
    /// The entries that are chosen.
    pub fn apply(&self, dump: &SchemaDump) -> Selected {
        let by_id: HashMap<i32, &SchemaEntry> = dump.entries.iter().map(|e| (e.dump_id, e)).collect();
        // Reading parse trees is the expensive part: once.
        let subjects: Vec<Option<TableName>> = dump.entries.iter().map(subject).collect();
        let mut chosen = BTreeSet::new();
        self.owned_sequences(dump, &by_id, &subjects, &mut chosen);
        for (entry, subject) in dump.entries.iter().zip(&subjects) {
            if self.wants(entry, subject.as_ref(), &by_id, &chosen) {
                chosen.insert(entry.dump_id);
            }
        }
        let kept = dump.entries.iter().filter(|entry| chosen.contains(&entry.dump_id));
        let foreign_keys_out = kept.clone().filter_map(|entry| self.foreign(entry)).collect();
        Selected { dump: SchemaDump { entries: kept.cloned().collect(), ..dump.clone() }, foreign_keys_out }
    }

    fn wants(
        &self,
        entry: &SchemaEntry,
        subject: Option<&TableName>,
        by_id: &HashMap<i32, &SchemaEntry>,
        chosen: &BTreeSet<i32>,
    ) -> bool {
        if let Some(relation) = entry.relation().filter(|_| entry.kind != "SEQUENCE" || subject.is_none()) {
            return chosen.contains(&entry.dump_id) || (self.table)(&relation);
        }
        match &*entry.kind {
            // They belong to the first thing they name; a grant on a column also names the grant on its table.
            "COMMENT" | "ACL" | "SECURITY LABEL" => entry.depends_on.iter().any(|id| {
                chosen.contains(id) && by_id.get(id).is_some_and(|entry| !super::statements::is_acl(entry))
            }),
            "SCHEMA" => (self.schema)(&entry.name),
            _ => match subject {
                Some(table) => (self.table)(table),
                None => entry.schema.as_deref().is_some_and(|schema| (self.schema)(schema)),
            },
        }
    }

    /// A sequence comes with the table that owns it.
    fn owned_sequences(
        &self,
        dump: &SchemaDump,
        by_id: &HashMap<i32, &SchemaEntry>,
        subjects: &[Option<TableName>],
        chosen: &mut BTreeSet<i32>,
    ) {
        for (entry, owner) in dump.entries.iter().zip(subjects) {
            let owned = entry.kind == "SEQUENCE OWNED BY" && owner.as_ref().is_some_and(self.table);
            if owned {
                let is_sequence = |id: &i32| by_id.get(id).is_some_and(|entry| entry.kind == "SEQUENCE");
                chosen.insert(entry.dump_id);
                chosen.extend(entry.depends_on.iter().copied().filter(is_sequence));
            }
        }
    }

    fn foreign(&self, entry: &SchemaEntry) -> Option<(String, TableName)> {
        if entry.kind != "FK CONSTRAINT" {
            return None;
        }
        let tree = ast::trees(&entry.definition)?;
        let mut target = None;
        ast::walk(&tree, &mut |kind, fields| {
            if kind == "pktable" {
                target = range_var(fields);
            }
        });
        target.filter(|table| !(self.table)(table)).map(|table| (entry.label(), table))
    }
}

/// The table that an entry belongs to without being one: an index's, a constraint's, a trigger's, a policy's table.
///
/// `None` for objects that belong to no table, and for what this grammar cannot read.
pub fn subject(entry: &SchemaEntry) -> Option<TableName> {
    let field = match &*entry.kind {
        "INDEX" | "TRIGGER" | "RULE" | "FK CONSTRAINT" | "CHECK CONSTRAINT" | "CONSTRAINT" | "DEFAULT"
        | "ROW SECURITY" | "SEQUENCE" | "TABLE ATTACH" => "relation",
        "POLICY" => "table",
        "STATISTICS" => "RangeVar",
        "PUBLICATION TABLE" => "relation",
        "SEQUENCE OWNED BY" => return owner_of_sequence(entry),
        "INDEX ATTACH" => return None,
        _ => return None,
    };
    let tree = ast::trees(&entry.definition)?;
    let statement = tree.pointer("/stmts/0/stmt/node")?.as_object()?.iter().next()?;
    // `CREATE SEQUENCE` makes a relation of its own; only `ALTER TABLE … ADD GENERATED` is about a table.
    if entry.kind == "SEQUENCE" && statement.0 != "AlterTableStmt" {
        return None;
    }
    if entry.kind == "TABLE ATTACH" {
        return Some(TableName::new(entry.schema.clone()?, entry.name.clone()));
    }
    let mut found = None;
    ast::walk(statement.1, &mut |kind, fields| {
        if kind == field && found.is_none() {
            found = range_var(fields);
        }
    });
    found
}

fn owner_of_sequence(entry: &SchemaEntry) -> Option<TableName> {
    let tree = ast::trees(&entry.definition)?;
    let mut found = None;
    ast::walk(&tree, &mut |kind, fields| {
        if kind == "DefElem" && fields.get("defname").and_then(Value::as_str) == Some("owned_by") {
            let names = fields.get("arg").and_then(|arg| arg.pointer("/node/List/items"));
            let names: Vec<&str> =
                names.and_then(Value::as_array).into_iter().flatten().filter_map(ast::string).collect();
            if let [schema, table, _column] = names[..] {
                found = Some(TableName::new(schema, table));
            }
        }
    });
    found
}

fn range_var(fields: &serde_json::Map<String, Value>) -> Option<TableName> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    Some(TableName::new(text("schemaname")?, text("relname")?))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::nasty;
    use super::*;

    fn labels(selected: &Selected) -> Vec<String> {
        selected.dump.entries.iter().map(SchemaEntry::label).collect()
    }

    #[test]
    fn a_table_brings_what_belongs_to_it_and_nothing_else() {
        let orders = TableName::new("market", "orders");
        let selected = Selection { table: &|table| *table == orders, schema: &|_| false }.apply(&nasty());
        let labels = labels(&selected);
        for wanted in [
            "TABLE market.orders",
            "SEQUENCE market.orders_id_seq",
            "SEQUENCE OWNED BY market.orders_id_seq",
            "DEFAULT market.orders id",
            "CONSTRAINT market.orders orders_pkey",
            "INDEX market.orders_expr",
            "TRIGGER market.orders touch",
            "POLICY market.orders mine",
            "ROW SECURITY market.orders",
            "STATISTICS market.ostat",
            "COMMENT market.COLUMN orders.px",
            "COMMENT market.INDEX orders_day",
            "ACL market.TABLE orders",
            "FK CONSTRAINT market.orders orders_account_id_fkey",
            "PUBLICATION TABLE market.pub orders",
        ] {
            assert!(labels.contains(&wanted.to_owned()), "{wanted} is missing from {labels:#?}");
        }
        assert!(
            labels.iter().all(|label| !label.contains("accounts") && !label.contains("bars")),
            "{labels:#?}"
        );
        let accounts = TableName::new("market", "accounts");
        let out: Vec<&TableName> = selected.foreign_keys_out.iter().map(|(_, table)| table).collect();
        assert_eq!(out, [&accounts]);
    }

    #[test]
    fn an_identity_column_keeps_its_sequence() {
        let accounts = TableName::new("market", "accounts");
        let selected = Selection { table: &|table| *table == accounts, schema: &|_| false }.apply(&nasty());
        let labels = labels(&selected);
        assert!(labels.contains(&"SEQUENCE market.accounts_id_seq".to_owned()), "{labels:#?}");
        assert!(labels.contains(&"ACL market.COLUMN accounts.name".to_owned()), "{labels:#?}");
    }

    #[test]
    fn a_schema_brings_everything_in_it_but_not_what_stands_outside() {
        let selected =
            Selection { table: &|table| table.schema == "market", schema: &|schema| schema == "market" }
                .apply(&nasty());
        let labels = labels(&selected);
        assert!(
            labels.contains(&"SCHEMA market".to_owned()) && labels.contains(&"TYPE market.quote".to_owned())
        );
        assert!(labels.contains(&"COMMENT SCHEMA market".to_owned()));
        assert!(!labels.iter().any(|label| label.contains("Odd.Schema") || label.starts_with("EXTENSION")));
    }
}

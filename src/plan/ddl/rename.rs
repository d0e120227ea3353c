//! Entries under other names: another schema, another table name, beside the original or in its place.
//!
//! Bodies of functions that are strings are code in other languages and are not changed; where they mention an old
//! name, that is reported. The SQL itself is rewritten by `rewrite`, by the mapping in `names`.

use std::collections::BTreeMap;

use super::ast;
use super::names::{Names, constraint_name};
use super::rewrite::{Context, rewrite};
use super::selection::subject;
use crate::base::TableName;
use crate::catalog::ddl::{SchemaDump, SchemaEntry};

pub use super::names::Renames;

/// A text that was not changed although it may name something that has another name now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameWarning {
    /// The object, as in [`SchemaEntry::label`], under its old name.
    pub object: String,
    /// The old name it mentions; `None` if the parser could not read the definition.
    pub mentions: Option<String>,
}

/// A renamed dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renamed {
    /// The entries under their new names.
    pub dump: SchemaDump,
    /// Relations with an own new name, old to new: the tables asked for, and the indexes, keys and sequences that
    /// follow them. Relations that only follow their schema are not listed.
    pub relations: BTreeMap<TableName, TableName>,
    /// What a person should look at.
    pub warnings: Vec<RenameWarning>,
}

/// Renames a dump.
pub fn rename(dump: &SchemaDump, renames: &Renames) -> Renamed {
    let names = Names::new(dump, renames);
    let mut renamed = Renamed { relations: names.relations().clone(), ..Renamed::default() };
    let mut entries = Vec::with_capacity(dump.entries.len());
    for entry in &dump.entries {
        entries.push(one(entry, &names, &mut renamed.warnings));
    }
    renamed.dump = SchemaDump { entries, ..dump.clone() };
    renamed
}

fn one(entry: &SchemaEntry, names: &Names, warnings: &mut Vec<RenameWarning>) -> SchemaEntry {
    let table = subject(entry);
    let context = Context {
        table: table.as_ref(),
        outer: entry.kind == "POLICY",
        statistics: entry.kind == "STATISTICS" || entry.name.starts_with("STATISTICS "),
    };
    let (definition, readable) = rewrite(&entry.definition, names, context);
    if !readable {
        warnings.push(RenameWarning { object: entry.label(), mentions: None });
    }
    if entry.kind != "COMMENT" && entry.kind != "SECURITY LABEL" {
        let found = mentions(&definition, names)
            .map(|name| RenameWarning { object: entry.label(), mentions: Some(name) });
        warnings.extend(found);
    }
    let (schema, name) = identity(entry, table.as_ref(), names);
    SchemaEntry { definition, drop: rewrite(&entry.drop, names, context).0, schema, name, ..entry.clone() }
}

/// The entry's schema and tag under their new names.
fn identity(entry: &SchemaEntry, table: Option<&TableName>, names: &Names) -> (Option<String>, String) {
    let Some(schema) = &entry.schema else {
        let name = match (&*entry.kind, entry.name.strip_prefix("SCHEMA ")) {
            ("SCHEMA", _) => names.schema(&entry.name).to_owned(),
            ("COMMENT" | "ACL" | "SECURITY LABEL", Some(of)) => format!("SCHEMA {}", names.schema(of)),
            _ => entry.name.clone(),
        };
        return (None, name);
    };
    let own = TableName::new(schema.clone(), entry.name.clone());
    let new = match (&*entry.kind, table) {
        ("STATISTICS", _) => names.statistics(&own),
        (
            "INDEX" | "INDEX ATTACH" | "SEQUENCE" | "SEQUENCE OWNED BY" | "ROW SECURITY" | "TABLE ATTACH",
            _,
        ) => names.relation(&own),
        // `orders orders_pkey`: the table's name, then the object's.
        (_, Some(table)) if entry.name.starts_with(&format!("{} ", table.name)) => {
            let rest = &entry.name[table.name.len() + 1..];
            let key = constraint_name(entry)
                .filter(|_| entry.kind == "CONSTRAINT")
                .and_then(|name| names.relation(&TableName::new(table.schema.clone(), name)))
                .map_or_else(|| rest.to_owned(), |new| new.name);
            names.relation(table).map(|new| TableName::new(new.schema, format!("{} {key}", new.name)))
        }
        _ if entry.relation().is_some() => names.relation(&own),
        _ => None,
    };
    match new {
        Some(new) => (Some(new.schema), new.name),
        None => (Some(names.schema(schema).to_owned()), entry.name.clone()),
    }
}

/// The first old name that a string in this text still mentions, as a whole word.
fn mentions(sql: &str, names: &Names) -> Option<String> {
    let strings: Vec<&str> = ast::tokens(sql)?
        .iter()
        .filter_map(|token| sql.get(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?))
        .filter(|text| text.starts_with(['\'', '$']) || text.starts_with("E'"))
        .collect();
    names.outdated().find(|name| strings.iter().any(|text| has_word(text, name))).map(str::to_owned)
}

fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part) && !word.is_empty()
    })
}

#[cfg(test)]
mod tests;

//! [`Declarations`]: constraints that the configuration states, because the database does not have them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::base::TableName;
use crate::catalog::structure::{Constraint, ForeignKey, Rule, Standing};

/// `[[checks.relation]]`, `[[checks.unique]]`, `[[checks.not_null]]`, `[[checks.accepted]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declarations {
    /// Columns that refer to rows of another table.
    pub relation: Vec<DeclaredRelation>,
    /// Columns that no two rows share.
    pub unique: Vec<DeclaredUnique>,
    /// Columns that always have a value.
    pub not_null: Vec<DeclaredNotNull>,
    /// Columns that have a value out of a list.
    pub accepted: Vec<DeclaredAccepted>,
}

/// One column, or several of the same table: `schema.table.column`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ColumnNames {
    /// One.
    One(String),
    /// Several, in order.
    Several(Vec<String>),
}

/// `[[checks.relation]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredRelation {
    /// What refers.
    pub child: ColumnNames,
    /// What is referred to.
    pub parent: ColumnNames,
    /// What NULLs mean.
    #[serde(default, rename = "match")]
    pub matching: Matching,
    /// Only rows for which this holds.
    pub when: Option<String>,
}

/// What NULLs mean in a relation of several columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// A row with a NULL refers to nothing.
    #[default]
    Simple,
    /// All are NULL, or none.
    Full,
}

/// `[[checks.unique]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredUnique {
    /// The columns.
    pub columns: ColumnNames,
    /// Two NULLs are the same.
    #[serde(default)]
    pub nulls_not_distinct: bool,
    /// Only rows for which this holds.
    pub when: Option<String>,
}

/// `[[checks.not_null]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredNotNull {
    /// The columns.
    pub columns: ColumnNames,
    /// Only rows for which this holds.
    pub when: Option<String>,
}

/// `[[checks.accepted]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredAccepted {
    /// The column.
    pub column: String,
    /// Its values as text.
    pub values: Vec<String>,
    /// Only rows for which this holds.
    pub when: Option<String>,
}

/// Why a declaration cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[[checks.{section}]] {text}")]
pub struct DeclarationError {
    section: &'static str,
    text: String,
}

/// Tables by name, with their columns.
pub type KnownTables = BTreeMap<TableName, BTreeSet<String>>;

impl Declarations {
    /// The constraints that they state of these tables.
    pub fn constraints(&self, tables: &KnownTables) -> Result<Vec<Constraint>, DeclarationError> {
        let mut all = Vec::new();
        let mut state = |(table, rule): (TableName, Rule), when: &Option<String>| {
            let (condition, standing) = (when.clone(), Standing::Declared);
            all.push(Constraint { table, rule, name: None, condition, standing });
        };
        for declared in &self.relation {
            state(declared.rule(&Section("relation", tables))?, &declared.when);
        }
        for declared in &self.unique {
            let (table, columns) = Section("unique", tables).columns("columns", &declared.columns)?;
            let nulls_distinct = !declared.nulls_not_distinct;
            state((table, Rule::Unique { columns, primary: false, nulls_distinct }), &declared.when);
        }
        for declared in &self.not_null {
            let (table, columns) = Section("not_null", tables).columns("columns", &declared.columns)?;
            state((table, Rule::NotNull(columns)), &declared.when);
        }
        for declared in &self.accepted {
            let section = Section("accepted", tables);
            let (table, column) = section.column("column", &declared.column)?;
            if declared.values.is_empty() {
                return Err(section.wrong("values: name at least one value".to_owned()));
            }
            state((table, Rule::Accepted { column, values: declared.values.clone() }), &declared.when);
        }
        Ok(all)
    }
}

impl DeclaredRelation {
    fn rule(&self, section: &Section<'_>) -> Result<(TableName, Rule), DeclarationError> {
        let (table, columns) = section.columns("child", &self.child)?;
        let (parent, parent_columns) = section.columns("parent", &self.parent)?;
        if columns.len() != parent_columns.len() {
            return Err(section.wrong(format!(
                "child has {} columns and parent {}; each refers to one",
                columns.len(),
                parent_columns.len()
            )));
        }
        let full = self.matching == Matching::Full;
        let key =
            ForeignKey { columns, parent, parent_columns, full, period: false, comparisons: Vec::new() };
        Ok((table, Rule::ForeignKey(key)))
    }
}

/// A section of the configuration, and what its names may mean.
struct Section<'a>(&'static str, &'a KnownTables);

impl Section<'_> {
    fn wrong(&self, text: String) -> DeclarationError {
        DeclarationError { section: self.0, text }
    }

    fn columns(&self, key: &str, names: &ColumnNames) -> Result<(TableName, Vec<String>), DeclarationError> {
        let names = match names {
            ColumnNames::One(name) => std::slice::from_ref(name),
            ColumnNames::Several(names) => names,
        };
        let all: Vec<(TableName, String)> =
            names.iter().map(|name| self.column(key, name)).collect::<Result<_, _>>()?;
        let Some((table, _)) = all.first().cloned() else {
            return Err(self.wrong(format!("{key}: name at least one column")));
        };
        if let Some((other, _)) = all.iter().find(|(other, _)| *other != table) {
            return Err(self.wrong(format!("{key}: columns of one table, not of {table} and {other}")));
        }
        Ok((table, all.into_iter().map(|(_, column)| column).collect()))
    }

    /// `schema.table.column`, or `table.column` where only one schema has such a table.
    fn column(&self, key: &str, name: &str) -> Result<(TableName, String), DeclarationError> {
        let wrong = |why: &str| self.wrong(format!("{key} = {name:?}: {why}"));
        let parts = parts(name).unwrap_or_default();
        let (schema, table, column) = match parts.as_slice() {
            [schema, table, column] => (Some(schema), table, column),
            [table, column] => (None, table, column),
            _ => return Err(wrong("write \"schema.table.column\"")),
        };
        let fits =
            |known: &&TableName| known.name == *table && schema.is_none_or(|schema| known.schema == *schema);
        let found: Vec<&TableName> = self.1.keys().filter(fits).collect();
        match found.as_slice() {
            [] => Err(wrong("the database has no such table")),
            [table] if self.1[*table].contains(column) => Ok(((*table).clone(), column.clone())),
            [table] => Err(wrong(&format!("{table} has no such column"))),
            [one, other, ..] => Err(wrong(&format!("that is {one} and {other}; write which schema"))),
        }
    }
}

/// Takes a name apart at its dots, except in double quotes. Nothing is folded to lower case.
fn parts(name: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => parts.last_mut()?.extend(letters.next()),
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            other => parts.last_mut()?.push(other),
        }
    }
    (!quoted && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> KnownTables {
        let table = |schema: &str, name: &str, columns: &[&str]| {
            (TableName::new(schema, name), columns.iter().map(|column| (*column).to_owned()).collect())
        };
        KnownTables::from([
            table("oms", "fills", &["id", "account", "A.b\"c"]),
            table("oms", "accounts", &["id"]),
            table("old", "accounts", &["id"]),
        ])
    }

    fn relation(child: &[&str], parent: &[&str]) -> Result<Vec<Constraint>, DeclarationError> {
        let several =
            |names: &[&str]| ColumnNames::Several(names.iter().map(|name| (*name).to_owned()).collect());
        let relation = DeclaredRelation {
            child: several(child),
            parent: several(parent),
            matching: Matching::Simple,
            when: None,
        };
        Declarations { relation: vec![relation], ..Declarations::default() }.constraints(&tables())
    }

    #[test]
    fn names_are_looked_up_and_quotes_hold() {
        let found = relation(&["fills.\"A.b\"\"c\""], &["oms.accounts.id"]).unwrap();
        assert_eq!(found[0].to_string(), "oms.fills (A.b\"c) → oms.accounts");
        assert_eq!(found[0].standing, Standing::Declared);
    }

    #[test]
    fn what_does_not_exist_or_does_not_fit_is_refused_in_words() {
        for (child, parent, words) in [
            (
                &["oms.fill.id"][..],
                &["oms.accounts.id"][..],
                "[[checks.relation]] child = \"oms.fill.id\": the database has no such table",
            ),
            (&["oms.fills.acct"], &["oms.accounts.id"], "oms.fills has no such column"),
            (
                &["fills.id"],
                &["accounts.id"],
                "parent = \"accounts.id\": that is old.accounts and oms.accounts",
            ),
            (&["fills"], &["oms.accounts.id"], "write \"schema.table.column\""),
            (&["fills.\"id"], &["oms.accounts.id"], "write \"schema.table.column\""),
            (&["fills..id"], &["oms.accounts.id"], "write \"schema.table.column\""),
            (&["fills.id", "fills.account"], &["oms.accounts.id"], "child has 2 columns and parent 1"),
            (
                &["fills.id", "old.accounts.id"],
                &["oms.accounts.id", "oms.accounts.id"],
                "not of oms.fills and old.accounts",
            ),
            (&[], &["oms.accounts.id"], "child: name at least one column"),
        ] {
            let error = relation(child, parent).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let accepted = DeclaredAccepted { column: "fills.id".to_owned(), values: Vec::new(), when: None };
        let none = Declarations { accepted: vec![accepted], ..Declarations::default() };
        assert!(none.constraints(&tables()).unwrap_err().to_string().contains("at least one value"));
    }
}

//! Which relations a dump, a restore or a comparison is about: `-t -T -n -N`, strictly.

use std::collections::BTreeSet;

use crate::base::TableName;
use crate::catalog::Pattern;

/// Patterns that choose tables, as pg_dump takes them, but strict: one that matches nothing is an error.
#[derive(Debug, Clone, Default)]
pub struct TableSelection {
    /// `-t`: only these tables.
    pub tables: Vec<Pattern>,
    /// `-T`: not these.
    pub exclude_tables: Vec<Pattern>,
    /// `-n`: only these schemas.
    pub schemas: Vec<Pattern>,
    /// `-N`: not these.
    pub exclude_schemas: Vec<Pattern>,
}

impl TableSelection {
    /// Nothing was asked for in particular: everything.
    pub fn is_everything(&self) -> bool {
        self.tables.is_empty()
            && self.exclude_tables.is_empty()
            && self.schemas.is_empty()
            && self.exclude_schemas.is_empty()
    }

    /// Whether a schema as a whole is in.
    pub fn takes_schema(&self, schema: &str) -> bool {
        (self.schemas.is_empty() || self.schemas.iter().any(|pattern| pattern.matches_schema(schema)))
            && !self.exclude_schemas.iter().any(|pattern| pattern.matches_schema(schema))
    }

    /// Whether a table is in by its own name. With `-t`, schemas do not count, as in pg_dump.
    pub fn takes(&self, table: &TableName) -> bool {
        if self.exclude_tables.iter().any(|pattern| pattern.matches(table)) {
            return false;
        }
        if self.tables.is_empty() {
            return self.takes_schema(&table.schema);
        }
        self.tables.iter().any(|pattern| pattern.matches(table))
    }

    /// Patterns that match nothing among `tables` (and their schemas).
    pub fn unmatched<'a>(&self, tables: impl IntoIterator<Item = &'a TableName>) -> Vec<String> {
        let tables: BTreeSet<&TableName> = tables.into_iter().collect();
        let no_table = |pattern: &&Pattern| !tables.iter().any(|table| pattern.matches(table));
        let no_schema =
            |pattern: &&Pattern| !tables.iter().any(|table| pattern.matches_schema(&table.schema));
        let by_table = self.tables.iter().chain(&self.exclude_tables).filter(no_table);
        let by_schema = self.schemas.iter().chain(&self.exclude_schemas).filter(no_schema);
        by_table.chain(by_schema).map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    #[test]
    fn exclusion_wins_and_a_table_pattern_reaches_across_schemas() {
        let selection = TableSelection {
            tables: patterns(&["orders", "audit.*"]),
            exclude_tables: patterns(&["audit.tmp*"]),
            ..TableSelection::default()
        };
        assert!(selection.takes(&TableName::new("x", "orders")));
        assert!(selection.takes(&TableName::new("audit", "log")));
        assert!(!selection.takes(&TableName::new("audit", "tmp1")));
        assert!(!selection.takes(&TableName::new("x", "trades")));
        let tables = [TableName::new("x", "orders")];
        assert_eq!(selection.unmatched(&tables), vec!["audit.*", "audit.tmp*"]);
    }
}

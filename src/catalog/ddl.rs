//! The schema of a database as plain entries: one per object, with its definition, owner and identity.
//!
//! Entries come from `pg_dump --schema-only` ([`super::toc`]) and are stored in a backup, so that a restore needs no
//! client program. This module only says what an entry is; what to run for one, and in which order, is `plan::ddl`.

use serde::{Deserialize, Serialize};

use crate::base::TableName;

/// The identity of an object in the catalog of the database it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CatalogId {
    /// OID of the catalog table that holds the object: 1259 is `pg_class`, 2615 `pg_namespace`.
    pub table_oid: u32,
    /// OID of the object itself.
    pub oid: u32,
}

/// Where `pg_dump` puts an entry relative to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Before or after: comments, grants, labels. They follow the object they belong to.
    None,
    /// Before the rows.
    PreData,
    /// The rows themselves and what counts as rows (large objects, sequence values).
    Data,
    /// After the rows: indexes, constraints, triggers, rules.
    PostData,
}

/// The kind of an entry that makes a continuous aggregate, WITH NO DATA: pg_dump knows it as an ordinary view.
pub const CONTINUOUS_AGGREGATE: &str = "CONTINUOUS AGGREGATE";

/// One object of a schema: a table, an index, a grant, a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaEntry {
    /// The number other entries name in `depends_on`; unique within one [`SchemaDump`].
    pub dump_id: i32,
    /// Identity in the source's catalog; grants, comments and the like have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_id: Option<CatalogId>,
    /// What it is, in `pg_dump`'s words: `TABLE`, `FK CONSTRAINT`, `ACL`.
    pub kind: String,
    /// The schema that contains it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its name in `pg_dump`'s form: a plain name, `orders orders_pkey` for what belongs to a table, `f(integer)` for
    /// a function, `TABLE orders` for a grant or a comment.
    pub name: String,
    /// The role that owns it, where owners are kept with the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Before or after the rows.
    pub section: Section,
    /// The SQL that makes it: one or more statements, possibly only a comment.
    pub definition: String,
    /// The SQL that drops it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub drop: String,
    /// The tablespace to make it in; `Some("")` is the database's default, `None` means that it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<String>,
    /// The table access method, usually `heap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_method: Option<String>,
    /// `pg_class.relkind`, written by `pg_dump` 17 and newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relkind: Option<char>,
    /// Entries that must exist before this one, by `dump_id`. Some may be absent from the dump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<i32>,
}

impl SchemaEntry {
    /// The relation this entry makes, if it makes one (table, foreign table, view, materialised view or sequence).
    pub fn relation(&self) -> Option<TableName> {
        let relation = matches!(
            &*self.kind,
            "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" | CONTINUOUS_AGGREGATE
        );
        relation.then(|| TableName::new(self.schema.clone().unwrap_or_default(), self.name.clone()))
    }

    /// How the object is called in errors and reports: `INDEX public.orders_by_day`.
    ///
    /// Control characters are escaped, so that a name cannot forge a line of a log.
    pub fn label(&self) -> String {
        let name = match &self.schema {
            Some(schema) => format!("{} {schema}.{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        };
        name.chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect()
    }
}

/// Everything `pg_dump --schema-only` says about one database, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDump {
    /// Version of the server that was dumped, as it names itself: `15.14 (Debian 15.14-0+deb12u1)`.
    pub server_version: String,
    /// Version of the `pg_dump` that wrote the entries.
    pub tool_version: String,
    /// Encoding of the definitions (`UTF8`, `SQL_ASCII`), to be set as `client_encoding` when they are run.
    pub encoding: String,
    /// Whether backslashes in plain string constants are literal; on in every database of this century.
    pub standard_conforming_strings: bool,
    /// The entries, in an order in which they can be run one by one.
    pub entries: Vec<SchemaEntry>,
}

impl SchemaDump {
    /// The entry with this `dump_id`.
    pub fn entry(&self, dump_id: i32) -> Option<&SchemaEntry> {
        self.entries.iter().find(|entry| entry.dump_id == dump_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> SchemaEntry {
        SchemaEntry {
            dump_id: 7,
            catalog_id: Some(CatalogId { table_oid: 1259, oid: 16400 }),
            kind: "INDEX".into(),
            schema: Some("public".into()),
            name: "by\nday".into(),
            owner: Some("desk".into()),
            section: Section::PostData,
            definition: "CREATE INDEX \"by\nday\" ON public.orders USING btree (day);\n".into(),
            drop: "DROP INDEX public.\"by\nday\";\n".into(),
            tablespace: Some(String::new()),
            access_method: None,
            relkind: Some('i'),
            depends_on: vec![3],
        }
    }

    #[test]
    fn an_entry_survives_json_and_its_json_never_changes() {
        let text = serde_json::to_string(&index()).unwrap();
        assert_eq!(serde_json::from_str::<SchemaEntry>(&text).unwrap(), index());
        assert!(
            text.starts_with(r#"{"dump_id":7,"catalog_id":{"table_oid":1259,"oid":16400},"kind":"INDEX""#)
        );
        assert!(!text.contains("access_method"), "{text}");
    }

    #[test]
    fn a_label_stays_on_one_line() {
        assert_eq!(index().label(), "INDEX public.by\\nday");
    }

    #[test]
    fn an_index_is_no_relation_that_holds_rows() {
        assert_eq!(index().relation(), None);
        let table = SchemaEntry { kind: "TABLE".into(), ..index() };
        assert_eq!(table.relation(), Some(TableName::new("public", "by\nday")));
    }
}

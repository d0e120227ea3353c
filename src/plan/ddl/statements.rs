//! What to run for one entry: its definition, then its owner, under the right tablespace and access method.
//!
//! The rules are `pg_restore`'s (`_printTocEntry` and what it calls in `pg_backup_archiver.c`), with three changes
//! that let the owner of a database restore without being superuser: a schema that exists is used, what already is as
//! it should be is left alone, and grants of other grantors are made with `SET ROLE` rather than `SET SESSION
//! AUTHORIZATION`.

use serde_json::Value;

use super::ast;
use crate::base::{quote_ident, quote_literal};
use crate::catalog::ddl::{CONTINUOUS_AGGREGATE, SchemaEntry};

/// What of an entry is wanted besides the object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Give objects to the roles that owned them (off: `--no-owner`).
    pub owners: bool,
    /// Restore grants and default privileges (off: `--no-privileges`).
    pub privileges: bool,
    /// Put objects into the tablespaces they came from (off: `--no-tablespaces`).
    pub tablespaces: bool,
    /// Use the table access methods they came with.
    pub access_methods: bool,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self { owners: true, privileges: true, tablespaces: true, access_methods: true }
    }
}

/// A parameter to be set (`SET LOCAL` in a transaction) before an entry's statements are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The parameter.
    pub name: &'static str,
    /// Its value, not quoted.
    pub value: String,
}

impl Setting {
    /// `SET LOCAL default_tablespace = 'fast'`.
    pub fn local(&self) -> String {
        format!("SET LOCAL {} = {}", self.name, quote_literal(&self.value).trim_start())
    }
}

/// One statement to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The SQL, without a semicolon.
    pub sql: String,
    /// A query with one boolean; where it answers true, there is nothing to do and the statement must not be run.
    pub unless: Option<String>,
}

impl Statement {
    fn plain(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), unless: None }
    }
}

/// Everything to run for one entry, in this order and in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryStatements {
    /// Parameters that hold for the statements.
    pub settings: Vec<Setting>,
    /// The statements; none if there is nothing to do.
    pub statements: Vec<Statement>,
}

/// Entries that are rows, or are restored by other means than their definition.
pub fn is_data(entry: &SchemaEntry) -> bool {
    matches!(
        &*entry.kind,
        "TABLE DATA"
            | "SEQUENCE SET"
            | "BLOB"
            | "BLOBS"
            | "BLOB METADATA"
            | "LARGE OBJECT"
            | "MATERIALIZED VIEW DATA"
            | "STATISTICS DATA"
            | "DATABASE"
            | "DATABASE PROPERTIES"
    )
}

/// Entries that grant or revoke.
pub fn is_acl(entry: &SchemaEntry) -> bool {
    matches!(&*entry.kind, "ACL" | "ACL LANGUAGE" | "DEFAULT ACL")
}

/// What to run for an entry.
pub fn statements(entry: &SchemaEntry, options: &RestoreOptions) -> EntryStatements {
    if is_data(entry) || (is_acl(entry) && !options.privileges) {
        return EntryStatements::default();
    }
    let mut run = EntryStatements { settings: settings(entry, options), statements: definition(entry) };
    if let (Some('p'), Some(method), true) = (entry.relkind, &entry.access_method, options.access_methods) {
        // A partitioned table stores nothing, so the default does not apply to it; PostgreSQL 17 and newer keep one.
        let table = qualified(entry);
        run.statements
            .push(Statement::plain(format!("ALTER TABLE {table} SET ACCESS METHOD {}", quote_ident(method))));
    }
    if let (Some(owner), true) = (&entry.owner, options.owners && !entry.drop.is_empty())
        && let Some(object) = described(entry)
    {
        run.statements.push(Statement {
            sql: format!("ALTER {object} OWNER TO {}", quote_ident(owner)),
            unless: (entry.kind == "SCHEMA").then(|| owner_is(&entry.name, owner)),
        });
    }
    run
}

fn settings(entry: &SchemaEntry, options: &RestoreOptions) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let (Some(value), true) = (&entry.tablespace, options.tablespaces) {
        settings.push(Setting { name: "default_tablespace", value: value.clone() });
    }
    if let (Some(value), true) = (&entry.access_method, options.access_methods && entry.relkind != Some('p'))
    {
        settings.push(Setting { name: "default_table_access_method", value: value.clone() });
    }
    settings
}

fn definition(entry: &SchemaEntry) -> Vec<Statement> {
    let parts = ast::split(&entry.definition);
    match &*entry.kind {
        // The text for `public` is only a comment: every database has it already.
        "SCHEMA" if !parts.is_empty() => {
            vec![Statement::plain(format!("CREATE SCHEMA IF NOT EXISTS {}", quote_ident(&entry.name)))]
        }
        "COMMENT" => parts
            .into_iter()
            .map(|sql| {
                let unless = comment_is(&sql);
                Statement { sql, unless }
            })
            .collect(),
        "ACL" | "ACL LANGUAGE" => {
            parts.into_iter().map(|sql| Statement::plain(as_role(&sql).unwrap_or(sql))).collect()
        }
        _ => parts.into_iter().map(Statement::plain).collect(),
    }
}

/// `schema.name`, quoted.
fn qualified(entry: &SchemaEntry) -> String {
    match &entry.schema {
        Some(schema) => format!("{}.{}", quote_ident(schema), quote_ident(&entry.name)),
        None => quote_ident(&entry.name),
    }
}

/// The object as `ALTER … OWNER TO` names it; `None` for objects without an owner of their own.
fn described(entry: &SchemaEntry) -> Option<String> {
    match &*entry.kind {
        "COLLATION"
        | "CONVERSION"
        | "DOMAIN"
        | "FOREIGN TABLE"
        | "MATERIALIZED VIEW"
        | "SEQUENCE"
        | "STATISTICS"
        | "TABLE"
        | "TEXT SEARCH DICTIONARY"
        | "TEXT SEARCH CONFIGURATION"
        | "TYPE"
        | "VIEW"
        | "PROCEDURAL LANGUAGE"
        | "SCHEMA"
        | "EVENT TRIGGER"
        | "FOREIGN DATA WRAPPER"
        | "SERVER"
        | "PUBLICATION"
        | "SUBSCRIPTION" => Some(format!("{} {}", entry.kind, qualified(entry))),
        CONTINUOUS_AGGREGATE => Some(format!("MATERIALIZED VIEW {}", qualified(entry))),
        // Their argument types are needed, and the statement that drops them has exactly those.
        "AGGREGATE" | "FUNCTION" | "PROCEDURE" | "OPERATOR" | "OPERATOR CLASS" | "OPERATOR FAMILY" => {
            let dropped = entry.drop.trim().trim_end_matches(';').strip_prefix("DROP ")?;
            Some(dropped.to_owned())
        }
        _ => None,
    }
}

fn owner_is(schema: &str, owner: &str) -> String {
    format!(
        "SELECT nspowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = {}) FROM pg_catalog.pg_namespace WHERE nspname = {}",
        quote_literal(owner),
        quote_literal(schema)
    )
}

/// For a comment on an extension or a schema, which the restoring role need not own: whether it is there already.
fn comment_is(sql: &str) -> Option<String> {
    let tree = ast::trees(sql)?;
    let comment = tree.pointer("/stmts/0/stmt/node/CommentStmt")?;
    let text = quote_literal(comment.get("comment")?.as_str()?);
    let name = quote_literal(ast::string(comment.get("object")?)?);
    let objtype = i32::try_from(comment.get("objtype").and_then(Value::as_i64)?).ok()?;
    let (catalog, column) = match pg_query::protobuf::ObjectType::try_from(objtype).ok()? {
        pg_query::protobuf::ObjectType::ObjectExtension => ("pg_extension", "extname"),
        pg_query::protobuf::ObjectType::ObjectSchema => ("pg_namespace", "nspname"),
        _ => return None,
    };
    Some(format!(
        "SELECT pg_catalog.obj_description(oid, '{catalog}') IS NOT DISTINCT FROM {text} FROM pg_catalog.{catalog} WHERE {column} = {name}"
    ))
}

/// `SET SESSION AUTHORIZATION x` is for superusers only; a member of `x` can act as `x`, and the grantor is the same.
fn as_role(sql: &str) -> Option<String> {
    let tree = ast::trees(sql)?;
    let set = tree.pointer("/stmts/0/stmt/node/VariableSetStmt")?;
    if set.get("name")?.as_str()? != "session_authorization" {
        return None;
    }
    match set.pointer("/args/0/node/AConst/val/Sval/sval").and_then(Value::as_str) {
        Some(role) => Some(format!("SET LOCAL ROLE {}", quote_ident(role))),
        None => Some("RESET ROLE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{entry, nasty};
    use super::*;

    fn sql(entry: &SchemaEntry, options: &RestoreOptions) -> Vec<String> {
        statements(entry, options).statements.into_iter().map(|statement| statement.sql).collect()
    }

    #[test]
    fn an_owner_follows_the_definition_unless_told_not_to() {
        let function = nasty().entries.iter().find(|e| e.name == "plain(integer)").cloned().unwrap();
        let all = sql(&function, &RestoreOptions::default());
        assert_eq!(all[1], r#"ALTER FUNCTION market.plain(i integer) OWNER TO "postgres""#);
        assert_eq!(sql(&function, &RestoreOptions { owners: false, ..RestoreOptions::default() }).len(), 1);
    }

    #[test]
    fn a_schema_that_exists_is_used_and_public_is_never_made() {
        let mut schema = entry("SCHEMA", None, "we\"ird", "CREATE SCHEMA \"we\"\"ird\";\n");
        assert_eq!(sql(&schema, &RestoreOptions::default())[0], "CREATE SCHEMA IF NOT EXISTS \"we\"\"ird\"");
        schema.definition = "-- *not* creating schema, since initdb creates it\n".into();
        assert!(sql(&schema, &RestoreOptions::default()).is_empty());
    }

    #[test]
    fn a_comment_on_an_extension_is_not_repeated() {
        let comment = entry("COMMENT", None, "EXTENSION x", "COMMENT ON EXTENSION x IS 'it''s';\n");
        let run = statements(&comment, &RestoreOptions::default());
        assert!(run.statements[0].unless.as_deref().unwrap().contains("IS NOT DISTINCT FROM 'it''s'"));
        let table = entry("COMMENT", Some("a"), "TABLE x", "COMMENT ON TABLE a.x IS 'y';\n");
        assert_eq!(statements(&table, &RestoreOptions::default()).statements[0].unless, None);
    }

    #[test]
    fn another_grantor_is_taken_by_set_role() {
        let text = "SET SESSION AUTHORIZATION \"Desk\";\nGRANT SELECT ON TABLE a.x TO b;\nRESET SESSION AUTHORIZATION;\n";
        let acl = entry("ACL", Some("a"), "TABLE x", text);
        assert_eq!(
            sql(&acl, &RestoreOptions::default()),
            ["SET LOCAL ROLE \"Desk\"", "GRANT SELECT ON TABLE a.x TO b", "RESET ROLE"]
        );
        assert!(sql(&acl, &RestoreOptions { privileges: false, ..RestoreOptions::default() }).is_empty());
    }

    #[test]
    fn tablespace_and_access_method_are_settings() {
        let mut table = entry("TABLE", Some("a"), "x", "CREATE TABLE a.x ();\n");
        table.tablespace = Some("fa'st".into());
        table.access_method = Some("heap".into());
        let settings = statements(&table, &RestoreOptions::default()).settings;
        assert_eq!(settings[0].local(), "SET LOCAL default_tablespace = 'fa''st'");
        table.relkind = Some('p');
        let run = statements(&table, &RestoreOptions::default());
        assert_eq!(
            (run.settings.len(), &*run.statements[1].sql),
            (1, r#"ALTER TABLE "a"."x" SET ACCESS METHOD "heap""#)
        );
    }
}

//! Entries as a readable `.sql` file that `psql` runs: one comment per entry, then its statements.
//!
//! Names are data from the database. In a comment, a line break in a name would end the comment and its rest would be
//! SQL, and a backslash would be a command to `psql`: so control characters and backslashes in headers are escaped.

use std::fmt::Write;

use super::statements::{RestoreOptions, statements};
use crate::base::quote_literal;
use crate::catalog::ddl::{SchemaDump, SchemaEntry};

/// The text of a `.sql` file for these entries of a dump, in this order.
pub fn script<'a>(
    dump: &SchemaDump,
    entries: impl IntoIterator<Item = &'a SchemaEntry>,
    options: &RestoreOptions,
) -> String {
    let conforming = if dump.standard_conforming_strings { "on" } else { "off" };
    let mut text = format!(
        "-- Dumped from PostgreSQL {} by pg_dump {}.\n\nSET statement_timeout = 0;\nSET lock_timeout = 0;\n\
         SET idle_in_transaction_session_timeout = 0;\nSET client_encoding = {};\n\
         SET standard_conforming_strings = {conforming};\nSELECT pg_catalog.set_config('search_path', '', false);\n\
         SET check_function_bodies = false;\nSET xmloption = content;\nSET client_min_messages = warning;\n\
         SET row_security = off;\n",
        in_comment(&dump.server_version),
        in_comment(&dump.tool_version),
        quote_literal(&dump.encoding).trim_start(),
    );
    for entry in entries {
        let run = statements(entry, options);
        if run.statements.is_empty() {
            continue;
        }
        let _ = write!(
            text,
            "\n--\n-- Name: {}; Type: {}; Schema: {}; Owner: {}\n--\n\n",
            in_comment(&entry.name),
            in_comment(&entry.kind),
            in_comment(entry.schema.as_deref().unwrap_or("-")),
            in_comment(entry.owner.as_deref().unwrap_or("-")),
        );
        for setting in &run.settings {
            let _ = writeln!(text, "SET {} = {};", setting.name, quote_literal(&setting.value).trim_start());
        }
        for statement in &run.statements {
            // Not in a transaction, so the role is set for the session, as RESET ROLE takes it back.
            let sql = statement.sql.strip_prefix("SET LOCAL ROLE ").map(|role| format!("SET ROLE {role}"));
            let _ = writeln!(text, "{};", sql.as_deref().unwrap_or(&statement.sql));
        }
    }
    text
}

/// A name as it may stand behind `--`.
fn in_comment(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            let breaks = c.is_control() || c == '\\' || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
            if breaks { c.escape_default().collect() } else { vec![c] }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{entry, nasty};
    use super::*;

    #[test]
    fn a_name_with_line_breaks_and_commands_stays_in_its_comment() {
        let name = "x\n\\! rm -rf /\r*/ DROP TABLE y; --";
        let table = entry("TABLE", Some("s\n\\c evil"), name, "CREATE TABLE z ();");
        let text = script(&SchemaDump::default(), [&table], &RestoreOptions::default());
        let outside: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
        assert!(outside.iter().all(|line| !line.contains("rm -rf") && !line.contains("evil")), "{text}");
        assert!(!text.contains('\r') && !text.lines().any(|line| line.starts_with('\\')));
        assert!(outside.contains(&"CREATE TABLE z ();"));
    }

    #[test]
    fn every_statement_of_a_real_schema_is_in_its_script() {
        let dump = nasty();
        let text = script(&dump, &dump.entries, &RestoreOptions::default());
        let statements = super::super::ast::split(&text);
        let expected: usize = dump
            .entries
            .iter()
            .map(|entry| super::statements(entry, &RestoreOptions::default()))
            .map(|run| run.settings.len() + run.statements.len())
            .sum();
        assert_eq!(statements.len(), expected + 10);
    }
}

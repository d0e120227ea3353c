//! The little that this module needs from PostgreSQL's own parser: statements, trees to walk, tokens.
//!
//! `pg_query` is the grammar of PostgreSQL 18, which reads what 14 to 18 write.

use pg_query::protobuf::ScanToken;
use serde_json::Value;

/// Splits SQL into its statements, without their semicolons. Text that is only a comment has none.
///
/// What this grammar cannot read (an extension's own syntax) is split by the scanner, and what even that cannot read
/// stays in one piece: the server will say what is wrong with it.
pub fn split(sql: &str) -> Vec<String> {
    let statements = pg_query::split_with_parser(sql).or_else(|_| pg_query::split_with_scanner(sql));
    let parts: Vec<String> = statements
        .unwrap_or_default()
        .into_iter()
        .map(|one| one.trim().to_owned())
        .filter(|one| !is_comment(one))
        .collect();
    // The scanner passes over what has no keyword; nothing may be dropped in silence.
    if parts.is_empty() && !is_comment(sql) { vec![sql.trim().to_owned()] } else { parts }
}

fn is_comment(statement: &str) -> bool {
    tokens(statement).is_some_and(|tokens| tokens.is_empty())
}

/// The tokens of `sql` without its comments; `None` if it cannot be scanned.
pub fn tokens(sql: &str) -> Option<Vec<ScanToken>> {
    use pg_query::protobuf::Token;
    let comment = [Token::SqlComment as i32, Token::CComment as i32];
    let all = pg_query::scan(sql).ok()?.tokens;
    Some(all.into_iter().filter(|token| !comment.contains(&token.token)).collect())
}

/// The parse trees of `sql` as JSON, to be walked by [`walk`]; `None` if this grammar cannot read it.
pub fn trees(sql: &str) -> Option<Value> {
    let parsed = pg_query::parse(sql, 0).ok()?;
    serde_json::to_value(&parsed.protobuf).ok()
}

/// Calls `visit` with every object of a tree and the name of the field or node type that holds it, outermost first.
pub fn walk<'a>(tree: &'a Value, visit: &mut dyn FnMut(&'a str, &'a serde_json::Map<String, Value>)) {
    fn inner<'a>(
        name: &'a str,
        value: &'a Value,
        visit: &mut dyn FnMut(&'a str, &'a serde_json::Map<String, Value>),
    ) {
        match value {
            Value::Object(fields) => {
                visit(name, fields);
                for (key, field) in fields {
                    inner(key, field, visit);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| inner(name, item, visit)),
            _ => {}
        }
    }
    inner("", tree, visit);
}

/// The text of a `String` node: `{"node":{"String":{"sval":"x"}}}`.
pub fn string(node: &Value) -> Option<&str> {
    node.get("node")?.get("String")?.get("sval")?.as_str()
}

/// Where a node begins in the text, in bytes.
pub fn location(fields: &serde_json::Map<String, Value>) -> Option<usize> {
    fields.get("location")?.as_i64().and_then(|location| usize::try_from(location).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_statements_come_apart_and_quotes_hold() {
        let parts =
            split("CREATE INDEX i ON t (a);\n\nALTER TABLE t CLUSTER ON i;\nCOMMENT ON TABLE t IS 'a;b';");
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[2], "COMMENT ON TABLE t IS 'a;b'");
    }

    #[test]
    fn a_body_in_the_sql_standard_form_is_one_statement() {
        let sql = "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;";
        assert_eq!(split(sql).len(), 1);
    }

    #[test]
    fn a_comment_alone_is_no_statement() {
        assert!(split("-- *not* creating schema, since initdb creates it\n").is_empty());
    }

    #[test]
    fn unknown_syntax_still_comes_apart() {
        assert_eq!(split("CREATE FROB x; CREATE FROB y;"), ["CREATE FROB x", "CREATE FROB y"]);
        assert_eq!(split("frob x; frob y"), ["frob x; frob y"], "nothing is lost");
    }
}

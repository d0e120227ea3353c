//! Renames what one piece of SQL names: the scanner says where names are, the parser says which are not.
//!
//! `pg_dump` writes every name with its schema, so `schema . name` in the token stream is a qualified name, whatever
//! the statement; strings and comments are other tokens. The parse tree tells the exceptions: `alias . column`,
//! function calls, and the places where a renamed table needs its old name as an alias because columns are written
//! with it. New names are put into the original text, which stays as it is otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::ast;
use super::names::Names;
use crate::base::{TableName, quote_ident, quote_literal};

/// One token that may be a name, a string or punctuation.
struct Piece<'a> {
    range: Range<usize>,
    text: &'a str,
}

impl Piece<'_> {
    fn name(&self) -> Option<String> {
        if let Some(quoted) = self.text.strip_prefix('"') {
            return Some(quoted.strip_suffix('"')?.replace("\"\"", "\""));
        }
        let mut letters = self.text.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii());
        let rest = letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii());
        (first && rest).then(|| self.text.to_lowercase())
    }

    fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    /// The value of a plain string constant.
    fn string(&self) -> Option<String> {
        Some(self.text.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'"))
    }
}

/// What the parse tree says about places in the text.
#[derive(Default)]
struct Places {
    /// `alias . column`: where it begins.
    columns: BTreeSet<usize>,
    /// Where the name of a called function begins.
    calls: BTreeSet<usize>,
    /// Where a table is named in `FROM` and the like without an alias.
    bare: BTreeSet<usize>,
}

impl Places {
    fn of(sql: &str) -> Option<Self> {
        let tree = ast::trees(sql)?;
        let mut places = Self::default();
        ast::walk(&tree, &mut |kind, fields| places.note(kind, fields));
        Some(places)
    }

    fn note(&mut self, kind: &str, fields: &serde_json::Map<String, Value>) {
        match kind {
            "ColumnRef"
                if fields.get("fields").and_then(Value::as_array).is_some_and(|names| names.len() < 3) =>
            {
                self.columns.extend(ast::location(fields));
            }
            // The target of an assignment: `SET composite.field =`.
            "ResTarget" => {
                self.columns.extend(ast::location(fields).filter(|_| fields.contains_key("indirection")))
            }
            "FuncCall" => self.calls.extend(ast::location(fields)),
            "from_clause" | "using_clause" | "larg" | "rarg" => {
                self.note_bare(fields.get("node").and_then(|node| node.get("RangeVar")));
            }
            "UpdateStmt" | "DeleteStmt" | "InsertStmt" => self.note_bare(fields.get("relation")),
            _ => {}
        }
    }

    fn note_bare(&mut self, table: Option<&Value>) {
        if let Some(Value::Object(table)) = table
            && table.get("alias").is_none_or(Value::is_null)
        {
            self.bare.extend(ast::location(table));
        }
    }
}

/// What is known about the entry that a text belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Context<'a> {
    /// The table the entry belongs to, for names that stand without a schema: `ADD CONSTRAINT x`, `CLUSTER ON x`.
    pub table: Option<&'a TableName>,
    /// Whether expressions name the table's columns with the table's own name (policies).
    pub outer: bool,
    /// Whether the object itself is a statistics object.
    pub statistics: bool,
}

/// Renames everything in `sql`. The flag is false if the parser could not read it, so that exceptions are unknown.
pub(super) fn rewrite(sql: &str, names: &Names, context: Context<'_>) -> (String, bool) {
    let Some(tokens) = ast::tokens(sql) else { return (sql.to_owned(), false) };
    let places = Places::of(sql);
    let readable = places.is_some();
    let pieces: Vec<Piece<'_>> = tokens
        .iter()
        .filter_map(|token| {
            let range = usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?;
            Some(Piece { text: sql.get(range.clone())?, range })
        })
        .collect();
    let mut rewriter =
        Rewriter { pieces, names, context, places: places.unwrap_or_default(), edits: BTreeMap::new() };
    rewriter.run();
    let mut text = sql.to_owned();
    for (start, (end, new)) in rewriter.edits.into_iter().rev() {
        text.replace_range(start..end, &new);
    }
    (text, readable)
}

struct Rewriter<'a> {
    pieces: Vec<Piece<'a>>,
    names: &'a Names,
    context: Context<'a>,
    places: Places,
    /// Start to end and new text; no two overlap.
    edits: BTreeMap<usize, (usize, String)>,
}

impl Rewriter<'_> {
    fn run(&mut self) {
        let mut at = 0;
        while at < self.pieces.len() {
            at += self.qualified(at).max(1);
        }
        for at in 0..self.pieces.len() {
            self.schema_word(at);
            self.search_path(at);
            self.constant(at);
            self.unqualified(at);
        }
    }

    fn replace(&mut self, at: usize, new: String) {
        if let Some(piece) = self.pieces.get(at) {
            self.edits.insert(piece.range.start, (piece.range.end, new));
        }
    }

    fn word(&self, at: usize, word: &str) -> bool {
        self.pieces.get(at).is_some_and(|piece| piece.is(word))
    }

    fn name(&self, at: usize) -> Option<String> {
        self.pieces.get(at)?.name()
    }

    fn before(&self, at: usize, words: &[&str]) -> bool {
        at > 0 && words.iter().any(|word| self.word(at - 1, word))
    }

    /// A name with dots, if one begins here; returns how many tokens it has.
    fn qualified(&mut self, at: usize) -> usize {
        let (Some(first), true) = (self.name(at), self.word(at + 1, ".")) else { return 0 };
        let mut length = 2;
        while self.word(at + length + 1, ".") {
            length += 2;
        }
        length += 1;
        let start = self.pieces[at].range.start;
        if self.places.columns.contains(&start) {
            self.outer_column(at, &first);
            return length;
        }
        let Some(second) = self.pieces.get(at + 2) else { return length };
        let old = TableName::new(first, second.name().unwrap_or_else(|| second.text.to_owned()));
        let routine = self.places.calls.contains(&start)
            || self.before(at, &["FUNCTION", "PROCEDURE", "AGGREGATE", "ROUTINE"]);
        let new = match () {
            () if routine || second.name().is_none() => self.names.member(&old),
            () if self.context.statistics && self.before(at, &["STATISTICS"]) => self.names.statistics(&old),
            () => self.names.relation(&old),
        };
        if let Some(new) = new {
            self.replace(at, quote_ident(&new.schema));
            if new.name != old.name {
                let alias = self.places.bare.contains(&start);
                let alias = if alias { format!(" AS {}", quote_ident(&old.name)) } else { String::new() };
                self.replace(at + 2, format!("{}{alias}", quote_ident(&new.name)));
            }
        }
        length
    }

    /// In a policy, `orders.id` inside a subquery is the column of the policy's own table.
    fn outer_column(&mut self, at: usize, first: &str) {
        if let (true, Some(table)) = (self.context.outer, self.context.table)
            && first == table.name
            && let Some(new) = self.names.relation(table)
            && new.name != table.name
        {
            self.replace(at, quote_ident(&new.name));
        }
    }

    /// `SCHEMA x`, `IN SCHEMA x, y`. An extension stays where it is: its objects are not renamed either.
    fn schema_word(&mut self, at: usize) {
        if !self.word(at, "SCHEMA") || self.before(at, &["WITH", "."]) {
            return;
        }
        let mut next = at + 1;
        while let Some(old) = self.name(next) {
            let new = self.names.schema(&old).to_owned();
            if new != old {
                self.replace(next, quote_ident(&new));
            }
            if !self.word(next + 1, ",") {
                break;
            }
            next += 2;
        }
    }

    /// `SET search_path TO 'a', b` of a function.
    fn search_path(&mut self, at: usize) {
        if !self.word(at, "search_path") || !(self.word(at + 1, "TO") || self.word(at + 1, "=")) {
            return;
        }
        let mut next = at + 2;
        while let Some(piece) = self.pieces.get(next) {
            let (constant, name) = (piece.string(), piece.name());
            let Some(old) = constant.clone().or(name) else { break };
            let new = self.names.schema(&old).to_owned();
            if new != old {
                let constant = constant.is_some();
                let text =
                    if constant { quote_literal(&new).trim_start().to_owned() } else { quote_ident(&new) };
                self.replace(next, text);
            }
            if !self.word(next + 1, ",") {
                break;
            }
            next += 2;
        }
    }

    /// `'schema.name'::regclass` and its kin.
    fn constant(&mut self, at: usize) {
        let cast = self.word(at + 1, "::").then(|| self.name(at + 2)).flatten();
        let Some(kind) = cast.filter(|kind| kind.starts_with("reg")) else { return };
        let Some(text) = self.pieces.get(at).and_then(Piece::string) else { return };
        let new = if kind == "regnamespace" {
            let name = Piece { range: 0..0, text: &text }.name().unwrap_or_default();
            let new = self.names.schema(&name);
            if new == name { text.clone() } else { quote_ident(new) }
        } else {
            rewrite(&text, self.names, Context::default()).0
        };
        if new != text {
            let literal = quote_literal(&new).trim_start().to_owned();
            self.replace(at, literal);
        }
    }

    /// Names of indexes and keys that stand without their schema.
    fn unqualified(&mut self, at: usize) {
        let Some(name) = self.name(at).filter(|_| !self.word(at + 1, ".") && !self.before(at, &["."])) else {
            return;
        };
        let index = self.before(at, &["INDEX"])
            || (self.before(at, &["ON"]) && at > 1 && self.word(at - 2, "CLUSTER"));
        let table = match self.context.table {
            Some(table) => Some(table.clone()),
            // `COMMENT ON CONSTRAINT x ON schema.table`
            None if self.word(at + 1, "ON") => {
                self.name(at + 2).zip(self.name(at + 4)).map(|(schema, table)| TableName::new(schema, table))
            }
            None => None,
        };
        if let (true, Some(table)) = (index || self.before(at, &["CONSTRAINT"]), table)
            && let Some(new) = self.names.relations().get(&TableName::new(table.schema, name.clone()))
            && new.name != name
        {
            self.replace(at, quote_ident(&new.name.clone()));
        }
    }
}

//! [`Pattern`]: the table and schema patterns of psql and pg_dump (`orders`, `audit.*`, `"Mixed Case"`).

use crate::base::TableName;

/// A pattern for relations: an optional schema part and a name part.
///
/// As in psql: unquoted letters are folded to lower case, `*` is any sequence, `?` any one character, a dot separates
/// schema and name, double quotes take everything literally (a doubled quote is one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    schema: Option<Vec<Piece>>,
    name: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Literal(char),
    AnyOne,
    AnyRun,
}

/// Why a pattern cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// A double quote is never closed.
    #[error("the pattern {0:?} has a double quote that is never closed")]
    OpenQuote(String),
    /// More than one dot outside quotes.
    #[error("the pattern {0:?} has too many dots; quote a name that contains one: '\"a.b\".c'")]
    TooManyDots(String),
    /// Nothing is there.
    #[error("the pattern {0:?} is empty")]
    Empty(String),
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = vec![Vec::new()];
        let mut quoted = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let part = parts.len() - 1;
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    parts[part].push(Piece::Literal('"'));
                }
                '"' => quoted = !quoted,
                c if quoted => parts[part].push(Piece::Literal(c)),
                '.' => parts.push(Vec::new()),
                '*' => parts[part].push(Piece::AnyRun),
                '?' => parts[part].push(Piece::AnyOne),
                c => parts[part].extend(c.to_lowercase().map(Piece::Literal)),
            }
        }
        if quoted {
            return Err(PatternError::OpenQuote(text.to_owned()));
        }
        if parts.len() > 2 {
            return Err(PatternError::TooManyDots(text.to_owned()));
        }
        let name = parts.pop().unwrap_or_default();
        let schema = parts.pop();
        if name.is_empty() || schema.as_ref().is_some_and(Vec::is_empty) {
            return Err(PatternError::Empty(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), schema, name })
    }

    /// Whether it selects this relation. Without a schema part it selects in every schema.
    pub fn matches(&self, table: &TableName) -> bool {
        self.schema.as_ref().is_none_or(|schema| matches(schema, &table.schema))
            && matches(&self.name, &table.name)
    }

    /// Whether it selects this schema, taken as a pattern for schemas: only the name part counts.
    pub fn matches_schema(&self, schema: &str) -> bool {
        self.schema.is_none() && matches(&self.name, schema)
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Iterative matching with one point to fall back to: linear in the name for each `*`, never exponential.
fn matches(pattern: &[Piece], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n, mut fallback) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(Piece::AnyRun) => {
                fallback = Some((p, n));
                p += 1;
            }
            Some(Piece::AnyOne) => (p, n) = (p + 1, n + 1),
            Some(Piece::Literal(c)) if *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match fallback {
                Some((star, at)) => {
                    fallback = Some((star, at + 1));
                    (p, n) = (star + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|piece| *piece == Piece::AnyRun)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(pattern: &str, schema: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&TableName::new(schema, name))
    }

    #[test]
    fn patterns_follow_psql() {
        assert!(hits("orders", "public", "orders"));
        assert!(hits("ORDERS", "any", "orders"));
        assert!(!hits("orders", "public", "Orders"));
        assert!(hits("\"Orders\"", "public", "Orders"));
        assert!(hits("audit.*", "audit", "log"));
        assert!(!hits("audit.*", "audit2", "log"));
        assert!(hits("m*_ba?s", "x", "market_bars"));
        assert!(hits("\"a.b\".c", "a.b", "c"));
        assert!(!hits("\"a.b\".c", "a", "b.c"));
        assert!(hits("\"*\"", "public", "*"));
        assert!(!hits("\"*\"", "public", "x"));
        assert!(hits("\"say \"\"x\"\"\"", "public", "say \"x\""));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert!(matches!(Pattern::parse("a.b.c"), Err(PatternError::TooManyDots(_))));
        assert!(matches!(Pattern::parse("\"a"), Err(PatternError::OpenQuote(_))));
        assert!(matches!(Pattern::parse(""), Err(PatternError::Empty(_))));
    }
}

//! Names that come from a database: quoting for SQL, and one reversible ASCII scheme for paths.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table (or other relation) by schema and name, exactly as the database spells them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema (namespace).
    pub schema: String,
    /// The relation's name.
    pub name: String,
}

impl TableName {
    /// A name from its two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// Both parts quoted for SQL: `"public"."orders"`.
    pub fn sql(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }

    /// The folder of this table under `tables/`: `public.orders`, with every part escaped by [`path_segment`].
    pub fn folder(&self) -> String {
        format!("{}.{}", path_segment(&self.schema), path_segment(&self.name))
    }
}

impl fmt::Display for TableName {
    /// `public.orders`; a part that is not a plain lower-case identifier is put in double quotes, so that
    /// `"a.b".c` and `a."b.c"` read differently.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", readable(&self.schema), readable(&self.name))
    }
}

fn readable(part: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !part.is_empty() && part.chars().all(plain) {
        part.to_owned()
    } else {
        quote_ident(part).escape_default_controls()
    }
}

trait EscapeControls {
    fn escape_default_controls(self) -> String;
}

impl EscapeControls for String {
    /// A newline in a name must not forge a second log line.
    fn escape_default_controls(self) -> String {
        if !self.chars().any(char::is_control) {
            return self;
        }
        self.chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect()
    }
}

/// An SQL identifier in double quotes, always quoted: a keyword list that is never wrong is one that is never needed.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL string constant; with backslashes it is an `E''` string, so that `standard_conforming_strings` does not matter.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Longest escaped segment in bytes; above it, a prefix and 16 hex digits of the name's blake3 stand for the name.
const LONGEST_SEGMENT: usize = 100;

/// The part of a path that stands for a name from the database.
///
/// `[a-z0-9_-]` stand for themselves; every other byte of the UTF-8 name is written `~XX` in lower-case hex. The result
/// has no character that a shell, a glob, a Hive-style reader, a URL or Windows treats specially, and two names that
/// differ only in case give two segments that differ without regard to case. Above 100 bytes the segment is cut and
/// ends in `~~` and 16 hex digits of the blake3 of the whole name; the manifest has the name.
pub fn path_segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => segment.push(char::from(byte)),
            other => segment.push_str(&format!("~{other:02x}")),
        }
    }
    if segment.is_empty() {
        return "~".to_owned();
    }
    if segment.len() > LONGEST_SEGMENT {
        // 82 + 2 + 16 = 100; a cut inside an escape does no harm, because a cut segment is never read back.
        segment.truncate(LONGEST_SEGMENT - 18);
        segment.push_str("~~");
        segment.push_str(&super::Digest::of(name.as_bytes()).to_string()[..16]);
    }
    segment
}

/// The name that a segment stands for, or `None` where the segment was cut or was never one of ours.
pub fn path_segment_name(segment: &str) -> Option<String> {
    if segment == "~" {
        return Some(String::new());
    }
    if segment.contains("~~") {
        return None;
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'~' {
            let (hex, after) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (path_segment(&name) == segment).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_look_alike_get_folders_that_do_not() {
        let a = TableName::new("a.b", "c").folder();
        let b = TableName::new("a", "b.c").folder();
        assert_ne!(a, b);
        assert_ne!(path_segment("Orders").to_lowercase(), path_segment("orders").to_lowercase());
        assert_eq!(path_segment("we ird/../näme"), "we~20ird~2f~2e~2e~2fn~c3~a4me");
    }

    #[test]
    fn two_long_names_with_a_common_prefix_stay_apart() {
        let one = format!("{}а", "ж".repeat(30));
        let two = format!("{}б", "ж".repeat(30));
        let (one, two) = (path_segment(&one), path_segment(&two));
        assert_eq!((one.len(), two.len()), (100, 100));
        assert_ne!(one, two);
        assert_eq!(path_segment_name(&one), None);
    }

    proptest! {
        #[test]
        fn a_segment_is_safe_and_reversible(name in "\\PC{0,30}") {
            let segment = path_segment(&name);
            prop_assert!(segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'~')));
            prop_assert!(segment.len() <= LONGEST_SEGMENT);
            if !segment.contains("~~") {
                prop_assert_eq!(path_segment_name(&segment), Some(name));
            }
        }

        #[test]
        fn a_quoted_identifier_has_no_lone_quote(name in ".{0,20}") {
            let quoted = quote_ident(&name);
            prop_assert_eq!(quoted[1..quoted.len() - 1].replace("\"\"", "").matches('"').count(), 0);
        }
    }
}

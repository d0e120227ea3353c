//! One column of a row on one line, whatever its text contains.

/// Letters of a value that are shown of a longer one.
const SHOWN: usize = 64;
/// Letters before the first one that differs.
const BEFORE: usize = 16;

/// `price=1.50`, `note=NULL`, `name="two words"`.
pub(in crate::cli) fn field(name: &str, value: Option<&str>) -> String {
    match value {
        None => format!("{name}=NULL"),
        Some(value)
            if value.is_empty()
                || value == "NULL"
                || value.chars().any(|c| c.is_whitespace() || c.is_control()) =>
        {
            format!("{name}={value:?}")
        }
        Some(value) => format!("{name}={value}"),
    }
}

/// A long value cut to a line's worth, around the first letter that is another one in `other`.
pub(in crate::cli) fn shortened(value: &str, other: Option<&str>) -> String {
    let letters = value.chars().count();
    if letters <= SHOWN {
        return value.to_owned();
    }
    let other = other.unwrap_or_default();
    let common = value.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let first = if other.is_empty() { 0 } else { common.saturating_sub(BEFORE).min(letters - SHOWN) };
    let shown: String = value.chars().skip(first).take(SHOWN).collect();
    let before = if first > 0 { "…" } else { "" };
    let after = if first + SHOWN < letters { "…" } else { "" };
    format!("{before}{shown}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_word() {
        assert_eq!(field("a", None), "a=NULL");
        assert_eq!(field("a", Some("NULL")), "a=\"NULL\"");
        assert_eq!(field("a", Some("")), "a=\"\"");
        assert_eq!(field("a", Some("x\ny")), "a=\"x\\ny\"");
        assert_eq!(field("a", Some("1.50")), "a=1.50");
    }

    #[test]
    fn a_long_value_is_shown_where_it_differs() {
        let (one, other) =
            (format!("{}1{}", "é".repeat(100), "y".repeat(100)), format!("{}2", "é".repeat(100)));
        assert_eq!(shortened("short", None), "short");
        assert_eq!(shortened(&one, Some(&other)), format!("…{}1{}…", "é".repeat(16), "y".repeat(47)));
        assert_eq!(shortened(&other, Some(&one)), format!("…{}2", "é".repeat(63)));
        assert_eq!(shortened(&other, None), format!("{}…", "é".repeat(64)));
    }
}

//! Tables and numbers for people: evidence (rows) exact, comfort (bytes, seconds) rounded, units always there.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

/// A borderless table with a header; columns whose header starts with `>` are aligned to the right.
pub(in crate::cli) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.iter().map(|name| name.trim_start_matches('>')));
    for row in rows {
        table.add_row(row);
    }
    for (index, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((if index == 0 { 0 } else { 1 }, 1));
            if name.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    // Alignment pads the last column too; blanks at the end of a line are noise in a diff.
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `198,900`.
pub(in crate::cli) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 table`, `2 tables`.
pub(in crate::cli) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1.2 MiB`; binary units, three figures.
pub(in crate::cli) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{number} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 100.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// How many times smaller: `4.1x`, or nothing where there is nothing to divide.
pub(in crate::cli) fn ratio(before: u64, after: u64) -> String {
    if before == 0 || after == 0 { String::new() } else { format!("{:.1}x", before as f64 / after as f64) }
}

/// `0.31 s`, `12.4 s`, `3 min 20 s`, `2 h 05 min`.
pub(in crate::cli) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = time.as_secs();
    match seconds {
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if whole < 7200 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [bytes(0), bytes(999), bytes(1536), bytes(5 << 30)],
            ["0 B", "999 B", "1.50 KiB", "5.00 GiB"]
        );
        assert_eq!(seconds(Duration::from_millis(310)), "0.31 s");
        assert_eq!(seconds(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(seconds(Duration::from_secs(7500)), "2 h 05 min");
        assert_eq!([ratio(41, 10), ratio(1, 0)], ["4.1x", ""]);
        assert_eq!(plural(1, "table"), "1 table");
    }

    #[test]
    fn a_table_has_no_blanks_at_the_ends_of_lines() {
        let text = table(
            &["name", ">rows"],
            [vec!["a".to_owned(), "1".to_owned()], vec!["bb".to_owned(), "22".to_owned()]],
        );
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
        assert_eq!(text.lines().count(), 3);
    }
}

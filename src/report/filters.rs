//! How numbers, times and texts are spelt in reports. `fixtures/reports/filters.json` is the contract.

use minijinja::Environment;

/// Makes all filters known by their names.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("count", count);
    environment.add_filter("bytes", bytes);
    environment.add_filter("duration", duration);
    environment.add_filter("age", age);
    environment.add_filter("time", time);
    environment.add_filter("cut", cut);
    environment.add_filter("md", md);
}

/// `1234567` → `1,234,567`.
fn count(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1258291` → `1.2 MiB`. What would be written 1024.0 is 1.0 of the next unit.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let (mut size, mut unit) = (number as f64 / 1024.0, 0);
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `0.8 s`, `42 s`, `2 min 05 s`, `3 h 02 min`; rounded to what is shown, halves up.
fn duration(seconds: f64) -> String {
    if seconds < 0.05 {
        return "< 0.1 s".to_owned();
    }
    if seconds < 9.95 {
        return format!("{:.1} s", (seconds * 10.0 + 0.5).floor() / 10.0);
    }
    let whole = (seconds + 0.5).floor() as u64;
    if whole < 60 {
        return format!("{whole} s");
    }
    if whole < 3600 {
        return format!("{} min {:02} s", whole / 60, whole % 60);
    }
    let minutes = (whole + 30) / 60;
    format!("{} h {:02} min", minutes / 60, minutes % 60)
}

/// `42 s`, `12 min`, `3 h 20 min`, `2 d 4 h`; what is below the last unit is dropped.
fn age(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "" };
    let seconds = seconds.abs() as u64;
    for (size, unit, smaller, part) in [(86_400, "d", 3600, "h"), (3600, "h", 60, "min")] {
        if seconds >= size {
            let rest = seconds % size / smaller;
            let rest = if rest > 0 { format!(" {rest} {part}") } else { String::new() };
            return format!("{sign}{} {unit}{rest}", seconds / size);
        }
    }
    if seconds >= 60 { format!("{sign}{} min", seconds / 60) } else { format!("{sign}{seconds} s") }
}

/// `2026-11-22T03:00:00.5+01:00` → `2026-11-22 02:00:00 UTC`; what is no such time stays as it is.
fn time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) => {
            // A fraction below zero must not round towards it.
            let second = moment.as_nanosecond().div_euclid(1_000_000_000);
            let whole =
                i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
            whole.unwrap_or(moment).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
        }
        Err(_) => text.to_owned(),
    }
}

/// A text of more than so many characters becomes its beginning and its length.
fn cut(text: &str, length: usize) -> String {
    let all = text.chars().count();
    if all <= length {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(length).collect();
    format!("{beginning}… ({} characters)", count(all as i128))
}

/// One line of Markdown that shows the text: nothing in it is markup, a table's bar, HTML or a link.
fn md(text: &str) -> String {
    let line = text.replace('\n', " \u{23ce} ").replace('\t', " ");
    let mut escaped = String::with_capacity(line.len() + 8);
    for character in line.chars() {
        if "\\`*_[]<>|~&".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    list_marks(&escaped).replace("://", "\\://").replace("www.", "www\\.")
}

/// What at the start of a line would make it a heading or a list.
fn list_marks(line: &str) -> String {
    let text = line.trim_start_matches(' ');
    let blanks = &line[..line.len() - text.len()];
    if text.starts_with(['#', '+', '=', '-']) {
        return format!("{blanks}\\{text}");
    }
    let after = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - after.len()];
    let mark = after.strip_prefix(['.', ')']);
    match mark.filter(|rest| !digits.is_empty() && (rest.is_empty() || rest.starts_with(' '))) {
        Some(_) => format!("{blanks}{digits}\\{after}"),
        None => line.to_owned(),
    }
}

/// Characters that cannot be seen, that reorder what is seen, or that XML cannot hold become ones that can be read. Line feed
/// and tab stay, and so do the joiners that some scripts cannot be written without.
pub(super) fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for character in text.chars() {
        let code = u32::from(character);
        match code {
            0x9 | 0xa => seen.push(character),
            0..0x20 => seen.extend(char::from_u32(0x2400 + code)),
            0x7f => seen.push('\u{2421}'),
            _ if is_unseen(code) => seen.push_str(&format!("[U+{code:04X}]")),
            _ => seen.push(character),
        }
    }
    seen
}

fn is_unseen(code: u32) -> bool {
    matches!(
        code,
        0x80..=0x9f | 0xad | 0x61c | 0x180e | 0x200b | 0x200e | 0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
            | 0xfff9..=0xfffb | 0xfdd0..=0xfdef | 0xe0000..=0xe007f
    ) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn filters_are_those_of_the_contract() {
        let cases: Value = serde_json::from_str(include_str!("../../fixtures/reports/filters.json")).unwrap();
        let mut tried = 0;
        for (filter, rows) in cases.as_object().unwrap() {
            for row in rows.as_array().unwrap() {
                let given = &row[0];
                let (number, text) = (given.as_f64().unwrap_or(0.0), given.as_str().unwrap_or(""));
                let whole = given.as_i64().map(i128::from).or(given.as_u64().map(i128::from)).unwrap_or(0);
                let found = match filter.as_str() {
                    "count" => count(whole),
                    "bytes" => bytes(u64::try_from(whole).unwrap()),
                    "duration" => duration(number),
                    "age" => age(number),
                    "time" => time(text),
                    "cut" => cut(text, usize::try_from(row[1].as_u64().unwrap()).unwrap()),
                    "md" => md(text),
                    "visible" => visible(text),
                    other => panic!("{other}"),
                };
                let expected = row.as_array().unwrap().last().unwrap();
                assert_eq!(found, expected.as_str().unwrap(), "{filter}({given})");
                tried += 1;
            }
        }
        assert!(tried > 60, "{tried}");
    }
}

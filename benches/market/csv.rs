//! Real market bars from CSV files that whoever measures has: a heading, then a bar a line. Real prices, gaps and holidays.

use std::path::Path;

use super::tuple;

/// The table that [`put`] fills.
pub(crate) const DEFINITION: &str = "symbol text NOT NULL, ts timestamp NOT NULL, open numeric(18,6), high numeric(18,6), \
    low numeric(18,6), close numeric(18,6), adjusted numeric(18,6), volume bigint";

/// One bar of a file; prices in millionths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    symbol: String,
    /// Microseconds since 2000-01-01, local time of the exchange.
    ts: i64,
    open: i64,
    high: i64,
    low: i64,
    close: i64,
    adjusted: Option<i64>,
    volume: i64,
}

/// The bars of all CSV files in a folder, file by file in the order of their names. A symbol is the first word of its
/// file's name. Anything that cannot be read is said, with its place.
pub(crate) fn read(folder: &Path) -> Result<Vec<Line>, String> {
    let said = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(said)?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let symbol = name.split('_').next().unwrap_or_default().to_uppercase();
        all.extend(parse(&symbol, &text).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    if all.is_empty() { Err(format!("{}: no bars in CSV files", folder.display())) } else { Ok(all) }
}

/// The bars of one file; the heading says which column is where.
pub(crate) fn parse(symbol: &str, text: &str) -> Result<Vec<Line>, String> {
    let mut lines = text.lines();
    let heading: Vec<&str> = lines.next().unwrap_or_default().trim().split(',').collect();
    let place = |name: &str| heading.iter().position(|column| column.eq_ignore_ascii_case(name));
    let need = |name: &str| place(name).ok_or(format!("no column {name}"));
    let (date, open, high) = (need("Date")?, need("Open")?, need("High")?);
    let (low, close, volume) = (need("Low")?, need("Close")?, need("Volume")?);
    let adjusted = place("Adj Close");
    let one = |line: &str| -> Option<Line> {
        let fields: Vec<&str> = line.trim().split(',').collect();
        let price = |at: usize| millionths(fields.get(at)?);
        Some(Line {
            symbol: symbol.to_owned(),
            ts: time(fields.get(date)?)?,
            open: price(open)?,
            high: price(high)?,
            low: price(low)?,
            close: price(close)?,
            adjusted: adjusted.and_then(price),
            volume: fields.get(volume)?.parse().ok()?,
        })
    };
    let numbered = lines.enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered.map(|(at, line)| one(line).ok_or(format!("line {}: {line}", at + 2))).collect()
}

/// 3080.8 is 3,080,800,000; more than six places, or no number, is none.
fn millionths(text: &str) -> Option<i64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    if places.len() > 6 {
        return None;
    }
    format!("{whole}{places:0<6}").parse().ok()
}

/// 2004-08-19, or 11/5/2019 9:30.
fn time(text: &str) -> Option<i64> {
    let (day, clock) = text.split_once(' ').unwrap_or((text, "0:0"));
    let numbers = |text: &str, between: char| -> Option<Vec<i64>> {
        text.split(between).map(|part| part.parse().ok()).collect()
    };
    let [year, month, day] = match numbers(day, '-') {
        Some(parts) => <[i64; 3]>::try_from(parts).ok()?,
        None => {
            let [month, day, year] = <[i64; 3]>::try_from(numbers(day, '/')?).ok()?;
            [year, month, day]
        }
    };
    let [hour, minute] = <[i64; 2]>::try_from(numbers(clock, ':')?).ok()?;
    // Days since 2000-03-01, then since 2000-01-01: leap days come last in a year that begins in March.
    let (years, months) = if month > 2 { (year - 2000, month - 3) } else { (year - 2001, month + 9) };
    let leap = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let days = 60 + years * 365 + leap + (153 * months + 2) / 5 + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000)
}

/// Appends a bar as a tuple of COPY BINARY. The same bars are repeated for a larger table: round 1, 2, … under symbols of
/// their own.
pub(crate) fn put(line: &Line, round: u64, out: &mut Vec<u8>) {
    tuple::begin(out, 8);
    tuple::text(out, &if round == 0 { line.symbol.clone() } else { format!("{}.{round}", line.symbol) });
    tuple::int8(out, line.ts);
    for price in [line.open, line.high, line.low, line.close] {
        tuple::numeric(out, price.into(), 6);
    }
    match line.adjusted {
        Some(price) => tuple::numeric(out, price.into(), 6),
        None => tuple::null(out),
    }
    tuple::int8(out, line.volume);
}

//! Positions on the dimensions of hypertables: as SQL, as names of pieces, for people, and as given with `--since`.

use std::fmt;

use crate::base::{TableName, Timestamp, quote_ident};
use crate::catalog::timescale::{Dimension, Range};

/// Microseconds of a day, and of a millisecond.
const DAY: i64 = 86_400_000_000;
const MILLISECOND: i64 = 1_000;

/// A position that a user gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A point in time, for dimensions of time.
    Time(Timestamp),
    /// A number, for dimensions of integers.
    Integer(i64),
}

/// What cannot be read as a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a time (2026-11-20, 2026-11-20T09:30:00Z) nor a whole number")]
pub struct BoundError(String);

impl std::str::FromStr for Bound {
    type Err = BoundError;

    /// A whole number, a date, or a time; without an offset it is UTC.
    fn from_str(text: &str) -> Result<Self, BoundError> {
        let text = text.trim();
        if let Ok(number) = text.parse() {
            return Ok(Self::Integer(number));
        }
        let midnight = format!("{text}T00:00:00Z");
        let zulu = format!("{text}Z");
        let spellings = [text, &zulu, &midnight];
        let found = spellings.iter().find_map(|spelling| spelling.parse().ok());
        found.map(Self::Time).ok_or_else(|| BoundError(text.to_owned()))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => time.fmt(f),
            Self::Integer(number) => number.fmt(f),
        }
    }
}

/// `--since` and `--until`: rows from the one on, and before the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeSlice {
    /// The first position wanted.
    pub since: Option<Bound>,
    /// The first position not wanted any more.
    pub until: Option<Bound>,
}

impl TimeSlice {
    /// Nothing was asked for.
    pub fn is_everything(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }

    /// The range on a dimension; `None` where the bounds are of another kind than its positions.
    pub fn on(&self, dimension: &Dimension) -> Option<Range> {
        let position = |bound: Option<Bound>, open: i64| match (bound, dimension.is_time()) {
            (None, _) => Some(open),
            (Some(Bound::Time(time)), true) => Some(time.unix_micros()),
            (Some(Bound::Integer(number)), false) => Some(number),
            _ => None,
        };
        Some(Range { from: position(self.since, Range::MIN)?, to: position(self.until, Range::MAX)? })
    }
}

/// What a dimension's positions are computed from: the column, or the user's function of it.
pub fn axis(dimension: &Dimension) -> String {
    let column = quote_ident(&dimension.column);
    match &dimension.function {
        Some(function) => format!("{}({column})", function.sql()),
        None => column,
    }
}

/// A position as an SQL constant of the dimension's type.
///
/// Between two values of a coarser type (days, milliseconds) it is the next one: both `>=` and `<` then mean what they
/// mean for microseconds.
pub fn position(dimension: &Dimension, at: i64) -> String {
    match &*dimension.column_type {
        "timestamp with time zone" => moment(at, "timestamptz"),
        "timestamp without time zone" => moment(at, "timestamp"),
        "date" => format!("{}::pg_catalog.date", moment(ceiling(at, DAY) * DAY, "timestamp")),
        "uuid" => {
            // The first 48 bits of a UUID of version 7 are milliseconds.
            let milliseconds = ceiling(at, MILLISECOND).max(0);
            let hex = format!("{milliseconds:012x}");
            format!("'{}-{}-0000-0000-000000000000'::pg_catalog.uuid", &hex[..8], &hex[8..12])
        }
        other => format!("({at})::{other}"),
    }
}

fn ceiling(at: i64, step: i64) -> i64 {
    at.div_euclid(step) + i64::from(at.rem_euclid(step) != 0)
}

fn moment(at: i64, type_name: &str) -> String {
    let years = Timestamp::from_unix_micros(at).map(|time| time.to_string());
    match years {
        // From year 1 on both sides spell years alike.
        Some(text) if !text.starts_with('-') && !text.starts_with("0000") => {
            format!("'{text}'::pg_catalog.{type_name}")
        }
        _ => {
            let (days, rest) = (at.div_euclid(DAY), at.rem_euclid(DAY));
            format!(
                "('1970-01-01T00:00:00Z'::pg_catalog.{type_name} + pg_catalog.make_interval(days => {days}) \
                 + '{rest} microseconds'::pg_catalog.interval)"
            )
        }
    }
}

/// The conditions under which a row lies in a range of an open dimension; none for what has no bound.
pub fn conditions(dimension: &Dimension, range: Range) -> Vec<String> {
    let axis = axis(dimension);
    let lower = (range.from != Range::MIN).then(|| format!("{axis} >= {}", position(dimension, range.from)));
    let upper = (range.to != Range::MAX).then(|| format!("{axis} < {}", position(dimension, range.to)));
    lower.into_iter().chain(upper).collect()
}

/// The same for a hash dimension, whose positions are hash values; `hash` is TimescaleDB's own function for them.
pub fn hash_conditions(dimension: &Dimension, range: Range, hash: &TableName) -> Vec<String> {
    let function = dimension.function.as_ref().unwrap_or(hash);
    let axis = format!("{}({})", function.sql(), quote_ident(&dimension.column));
    let lower = (range.from != Range::MIN).then(|| format!("{axis} >= {}", range.from));
    let upper = (range.to != Range::MAX).then(|| format!("{axis} < {}", range.to));
    lower.into_iter().chain(upper).collect()
}

/// A range for people: `2026-01-01 to 2026-01-08`.
pub fn label(dimension: &Dimension, range: Range) -> String {
    let one = |at: i64, open: &str| match at {
        Range::MIN | Range::MAX => open.to_owned(),
        at => readable(dimension, at, ' ', ":"),
    };
    format!("{} to {}", one(range.from, "the beginning"), one(range.to, "the end"))
}

/// The same as the beginning of a file name: `2026-01-01_2026-01-08`, `2026-01-01T0930_2026-01-01T1030`, `0_1000`.
pub fn file_name(dimension: &Dimension, range: Range) -> String {
    let one = |at: i64, open: &str| match at {
        Range::MIN | Range::MAX => open.to_owned(),
        at => readable(dimension, at, 'T', "").replace('-', if dimension.is_time() { "-" } else { "m" }),
    };
    format!("{}_{}", one(range.from, "min"), one(range.to, "max"))
}

/// As much of a position as is not zero.
fn readable(dimension: &Dimension, at: i64, between: char, colon: &str) -> String {
    let time = dimension.is_time().then(|| Timestamp::from_unix_micros(at)).flatten();
    let Some(text) = time.map(|time| time.to_string()) else { return at.to_string() };
    let (day, rest) = text.split_once('T').unwrap_or((&text, ""));
    match rest.trim_end_matches('Z') {
        "00:00:00.000000" | "" => day.to_owned(),
        _ => {
            let clock = rest.trim_end_matches('Z');
            let clock = clock.strip_suffix(".000000").unwrap_or(clock);
            let clock = clock.strip_suffix(":00").filter(|short| short.len() == 5).unwrap_or(clock);
            format!("{day}{between}{}", clock.replace(':', colon))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimension(column_type: &str) -> Dimension {
        Dimension {
            column: "Ts".into(),
            column_type: column_type.into(),
            interval: Some(DAY),
            partitions: None,
            function: None,
            integer_now: None,
        }
    }

    fn micros(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().unix_micros()
    }

    #[test]
    fn positions_are_constants_of_the_columns_type() {
        let at = micros("2026-01-01T09:30:00.5Z");
        let of = |column_type| position(&dimension(column_type), at);
        assert_eq!(of("timestamp with time zone"), "'2026-01-01T09:30:00.500000Z'::pg_catalog.timestamptz");
        // The first day that is not before it.
        assert!(of("date").starts_with("'2026-01-02T00:00:00.000000Z'::pg_catalog.timestamp::"));
        assert_eq!(position(&dimension("smallint"), -5), "(-5)::smallint");
        assert_eq!(
            position(&dimension("uuid"), 1_700_000_000_000_001),
            "'018bcfe5-6801-0000-0000-000000000000'::pg_catalog.uuid"
        );
        let ancient = position(&dimension("timestamp with time zone"), micros("-000042-01-01T00:00:00Z"));
        assert!(ancient.contains("make_interval(days => -"), "{ancient}");
    }

    #[test]
    fn what_has_no_bound_has_no_condition() {
        let time = dimension("timestamp with time zone");
        assert!(conditions(&time, Range { from: Range::MIN, to: Range::MAX }).is_empty());
        let day = Range { from: micros("2026-01-01T00:00:00Z"), to: Range::MAX };
        assert_eq!(
            conditions(&time, day),
            ["\"Ts\" >= '2026-01-01T00:00:00.000000Z'::pg_catalog.timestamptz"]
        );
        let hash = TableName::new("_timescaledb_functions", "get_partition_hash");
        assert_eq!(
            hash_conditions(&dimension("text"), Range { from: Range::MIN, to: 1_073_741_823 }, &hash),
            ["\"_timescaledb_functions\".\"get_partition_hash\"(\"Ts\") < 1073741823"]
        );
    }

    #[test]
    fn ranges_have_short_names() {
        let time = dimension("timestamp with time zone");
        let range = |from: &str, to: &str| Range { from: micros(from), to: micros(to) };
        let week = range("2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z");
        assert_eq!(file_name(&time, week), "2026-01-01_2026-01-08");
        assert_eq!(label(&time, week), "2026-01-01 to 2026-01-08");
        let hour = range("2026-01-01T09:30:00Z", "2026-01-01T10:30:00.25Z");
        assert_eq!(file_name(&time, hour), "2026-01-01T0930_2026-01-01T103000.250000");
        let number = dimension("bigint");
        assert_eq!(file_name(&number, Range { from: -1000, to: 0 }), "m1000_0");
        assert_eq!(file_name(&number, Range { from: Range::MIN, to: 7 }), "min_7");
    }

    #[test]
    fn a_slice_fits_dimensions_of_its_kind() {
        let since: Bound = "2026-11-20".parse().unwrap();
        assert_eq!(since, "2026-11-20T00:00:00Z".parse().unwrap());
        assert_eq!("2026-11-20T02:00:00+02:00".parse::<Bound>().unwrap(), since);
        assert_eq!("17".parse::<Bound>().unwrap(), Bound::Integer(17));
        assert!("yesterday".parse::<Bound>().is_err());
        let slice = TimeSlice { since: Some(since), until: None };
        let range = slice.on(&dimension("date")).unwrap();
        assert_eq!(range, Range { from: micros("2026-11-20T00:00:00Z"), to: Range::MAX });
        assert_eq!(slice.on(&dimension("integer")), None);
    }
}

//! What makes a database a TimescaleDB database, as data: hypertables with their dimensions and chunks, compression,
//! continuous aggregates, jobs.
//!
//! Versions and editions of TimescaleDB keep these things in different catalogs; here they have one form, and a restore
//! replays them through public functions. Positions on a time axis are microseconds since the Unix epoch for timestamps,
//! dates and UUIDs of version 7, and the number itself for integers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{TableName, quote_ident};

/// The extension's name.
pub const EXTENSION: &str = "timescaledb";

/// Everything about TimescaleDB in one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timescale {
    /// `extversion`.
    pub version: String,
    /// The schema of its functions, usually `public`.
    pub schema: String,
    /// `timescaledb.license`: `timescale` or `apache`.
    pub license: Option<String>,
    /// Hypertables that users made, by name.
    pub hypertables: Vec<Hypertable>,
    /// Continuous aggregates, those that others are built on first.
    pub aggregates: Vec<Aggregate>,
    /// Policies and jobs that users made, by number.
    pub jobs: Vec<TimescaleJob>,
}

/// A table whose rows lie in chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hypertable {
    /// Its number in the source's catalog.
    pub id: i32,
    /// The table.
    pub name: TableName,
    /// Its dimensions; the first is the one of time.
    pub dimensions: Vec<Dimension>,
    /// Compression settings, where it is on.
    pub compression: Option<Compression>,
    /// Tablespaces that chunks are spread over.
    pub tablespaces: Vec<String>,
    /// Columns whose ranges are kept for each chunk (chunk skipping).
    pub skipping: Vec<String>,
}

/// One axis along which chunks are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    /// The column.
    pub column: String,
    /// Its type, as `regtype` prints it under an empty search path; the function's result, where there is a function.
    pub column_type: String,
    /// Length of a chunk on an open dimension; as text in JSON.
    #[serde(with = "text64::option")]
    pub interval: Option<i64>,
    /// Number of partitions of a hash dimension.
    pub partitions: Option<i32>,
    /// A function of the user's that is applied to the column first.
    pub function: Option<TableName>,
    /// What says which integer means now.
    pub integer_now: Option<TableName>,
}

/// A half-open range on a dimension. The smallest and the largest number stand for no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The first position in it.
    #[serde(with = "text64")]
    pub from: i64,
    /// The first position after it.
    #[serde(with = "text64")]
    pub to: i64,
}

/// A table that holds the rows of one cube.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its number in the source's catalog.
    pub id: i32,
    /// The table.
    pub name: TableName,
    /// Its range on every dimension, by column.
    pub ranges: BTreeMap<String, Range>,
    /// Bits: 1 compressed, 2 unordered, 4 frozen, 8 partly compressed.
    pub status: i32,
    /// How it was compressed, where that differs from the hypertable's settings now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// Compression settings; `None` leaves the choice to TimescaleDB when it compresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compression {
    /// `segmentby`.
    pub segment_by: Option<Vec<String>>,
    /// `orderby`.
    pub order_by: Option<Vec<OrderColumn>>,
    /// `compress_index`, as the user wrote it: `bloom(x), minmax(y)`.
    pub index: Option<String>,
}

/// One column of `orderby`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderColumn {
    /// The column.
    pub column: String,
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST`.
    pub nulls_first: bool,
}

impl OrderColumn {
    /// As `ORDER BY` takes it.
    pub fn sql(&self) -> String {
        let direction = if self.descending { "DESC" } else { "ASC" };
        let nulls = if self.nulls_first { "FIRST" } else { "LAST" };
        format!("{} {direction} NULLS {nulls}", quote_ident(&self.column))
    }
}

/// A continuous aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// The view that users query.
    pub view: TableName,
    /// The hypertable that holds its materialised rows.
    pub hypertable: Hypertable,
    /// What it aggregates: a hypertable, or the view of another aggregate.
    pub over: TableName,
    /// The query, with every name qualified.
    pub definition: String,
    /// Only materialised rows are shown, not also those still to be materialised.
    pub materialized_only: bool,
    /// Up to where it is materialised; as text in JSON. Absent where nothing is.
    #[serde(with = "text64::option")]
    pub watermark: Option<i64>,
    /// Definitions of the indexes on its materialised rows.
    pub indexes: Vec<String>,
}

/// A policy or a job that a user made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimescaleJob {
    /// Its number in the source; another one after a restore.
    pub id: i32,
    /// Its name in lists.
    pub application_name: String,
    /// What it runs.
    pub procedure: TableName,
    /// Whose it is.
    pub owner: String,
    /// The hypertable, or the view of the aggregate, that it is for.
    pub hypertable: Option<TableName>,
    /// It runs by itself.
    pub scheduled: bool,
    /// Runs start at multiples of the interval from `initial_start`.
    pub fixed_schedule: bool,
    /// An interval.
    pub schedule_interval: String,
    /// An interval.
    pub max_runtime: String,
    /// -1: for ever.
    pub max_retries: i32,
    /// An interval.
    pub retry_period: String,
    /// A time in UTC.
    pub initial_start: Option<String>,
    /// Of the schedule.
    pub timezone: Option<String>,
    /// JSON, as text: its numbers may be fractions.
    pub config: Option<String>,
    /// A function that checks the configuration.
    pub check: Option<TableName>,
}

impl Range {
    /// No bound below.
    pub const MIN: i64 = i64::MIN;
    /// No bound above.
    pub const MAX: i64 = i64::MAX;

    /// Whether the two have a position in common.
    pub fn overlaps(&self, other: Range) -> bool {
        self.from < other.to && other.from < self.to
    }

    /// Whether all of `other` is in this one.
    pub fn contains(&self, other: Range) -> bool {
        self.from <= other.from && other.to <= self.to
    }
}

impl Dimension {
    /// Whether positions are microseconds (of timestamps, dates and UUIDs) rather than integers.
    pub fn is_time(&self) -> bool {
        matches!(
            &*self.column_type,
            "timestamp with time zone" | "timestamp without time zone" | "date" | "uuid"
        )
    }
}

impl Hypertable {
    /// The dimension of time, which every hypertable has.
    pub fn time(&self) -> Option<&Dimension> {
        self.dimensions.first()
    }
}

impl Chunk {
    /// Some of its rows are compressed.
    pub fn is_compressed(&self) -> bool {
        self.status & 1 != 0
    }

    /// All of its rows are compressed, and lie in the order of its settings.
    pub fn is_ordered(&self) -> bool {
        self.status & !4 == 1
    }
}

impl Timescale {
    /// The hypertable of this name.
    pub fn hypertable(&self, name: &TableName) -> Option<&Hypertable> {
        self.hypertables.iter().find(|hypertable| hypertable.name == *name)
    }

    /// The aggregate with this view.
    pub fn aggregate(&self, view: &TableName) -> Option<&Aggregate> {
        self.aggregates.iter().find(|aggregate| aggregate.view == *view)
    }

    /// What holds the rows under this name: a hypertable, or an aggregate's materialisation.
    pub fn rows_of(&self, name: &TableName) -> Option<&Hypertable> {
        self.hypertable(name).or_else(|| self.aggregate(name).map(|aggregate| &aggregate.hypertable))
    }
}

/// Signed 64-bit numbers as decimal strings: JSON readers lose such numbers otherwise.
mod text64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&number.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        parse(&String::deserialize(deserializer)?)
    }

    /// Only the one form that `serialize` writes.
    fn parse<E: Error>(text: &str) -> Result<i64, E> {
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Ok(number),
            _ => Err(E::custom(format!("{text:?} is not a signed 64-bit number in decimal"))),
        }
    }

    pub(super) mod option {
        use serde::{Deserialize, Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            number: &Option<i64>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match number {
                Some(number) => serializer.serialize_some(&number.to_string()),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<i64>, D::Error> {
            Option::<String>::deserialize(deserializer)?.map(|text| super::parse(&text)).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_text_in_json_and_half_open() {
        let range = Range { from: Range::MIN, to: 1_700_000_000_000_000 };
        let text = serde_json::to_string(&range).unwrap();
        assert_eq!(text, r#"{"from":"-9223372036854775808","to":"1700000000000000"}"#);
        assert_eq!(serde_json::from_str::<Range>(&text).unwrap(), range);
        assert!(serde_json::from_str::<Range>(r#"{"from":"01","to":"2"}"#).is_err());
        let at = |from, to| Range { from, to };
        assert!(!at(0, 10).overlaps(at(10, 20)) && at(0, 11).overlaps(at(10, 20)));
        assert!(at(0, 20).contains(at(0, 20)) && !at(0, 20).contains(at(5, 21)));
    }

    #[test]
    fn only_a_chunk_that_is_compressed_as_a_whole_is_in_order() {
        let chunk = |status| Chunk {
            id: 1,
            name: TableName::new("_timescaledb_internal", "_hyper_1_1_chunk"),
            ranges: BTreeMap::new(),
            status,
            compression: None,
        };
        assert!(chunk(1).is_ordered() && chunk(5).is_ordered());
        for status in [0, 3, 9, 11, 4] {
            assert!(!chunk(status).is_ordered(), "{status}");
        }
        assert!(chunk(9).is_compressed() && !chunk(4).is_compressed());
    }
}

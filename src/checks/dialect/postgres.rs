//! [`Postgres`]: how PostgreSQL is asked.

use super::Dialect;
use crate::base::{TableName, Timestamp, quote_ident, quote_literal};
use crate::checks::columns::ColumnSort;
use crate::checks::definition::Kind;
use crate::checks::mapping::MappedColumn;

/// PostgreSQL.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postgres;

/// Whether a double is a number: NaN is above infinity.
fn finite(name: &str) -> String {
    format!("{name} < 'Infinity' AND {name} > '-Infinity'")
}

impl Dialect for Postgres {
    fn column(&self, _: &TableName, column: &MappedColumn, kind: Kind) -> String {
        let name = quote_ident(&column.name);
        match (kind, column.sort) {
            (Kind::Key, _) if column.as_text => format!("CAST({name} AS text)"),
            (Kind::Key, ColumnSort::Printed) | (Kind::Text, _) => format!("CAST({name} AS text)"),
            // By its text, which is the shortest that is the same double; a cast would keep 15 digits.
            (Kind::Amount | Kind::Count, ColumnSort::Float) => {
                format!("CASE WHEN {} THEN CAST(CAST({name} AS text) AS numeric) END", finite(&name))
            }
            // NaN and the infinities have no scale; a look at the value's head costs less than comparing it.
            (Kind::Amount | Kind::Count, ColumnSort::Decimal) => {
                format!("CASE WHEN pg_catalog.scale({name}) IS NOT NULL THEN CAST({name} AS numeric) END")
            }
            (Kind::Amount | Kind::Count, _) => format!("CAST({name} AS numeric)"),
            // Date and timestamp are read as UTC, which every session is pinned to.
            (Kind::Time, _) => {
                format!(
                    "CASE WHEN pg_catalog.isfinite({name}) THEN CAST({name} AS timestamp with time zone) END"
                )
            }
            (Kind::Bytes, ColumnSort::Text | ColumnSort::Printed) => {
                format!("pg_catalog.convert_to(CAST({name} AS text), 'UTF8')")
            }
            (Kind::Digest, ColumnSort::Bytes) => format!("pg_catalog.encode({name}, 'hex')"),
            (Kind::Digest, _) => format!("CAST({name} AS text)"),
            (Kind::Key | Kind::Flag | Kind::Bytes, _) => name,
        }
    }

    fn null(&self, sort: ColumnSort) -> &'static str {
        match sort {
            ColumnSort::Integer => "CAST(NULL AS bigint)",
            ColumnSort::Decimal | ColumnSort::Money | ColumnSort::Float => "CAST(NULL AS numeric)",
            ColumnSort::Text | ColumnSort::Printed => "CAST(NULL AS text)",
            ColumnSort::Uuid => "CAST(NULL AS uuid)",
            ColumnSort::Time => "CAST(NULL AS timestamp with time zone)",
            ColumnSort::Flag => "CAST(NULL AS boolean)",
            ColumnSort::Bytes => "CAST(NULL AS bytea)",
        }
    }

    fn instant(&self, at: Timestamp) -> String {
        format!("CAST({} AS timestamp with time zone)", quote_literal(&at.to_string()))
    }
}

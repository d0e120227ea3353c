//! Calls of TimescaleDB's public functions that make a hypertable what it was.
//!
//! The older forms of `create_hypertable` and `add_dimension` are used: they are the ones that every version from 2.11
//! on has. `_timescaledb_catalog` is never written.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{TableName, quote_ident, quote_literal};
use crate::catalog::timescale::{Chunk, Compression, Dimension, Hypertable, OrderColumn, Range};
use crate::plan::chunks::position;

/// Where the functions are, and which arguments they have in the target's version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions {
    /// The schema of the public functions.
    pub schema: String,
    /// The schema of the internal ones: `_timescaledb_functions`, before 2.12 `_timescaledb_internal`.
    pub internal: String,
    /// Names of arguments by the function's name.
    pub arguments: BTreeMap<String, BTreeSet<String>>,
    /// `extversion` as two numbers.
    pub version: (u32, u32),
}

impl Functions {
    /// A public function, quoted.
    pub fn public(&self, name: &str) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(name))
    }

    fn internal(&self, name: &str) -> String {
        format!("{}.{}", quote_ident(&self.internal), quote_ident(name))
    }

    /// Whether a function takes an argument of this name.
    pub fn takes(&self, function: &str, argument: &str) -> bool {
        self.arguments.get(function).is_some_and(|names| names.contains(argument))
    }
}

/// `'"a"."b"'::pg_catalog.regclass`.
pub fn regclass(table: &TableName) -> String {
    format!("{}::pg_catalog.regclass", literal(&table.sql()))
}

/// `'"a"."f"'::pg_catalog.regproc`.
pub fn regproc(function: &TableName) -> String {
    format!("{}::pg_catalog.regproc", literal(&function.sql()))
}

/// A string constant.
pub fn literal(text: &str) -> String {
    quote_literal(text).trim_start().to_owned()
}

/// A length on a dimension: an interval for time, a number for integers.
fn length(dimension: &Dimension, interval: i64) -> String {
    match dimension.is_time() {
        true => format!("'{interval} microseconds'::pg_catalog.interval"),
        false => format!("{interval}::pg_catalog.int8"),
    }
}

/// What makes a table a hypertable with the dimensions of the source; `routine` gives functions their new names.
pub fn hypertable(
    functions: &Functions,
    table: &TableName,
    hypertable: &Hypertable,
    routine: &dyn Fn(&TableName) -> TableName,
) -> Vec<String> {
    let mut calls = Vec::new();
    for (number, dimension) in hypertable.dimensions.iter().enumerate() {
        let mut arguments = vec![regclass(table), literal(&dimension.column)];
        if let Some(partitions) = dimension.partitions {
            arguments.push(format!("number_partitions => {partitions}"));
        } else if let Some(interval) = dimension.interval {
            arguments.push(format!("chunk_time_interval => {}", length(dimension, interval)));
        }
        let by = if number == 0 { "time_partitioning_func" } else { "partitioning_func" };
        arguments.extend(dimension.function.as_ref().map(|f| format!("{by} => {}", regproc(&routine(f)))));
        let name = if number == 0 { "create_hypertable" } else { "add_dimension" };
        if number == 0 {
            // They would only slow the rows down; the source's own indexes come after them.
            arguments.push("create_default_indexes => false".to_owned());
        }
        calls.push(format!("SELECT FROM {}({})", functions.public(name), arguments.join(", ")));
    }
    if let Some(now) = hypertable.time().and_then(|time| time.integer_now.as_ref()) {
        calls.push(format!(
            "SELECT {}({}, {})",
            functions.public("set_integer_now_func"),
            regclass(table),
            regproc(&routine(now))
        ));
    }
    calls
}

/// Spreads the chunks over a tablespace.
pub fn tablespace(functions: &Functions, table: &TableName, tablespace: &str) -> String {
    format!("SELECT {}({}, {})", functions.public("attach_tablespace"), literal(tablespace), regclass(table))
}

/// The length of chunks from now on.
pub fn chunk_interval(functions: &Functions, table: &TableName, hypertable: &Hypertable) -> Option<String> {
    let time = hypertable.time()?;
    let length = length(time, time.interval?);
    let function = functions.public("set_chunk_time_interval");
    Some(format!("SELECT {function}({}, {length})", regclass(table)))
}

/// The cube of a chunk as `create_chunk` takes it.
fn cube(ranges: &BTreeMap<String, Range>) -> String {
    let object: serde_json::Map<String, serde_json::Value> = ranges
        .iter()
        .map(|(column, range)| (column.clone(), serde_json::json!([range.from, range.to])))
        .collect();
    format!("{}::pg_catalog.jsonb", literal(&serde_json::Value::Object(object).to_string()))
}

/// `create_chunk`, which gives the chunk of exactly this cube, and makes it where there is none.
fn chunk_of(functions: &Functions, table: &TableName, chunk: &Chunk) -> String {
    format!("{}({}, {})", functions.internal("create_chunk"), regclass(table), cube(&chunk.ranges))
}

/// Makes the chunk. Full edition only.
pub fn create_chunk(functions: &Functions, table: &TableName, chunk: &Chunk) -> String {
    format!("SELECT FROM {}", chunk_of(functions, table, chunk))
}

/// Compresses the chunk of this cube.
pub fn compress_chunk(functions: &Functions, table: &TableName, chunk: &Chunk) -> String {
    format!(
        "SELECT {}(pg_catalog.format('%I.%I', c.schema_name, c.table_name)::pg_catalog.regclass, true) FROM {} c",
        functions.public("compress_chunk"),
        chunk_of(functions, table, chunk)
    )
}

/// The compression settings, as options of ALTER TABLE or ALTER MATERIALIZED VIEW.
///
/// What the source left open stays open; an empty `segmentby` would be a decision.
pub fn compression(functions: &Functions, compression: &Compression) -> String {
    let mut options = vec!["timescaledb.compress = true".to_owned()];
    if let Some(columns) = &compression.segment_by {
        let list: Vec<String> = columns.iter().map(|column| quote_ident(column)).collect();
        options.push(format!("timescaledb.compress_segmentby = {}", literal(&list.join(","))));
    }
    if let Some(columns) = compression.order_by.as_deref().filter(|columns| !columns.is_empty()) {
        let list: Vec<String> = columns.iter().map(OrderColumn::sql).collect();
        options.push(format!("timescaledb.compress_orderby = {}", literal(&list.join(","))));
    }
    if let (Some(index), true) = (&compression.index, functions.version >= COMPRESS_INDEX) {
        options.push(format!("timescaledb.compress_index = {}", literal(index)));
    }
    options.join(", ")
}

/// The same for versions that choose `segmentby` at once, and may choose a column of the source's `orderby`: without
/// any. `None` where there is no choice left.
pub fn decided(compression: &Compression) -> Option<Compression> {
    let open = compression.segment_by.is_none() && compression.order_by.is_some();
    open.then(|| Compression { segment_by: Some(Vec::new()), ..compression.clone() })
}

/// The first version with `compress_index`.
pub const COMPRESS_INDEX: (u32, u32) = (2, 22);

/// The first version that keeps ranges of columns (chunk skipping).
pub const CHUNK_SKIPPING: (u32, u32) = (2, 16);

/// Keeps ranges of these columns; to be run in one transaction.
pub fn skipping(functions: &Functions, table: &TableName, columns: &[String]) -> Vec<String> {
    let switch = std::iter::once("SET LOCAL timescaledb.enable_chunk_skipping = on".to_owned());
    let calls = columns.iter().map(|column| {
        let function = functions.public("enable_chunk_skipping");
        format!("SELECT FROM {function}({}, {})", regclass(table), literal(column))
    });
    switch.chain(calls).collect()
}

/// Microseconds of 1900-01-01, before every time series.
const LONG_AGO: i64 = -2_208_988_800_000_000;

/// A number below most keys.
const FAR_BELOW: i64 = -1_000_000_000;

/// What sets an aggregate's watermark to the end of its rows: a row far below all others, whose chunk is dropped at once.
/// TimescaleDB computes the watermark anew when chunks of an aggregate are dropped.
///
/// `lowest` is where its first chunk begins. `None` where there is no room below.
pub fn watermark(
    functions: &Functions,
    rows: &TableName,
    view: &TableName,
    time: &Dimension,
    lowest: i64,
) -> Option<Vec<String>> {
    let width = time.interval.unwrap_or(1).max(1);
    let floor = match &*time.column_type {
        "smallint" => i64::from(i16::MIN),
        "integer" => i64::from(i32::MIN) + width.min(i64::from(i32::MAX) / 2),
        // Year 4714 before our era is where PostgreSQL's timestamps begin.
        _ if time.is_time() => -200_000_000_000_000_000,
        _ => i64::MIN / 2,
    };
    let far = if time.is_time() { LONG_AGO } else { FAR_BELOW };
    let at = far.min(lowest.saturating_sub(width.saturating_mul(2))).max(floor);
    // The chunk around the row ends before this, wherever chunks begin.
    let cut = at.saturating_add(width);
    if cut > lowest {
        return None;
    }
    let column = quote_ident(&time.column);
    Some(vec![
        format!("INSERT INTO {} ({column}) VALUES ({})", rows.sql(), position(time, at)),
        format!(
            "SELECT {}({}, older_than => {})",
            functions.public("drop_chunks"),
            regclass(view),
            position(time, cut)
        ),
    ])
}

/// An index of an aggregate's materialised rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its definition from `USING` on: what tells whether it is there already.
    pub tail: String,
    /// Its name, quoted as it was, unless it was made from that of the source's hypertable.
    pub name: Option<String>,
    unique: bool,
}

impl Index {
    /// Reads what `pg_get_indexdef` gives.
    pub fn of(definition: &str) -> Option<Self> {
        let tokens = crate::plan::ddl::ast::tokens(definition)?;
        let word = |token: &pg_query::protobuf::ScanToken| {
            let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
            Some((start, definition.get(start..end)?))
        };
        let words: Vec<(usize, &str)> = tokens.iter().filter_map(word).collect();
        let is = |word: &str| words.iter().position(|(_, text)| text.eq_ignore_ascii_case(word));
        let (index, using) = (is("INDEX")?, is("USING")?);
        let name = words.get(index + 1).map(|(_, text)| *text)?;
        let own = name.trim_matches('"').starts_with("_materialized_hypertable_");
        Some(Self {
            tail: definition.get(words.get(using)?.0..)?.to_owned(),
            name: (!own && !name.eq_ignore_ascii_case("ON")).then(|| name.to_owned()),
            unique: is("UNIQUE").is_some_and(|unique| unique < index),
        })
    }

    /// The statement that makes it through the aggregate's view: its owner need not be allowed to make anything in the
    /// schema where the rows lie. Without a name the server finds one.
    pub fn statement(&self, view: &TableName, named: bool) -> String {
        let unique = if self.unique { "UNIQUE " } else { "" };
        let name = self.name.as_ref().filter(|_| named).map(|name| format!("{name} ")).unwrap_or_default();
        format!("CREATE {unique}INDEX {name}ON {} {}", view.sql(), self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions() -> Functions {
        Functions {
            schema: "public".into(),
            internal: "_timescaledb_functions".into(),
            version: (2, 29),
            ..Functions::default()
        }
    }

    fn dimension(column_type: &str, interval: i64) -> Dimension {
        Dimension {
            column: "ts".into(),
            column_type: column_type.into(),
            interval: Some(interval),
            partitions: None,
            function: None,
            integer_now: None,
        }
    }

    #[test]
    fn a_hypertable_is_made_by_calls_that_every_version_has() {
        let mut second = dimension("text", 0);
        (second.column, second.interval, second.partitions) = ("device".into(), None, Some(4));
        let hypertable = Hypertable {
            id: 1,
            name: TableName::new("md", "t"),
            dimensions: vec![dimension("timestamp with time zone", 86_400_000_000), second],
            compression: None,
            tablespaces: Vec::new(),
            skipping: Vec::new(),
        };
        let calls = super::hypertable(&functions(), &hypertable.name, &hypertable, &Clone::clone);
        assert_eq!(
            calls[0],
            "SELECT FROM \"public\".\"create_hypertable\"('\"md\".\"t\"'::pg_catalog.regclass, 'ts', chunk_time_interval \
             => '86400000000 microseconds'::pg_catalog.interval, create_default_indexes => false)"
        );
        assert!(calls[1].ends_with("'device', number_partitions => 4)"), "{}", calls[1]);
    }

    #[test]
    fn what_compression_left_open_stays_open() {
        let open = compression(&functions(), &Compression::default());
        assert_eq!(open, "timescaledb.compress = true");
        let set = Compression {
            segment_by: Some(vec!["a\"b".into()]),
            order_by: Some(vec![OrderColumn { column: "ts".into(), descending: true, nulls_first: false }]),
            index: Some("bloom(x)".into()),
        };
        let older = Functions { version: (2, 17), ..functions() };
        assert_eq!(
            compression(&older, &set),
            "timescaledb.compress = true, timescaledb.compress_segmentby = '\"a\"\"b\"', \
             timescaledb.compress_orderby = '\"ts\" DESC NULLS LAST'"
        );
        assert!(compression(&functions(), &set).ends_with("timescaledb.compress_index = 'bloom(x)'"));
    }

    #[test]
    fn the_sacrificed_row_lies_below_all_others() {
        let name = TableName::new("a", "v");
        let of = |column_type: &str, interval, lowest| {
            super::watermark(&functions(), &name, &name, &dimension(column_type, interval), lowest)
        };
        let time = of("timestamp with time zone", 864_000_000_000, 0).unwrap();
        assert!(time[0].contains("1900-01-01T00:00:00"), "{}", time[0]);
        assert!(of("bigint", 10, -2_000_000_000).unwrap()[0].contains("(-2000000020)::bigint"));
        assert!(of("smallint", 10, -32_000).unwrap()[0].contains("(-32768)::smallint"));
        assert_eq!(of("smallint", 1000, -32_000), None);
    }

    #[test]
    fn an_index_is_made_through_the_view() {
        let view = TableName::new("md", "v");
        let made = "CREATE INDEX _materialized_hypertable_3_b_idx ON _timescaledb_internal._materialized_hypertable_3 \
                    USING btree (b DESC)";
        let index = Index::of(made).unwrap();
        assert_eq!(index.tail, "USING btree (b DESC)");
        assert_eq!(index.statement(&view, true), "CREATE INDEX ON \"md\".\"v\" USING btree (b DESC)");
        let mine = Index::of("CREATE INDEX \"Mine\" ON a.b USING btree (c)").unwrap();
        assert_eq!(mine.statement(&view, true), "CREATE INDEX \"Mine\" ON \"md\".\"v\" USING btree (c)");
        assert!(mine.statement(&view, false).starts_with("CREATE INDEX ON"));
    }
}

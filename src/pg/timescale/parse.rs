//! TimescaleDB's catalog rows, as they come from any version, into the one form of `catalog::timescale`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Refusal, Surveyed, SurveyedChunk};
use crate::base::TableName;
use crate::catalog::timescale::{
    Aggregate, Chunk, Compression, Dimension, Hypertable, OrderColumn, Range, Timescale, TimescaleJob,
};

/// Rows by part.
pub(super) type Parts = BTreeMap<&'static str, Vec<Value>>;

/// What the extension says about itself.
pub(super) struct About {
    pub(super) version: String,
    pub(super) schema: String,
    pub(super) license: Option<String>,
}

/// A catalog that cannot be understood: the part and the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("TimescaleDB's catalog has a row of {part} without a proper {key}")]
pub struct Unreadable {
    part: &'static str,
    key: &'static str,
}

/// One row with its part's name for errors.
#[derive(Clone, Copy)]
struct Row<'a> {
    part: &'static str,
    fields: &'a Value,
}

impl<'a> Row<'a> {
    fn get(&self, key: &'static str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn need<T>(&self, key: &'static str, value: Option<T>) -> Result<T, Unreadable> {
        value.ok_or(Unreadable { part: self.part, key })
    }

    fn text(&self, key: &'static str) -> Option<String> {
        self.get(key)?.as_str().map(str::to_owned)
    }

    fn number(&self, key: &'static str) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    fn flag(&self, key: &'static str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    fn id(&self, key: &'static str) -> Result<i32, Unreadable> {
        self.need(key, self.number(key).and_then(|number| i32::try_from(number).ok()))
    }

    fn oid(&self, key: &'static str) -> Option<u32> {
        self.number(key).and_then(|number| u32::try_from(number).ok())
    }

    /// A name of two parts; absent where either is.
    fn name(&self, schema: &'static str, name: &'static str) -> Option<TableName> {
        Some(TableName::new(self.text(schema)?, self.text(name)?))
    }

    fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let list = self.get(key)?.as_array()?;
        Some(list.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
    }
}

/// The rows of one part.
fn rows<'a>(parts: &'a Parts, part: &'static str) -> impl Iterator<Item = Row<'a>> + use<'a> {
    parts.get(part).into_iter().flatten().map(move |fields| Row { part, fields })
}

/// Everything, from all parts.
pub(super) fn surveyed(about: About, parts: Parts) -> Result<Surveyed, Unreadable> {
    let materialized: BTreeSet<i32> = ids(&parts, "continuous_agg", "mat_hypertable_id");
    let compressed: BTreeSet<i32> = ids(&parts, "hypertable", "compressed_hypertable_id");
    let mut found = Surveyed {
        timescale: Timescale {
            version: about.version,
            schema: about.schema,
            license: about.license,
            hypertables: Vec::new(),
            aggregates: Vec::new(),
            jobs: Vec::new(),
        },
        chunks: BTreeMap::new(),
        hypertables: BTreeMap::new(),
        views: BTreeMap::new(),
        hidden: Vec::new(),
        refusals: Vec::new(),
        raw: Value::Null,
    };
    let settings = Settings::of(&parts);
    let mut all: BTreeMap<i32, Hypertable> = BTreeMap::new();
    for row in rows(&parts, "hypertable") {
        let id = row.id("id")?;
        let oid = row.need("oid", row.oid("oid"))?;
        let internal = compressed.contains(&id) || row.number("compression_state") == Some(2);
        if internal {
            found.hidden.push(oid);
            continue;
        }
        let hypertable = hypertable(&parts, &settings, row, id, oid)?;
        if row.number("replication_factor").is_some_and(|factor| factor != 0) {
            found.refusals.push(Refusal::distributed(&hypertable.name));
        }
        found.hypertables.insert(oid, id);
        if !materialized.contains(&id) {
            found.timescale.hypertables.push(hypertable.clone());
        }
        all.insert(id, hypertable);
    }
    found.timescale.hypertables.sort_by(|a, b| a.name.cmp(&b.name));
    chunks(&parts, &settings, &all, &mut found)?;
    aggregates(&parts, &all, &mut found)?;
    found.timescale.jobs = jobs(&parts, &found.timescale, &all)?;
    let raw: Map<String, Value> =
        parts.into_iter().map(|(part, rows)| (part.to_owned(), Value::Array(rows))).collect();
    found.raw = Value::Object(raw);
    Ok(found)
}

fn ids(parts: &Parts, part: &'static str, key: &'static str) -> BTreeSet<i32> {
    rows(parts, part).filter_map(|row| i32::try_from(row.number(key)?).ok()).collect()
}

fn hypertable(
    parts: &Parts,
    settings: &Settings,
    row: Row<'_>,
    id: i32,
    oid: u32,
) -> Result<Hypertable, Unreadable> {
    let of_this = move |other: &Row<'_>| other.number("hypertable_id") == Some(i64::from(id));
    let name = row.need("table_name", row.name("schema_name", "table_name"))?;
    // 2.29 and newer have a bit for it, and an old column that is always 0.
    let compresses =
        row.number("compression_state") == Some(1) || row.number("status").is_some_and(|bits| bits & 4 != 0);
    let compression = compresses.then(|| settings.of_hypertable(oid, &name));
    Ok(Hypertable {
        id,
        dimensions: rows(parts, "dimension").filter(of_this).map(dimension).collect::<Result<_, _>>()?,
        compression,
        tablespaces: rows(parts, "tablespace")
            .filter(of_this)
            .filter_map(|r| r.text("tablespace_name"))
            .collect(),
        skipping: rows(parts, "column_stats").filter(of_this).filter_map(|r| r.text("column_name")).collect(),
        name,
    })
}

fn dimension(row: Row<'_>) -> Result<Dimension, Unreadable> {
    let partitions = row.number("num_slices").and_then(|number| i32::try_from(number).ok());
    let function = row.name("partitioning_func_schema", "partitioning_func");
    Ok(Dimension {
        column: row.need("column_name", row.text("column_name"))?,
        column_type: row.need("axis_type", row.text("axis_type"))?,
        interval: row.number("interval_length"),
        partitions,
        // TimescaleDB's own hash function is what a hash dimension gets without being asked.
        function: function.filter(|name| !name.schema.starts_with("_timescaledb_")),
        integer_now: row.name("integer_now_func_schema", "integer_now_func"),
    })
}

/// Compression settings of all relations, in whichever form the version keeps them.
struct Settings {
    by_oid: BTreeMap<u32, Compression>,
    /// Up to 2.13, by name.
    by_name: BTreeMap<TableName, Compression>,
    /// Table of compressed rows by chunk, from 2.19 on.
    companions: BTreeMap<u32, (u32, TableName)>,
}

impl Settings {
    fn of(parts: &Parts) -> Self {
        let mut settings =
            Self { by_oid: BTreeMap::new(), by_name: BTreeMap::new(), companions: BTreeMap::new() };
        for row in rows(parts, "compression") {
            let Some(oid) = row.oid("oid") else { continue };
            settings.by_oid.insert(oid, one_row(row));
            if let (Some(companion), Some(name)) = (row.oid("companion"), row.name("nspname", "relname")) {
                settings.companions.insert(oid, (companion, name));
            }
        }
        let mut columns: BTreeMap<TableName, Vec<Row<'_>>> = BTreeMap::new();
        for row in rows(parts, "compression_column") {
            if let Some(name) = row.name("hypertable_schema", "hypertable_name") {
                columns.entry(name).or_default().push(row);
            }
        }
        settings.by_name = columns.into_iter().map(|(name, columns)| (name, row_a_column(columns))).collect();
        settings
    }

    fn of_hypertable(&self, oid: u32, name: &TableName) -> Compression {
        self.by_oid.get(&oid).or_else(|| self.by_name.get(name)).cloned().unwrap_or_default()
    }
}

fn one_row(row: Row<'_>) -> Compression {
    let flags = |key| {
        let list = row.get(key).and_then(Value::as_array);
        list.map(|list| list.iter().map(|flag| flag.as_bool().unwrap_or(false)).collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let (descending, nulls_first) = (flags("orderby_desc"), flags("orderby_nullsfirst"));
    let order_by = row.texts("orderby").map(|columns| {
        let at = |list: &[bool], index: usize| list.get(index).copied().unwrap_or(false);
        let columns = columns.into_iter().enumerate();
        columns
            .map(|(i, column)| OrderColumn {
                column,
                descending: at(&descending, i),
                nulls_first: at(&nulls_first, i),
            })
            .collect()
    });
    // Only what the user asked for: the rest is derived from the order.
    let asked = row.get("index").and_then(Value::as_array).into_iter().flatten();
    let asked: Vec<String> = asked
        .filter(|entry| entry.get("source").and_then(Value::as_str) == Some("config"))
        .filter_map(|entry| Some(format!("{}({})", entry.get("type")?.as_str()?, index_columns(entry)?)))
        .collect();
    Compression {
        segment_by: row.texts("segmentby"),
        order_by,
        index: (!asked.is_empty()).then(|| asked.join(", ")),
    }
}

/// One column's name, or those of a composite index.
fn index_columns(entry: &Value) -> Option<String> {
    let quoted = |value: &Value| value.as_str().map(crate::base::quote_ident);
    match entry.get("column")? {
        Value::Array(columns) => Some(columns.iter().filter_map(quoted).collect::<Vec<_>>().join(", ")),
        one => quoted(one),
    }
}

fn row_a_column(columns: Vec<Row<'_>>) -> Compression {
    let mut segment: Vec<(i64, String)> = Vec::new();
    let mut order: Vec<(i64, OrderColumn)> = Vec::new();
    for row in columns {
        let Some(column) = row.text("attname") else { continue };
        if let Some(place) = row.number("segmentby_column_index") {
            segment.push((place, column.clone()));
        }
        if let Some(place) = row.number("orderby_column_index") {
            let descending = !row.flag("orderby_asc");
            order.push((
                place,
                OrderColumn { column, descending, nulls_first: row.flag("orderby_nullsfirst") },
            ));
        }
    }
    segment.sort();
    order.sort_by_key(|(place, _)| *place);
    let order: Vec<OrderColumn> = order.into_iter().map(|(_, column)| column).collect();
    Compression {
        segment_by: Some(segment.into_iter().map(|(_, column)| column).collect()),
        order_by: (!order.is_empty()).then_some(order),
        index: None,
    }
}

/// Ranges of every chunk, by chunk and column.
fn ranges(parts: &Parts) -> BTreeMap<i64, BTreeMap<String, Range>> {
    let columns: BTreeMap<i64, String> = rows(parts, "dimension")
        .filter_map(|row| Some((row.number("id")?, row.text("column_name")?)))
        .collect();
    let mut ranges: BTreeMap<i64, BTreeMap<String, Range>> = BTreeMap::new();
    for row in rows(parts, "slice") {
        let place = (row.number("chunk_id"), row.number("dimension_id").and_then(|id| columns.get(&id)));
        let bounds = (row.number("range_start"), row.number("range_end"));
        if let ((Some(chunk), Some(column)), (Some(from), Some(to))) = (place, bounds) {
            ranges.entry(chunk).or_default().insert(column.clone(), Range { from, to });
        }
    }
    ranges
}

fn chunks(
    parts: &Parts,
    settings: &Settings,
    hypertables: &BTreeMap<i32, Hypertable>,
    found: &mut Surveyed,
) -> Result<(), Unreadable> {
    let mut ranges = ranges(parts);
    let tables: BTreeMap<i64, (u32, TableName)> = rows(parts, "chunk")
        .filter_map(|row| Some((row.number("id")?, (row.oid("oid")?, row.name("nspname", "relname")?))))
        .collect();
    for row in rows(parts, "chunk") {
        let id = row.id("id")?;
        let (oid, name) = row.need("oid", tables.get(&i64::from(id)).cloned())?;
        let companion = row.number("compressed_chunk_id").and_then(|id| tables.get(&id)).cloned();
        let companion = settings.companions.get(&oid).cloned().or(companion);
        found.hidden.push(oid);
        found.hidden.extend(companion.iter().map(|(oid, _)| *oid));
        let Some(hypertable) = hypertables.get(&row.id("hypertable_id")?) else { continue };
        if row.flag("osm_chunk") {
            found.refusals.push(Refusal::tiered(&hypertable.name, &name));
            continue;
        }
        let ranges = row.need("slices", ranges.remove(&i64::from(id)))?;
        let status = row.id("status")?;
        // From 2.19 on under the chunk, before under the table of its compressed rows, up to 2.13 nowhere.
        let own = settings.by_oid.get(&oid);
        let own = own.or_else(|| settings.by_oid.get(&companion.as_ref()?.0)).filter(|_| status & 1 != 0);
        let differing = own.filter(|own| hypertable.compression.as_ref() != Some(own)).cloned();
        let sizes = row.get("sizes").map(|fields| Row { part: "chunk", fields });
        let size = |key| sizes.and_then(|sizes| sizes.number(key)).and_then(|size| u64::try_from(size).ok());
        let number = |key| row.number(key).and_then(|number| u64::try_from(number).ok());
        let uncompressed = size("uncompressed_heap_size").zip(size("uncompressed_toast_size"));
        found.chunks.entry(hypertable.id).or_default().push(SurveyedChunk {
            oid,
            order: own.or(hypertable.compression.as_ref()).cloned(),
            companion: companion.map(|(_, name)| name),
            heap: row.text("am").is_none_or(|method| method == "heap"),
            bytes: number("bytes").unwrap_or(0) + uncompressed.map_or(0, |(heap, toast)| heap + toast),
            rows: number("tuples").unwrap_or(0).max(size("numrows_pre_compression").unwrap_or(0)),
            chunk: Chunk { id, name, ranges, status, compression: differing },
        });
    }
    Ok(())
}

fn aggregates(
    parts: &Parts,
    hypertables: &BTreeMap<i32, Hypertable>,
    found: &mut Surveyed,
) -> Result<(), Unreadable> {
    let views: BTreeMap<i64, TableName> = rows(parts, "continuous_agg")
        .filter_map(|row| {
            Some((row.number("mat_hypertable_id")?, row.name("user_view_schema", "user_view_name")?))
        })
        .collect();
    let oids: BTreeMap<i32, u32> = found.hypertables.iter().map(|(oid, id)| (*id, *oid)).collect();
    for row in rows(parts, "continuous_agg") {
        let id = row.id("mat_hypertable_id")?;
        let view = row.need("user_view_name", row.name("user_view_schema", "user_view_name"))?;
        let hypertable = row.need("mat_hypertable_id", hypertables.get(&id))?.clone();
        if row.get("finalized").and_then(Value::as_bool) == Some(false) {
            found.refusals.push(Refusal::unfinalized(&view));
        }
        let raw = row.id("raw_hypertable_id")?;
        let over = views.get(&i64::from(raw)).or_else(|| Some(&hypertables.get(&raw)?.name));
        let indexes = rows(parts, "aggregate_index")
            .filter(|index| index.number("hypertable_id") == Some(i64::from(id)))
            .filter_map(|index| index.text("definition"));
        if let Some(oid) = oids.get(&id) {
            found.views.insert(*oid, view.clone());
        }
        found.timescale.aggregates.push(Aggregate {
            over: row.need("raw_hypertable_id", over)?.clone(),
            definition: row.need("definition", row.text("definition"))?,
            materialized_only: row.flag("materialized_only"),
            // Below every real position, on any axis, it means that nothing is materialised.
            watermark: row.number("watermark").filter(|at| *at > NOTHING_YET && !smallest_integer(*at)),
            indexes: indexes.collect(),
            hypertable,
            view,
        });
    }
    Ok(())
}

/// The watermark of an aggregate over time that was never refreshed: 4714 BC.
const NOTHING_YET: i64 = -210_866_803_200_000_000;

/// And of one over integers: the smallest number of the type.
fn smallest_integer(watermark: i64) -> bool {
    watermark == i64::from(i16::MIN) || watermark == i64::from(i32::MIN)
}

fn jobs(
    parts: &Parts,
    timescale: &Timescale,
    hypertables: &BTreeMap<i32, Hypertable>,
) -> Result<Vec<TimescaleJob>, Unreadable> {
    let name = |id: i64| {
        let id = i32::try_from(id).ok()?;
        let view = timescale.aggregates.iter().find(|aggregate| aggregate.hypertable.id == id);
        view.map(|aggregate| &aggregate.view).or_else(|| Some(&hypertables.get(&id)?.name)).cloned()
    };
    let job = |row: Row<'_>| {
        let config = row.get("config");
        // Some policies name the hypertable only there.
        let number = |key| config.and_then(|config| config.get(key)).and_then(Value::as_i64);
        let target = row.number("hypertable_id").or(number("hypertable_id")).or(number("mat_hypertable_id"));
        Ok(TimescaleJob {
            id: row.id("id")?,
            application_name: row.text("application_name").unwrap_or_default(),
            procedure: row.need("proc_name", row.name("proc_schema", "proc_name"))?,
            owner: row.need("owner_name", row.text("owner_name"))?,
            hypertable: target.and_then(name),
            scheduled: row.flag("scheduled"),
            fixed_schedule: row.flag("fixed_schedule"),
            schedule_interval: row.text("schedule_interval").unwrap_or_default(),
            max_runtime: row.text("max_runtime").unwrap_or_default(),
            max_retries: row.id("max_retries").unwrap_or(-1),
            retry_period: row.text("retry_period").unwrap_or_default(),
            initial_start: row.text("initial_start"),
            timezone: row.text("timezone"),
            config: config.map(Value::to_string),
            check: row.name("check_schema", "check_name"),
        })
    };
    rows(parts, "job").map(job).collect()
}

#[cfg(test)]
mod tests;

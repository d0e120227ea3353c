//! Catalog rows as versions from 2.11 on have them.

use serde_json::json;

use super::*;

fn about(version: &str) -> About {
    About { version: version.into(), schema: "public".into(), license: Some("timescale".into()) }
}

/// What 2.11 has: settings a column a row, chunks and their compressed tables by name, an internal hypertable.
fn old() -> Parts {
    Parts::from([
        (
            "hypertable",
            vec![
                json!({"id": 1, "oid": 100, "schema_name": "md", "table_name": "bars", "compression_state": 1,
                       "compressed_hypertable_id": 2, "replication_factor": null}),
                json!({"id": 2, "oid": 200, "schema_name": "_timescaledb_internal",
                       "table_name": "_compressed_hypertable_2", "compression_state": 2}),
            ],
        ),
        (
            "dimension",
            vec![
                json!({"id": 1, "hypertable_id": 1, "column_name": "ts", "axis_type": "timestamp with time zone",
                        "interval_length": 86_400_000_000_i64, "num_slices": null, "partitioning_func": null}),
            ],
        ),
        (
            "chunk",
            vec![
                json!({"id": 1, "oid": 101, "nspname": "_timescaledb_internal", "relname": "_hyper_1_1_chunk",
                       "hypertable_id": 1, "status": 9, "compressed_chunk_id": 2, "bytes": 8192, "tuples": -1,
                       "am": "heap", "sizes": {"uncompressed_heap_size": 16384, "uncompressed_toast_size": 0,
                       "numrows_pre_compression": 55}}),
                json!({"id": 2, "oid": 201, "nspname": "_timescaledb_internal",
                       "relname": "compress_hyper_2_2_chunk", "hypertable_id": 2, "status": 0}),
            ],
        ),
        (
            "slice",
            vec![
                json!({"id": 1, "chunk_id": 1, "dimension_id": 1, "range_start": 0, "range_end": 86_400_000_000_i64}),
            ],
        ),
        (
            "compression_column",
            vec![
                json!({"hypertable_schema": "md", "hypertable_name": "bars", "attname": "symbol",
                       "segmentby_column_index": 1}),
                json!({"hypertable_schema": "md", "hypertable_name": "bars", "attname": "ts",
                       "orderby_column_index": 1, "orderby_asc": false, "orderby_nullsfirst": true}),
            ],
        ),
    ])
}

#[test]
fn a_catalog_of_2_11_is_understood() {
    let found = surveyed(about("2.11.2"), old()).unwrap();
    assert_eq!(found.timescale.hypertables.len(), 1, "the internal one is no user's");
    let bars = &found.timescale.hypertables[0];
    let settings = bars.compression.as_ref().unwrap();
    assert_eq!(settings.segment_by.as_deref(), Some(&["symbol".to_owned()][..]));
    let order = &settings.order_by.as_ref().unwrap()[0];
    assert!(order.column == "ts" && order.descending && order.nulls_first);
    let chunks = &found.chunks[&1];
    assert_eq!(chunks.len(), 1);
    let companion = chunks[0].companion.as_ref().unwrap();
    assert_eq!(companion.name, "compress_hyper_2_2_chunk");
    assert_eq!((chunks[0].rows, chunks[0].bytes), (55, 8192 + 16384));
    let mut hidden = found.hidden.clone();
    hidden.sort_unstable();
    hidden.dedup();
    assert_eq!(hidden, [101, 200, 201]);
}

#[test]
fn what_newer_versions_keep_elsewhere_is_found_there() {
    let mut parts = old();
    parts.remove("compression_column");
    let hypertables = parts.get_mut("hypertable").unwrap();
    hypertables.truncate(1);
    // 2.29: a bit says that compression is on; the old column is there, and always 0.
    hypertables[0] = json!({"id": 1, "oid": 100, "schema_name": "md", "table_name": "bars",
                            "compression_state": 0, "status": 4});
    parts.get_mut("chunk").unwrap().truncate(1);
    parts.insert(
        "compression",
        vec![
            json!({"oid": 100, "segmentby": null, "orderby": ["ts"], "orderby_desc": [true],
                   "orderby_nullsfirst": [true], "index": [{"type": "bloom", "column": "x", "source": "config"},
                   {"type": "minmax", "column": "ts", "source": "orderby"}]}),
            json!({"oid": 101, "segmentby": ["symbol"], "orderby": ["ts"], "orderby_desc": [true],
                   "orderby_nullsfirst": [true], "companion": 300, "nspname": "_timescaledb_internal",
                   "relname": "_hyper_1_1_chunk_compressed"}),
        ],
    );
    let found = surveyed(about("2.29.2"), parts).unwrap();
    let settings = found.timescale.hypertables[0].compression.clone().unwrap();
    assert_eq!(settings.segment_by, None, "left to TimescaleDB, which is not the same as none");
    assert_eq!(settings.index.as_deref(), Some("bloom(\"x\")"), "what is derived was not asked for");
    let chunk = &found.chunks[&1][0];
    assert_eq!(chunk.companion.as_ref().unwrap().name, "_hyper_1_1_chunk_compressed");
    assert!(chunk.chunk.compression.is_some(), "compressed under other settings than those of now");
}

#[test]
fn what_cannot_be_dumped_is_named() {
    let mut parts = old();
    parts.get_mut("hypertable").unwrap()[0]["replication_factor"] = json!(1);
    let found = surveyed(about("2.13.1"), parts).unwrap();
    assert!(found.refusals[0].why.contains("md.bars is a distributed hypertable"), "{:?}", found.refusals);
    let mut parts = old();
    parts.get_mut("hypertable").unwrap().push(
        json!({"id": 3, "oid": 400, "schema_name": "_timescaledb_internal", "table_name": "_materialized_hypertable_3"}),
    );
    parts.insert(
        "continuous_agg",
        vec![json!({"mat_hypertable_id": 3, "raw_hypertable_id": 1, "user_view_schema": "md", "user_view_name": "daily",
                    "finalized": false, "definition": " SELECT 1;", "watermark": null})],
    );
    let found = surveyed(about("2.13.1"), parts).unwrap();
    let why = &found.refusals[0].why;
    assert!(why.contains("md.daily") && why.contains("cagg_migrate"), "{why}");
    assert_eq!(found.views[&400], TableName::new("md", "daily"));
    let mut parts = old();
    parts.get_mut("chunk").unwrap()[0]["osm_chunk"] = json!(true);
    let found = surveyed(about("2.29.2"), parts).unwrap();
    assert!(found.refusals[0].tiered.is_some() && found.chunks.is_empty(), "never among the others");
}

#[test]
fn a_chunk_without_its_table_or_its_range_is_an_error_and_not_left_out() {
    let mut parts = old();
    parts.get_mut("chunk").unwrap()[0]["oid"] = json!(null);
    assert_eq!(surveyed(about("2.11.2"), parts).unwrap_err(), Unreadable { part: "chunk", key: "oid" });
    let mut parts = old();
    parts.remove("slice");
    assert_eq!(surveyed(about("2.11.2"), parts).unwrap_err(), Unreadable { part: "chunk", key: "slices" });
}

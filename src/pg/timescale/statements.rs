//! The statements that read TimescaleDB's catalog, one set for every version from 2.11 on.
//!
//! What moved between versions is taken out of `to_jsonb(row)`, where a missing column is just a missing key; only tables
//! that come and go need a probe. Every statement gives one column of JSON text. All catalogs may be read by anybody.

/// One part of the catalog.
pub(super) struct Part {
    /// Its name in `schema/timescale.json`.
    pub(super) name: &'static str,
    /// The relation (or column of one, after a second dot) that must exist for it.
    pub(super) needs: Option<&'static str>,
    /// The relation or column that must not exist.
    pub(super) unless: Option<&'static str>,
    /// Gives a JSON text a row.
    pub(super) sql: &'static str,
}

const fn part(name: &'static str, sql: &'static str) -> Part {
    Part { name, needs: None, unless: None, sql }
}

const fn since(name: &'static str, needs: &'static str, sql: &'static str) -> Part {
    Part { name, needs: Some(needs), unless: None, sql }
}

/// Where a dimension's slices name their chunk (2.28 and newer).
pub(super) const SLICES_NAME_CHUNKS: &str = "_timescaledb_catalog.dimension_slice.chunk_id";
/// Where compression settings name the table of compressed rows (2.19 and newer).
pub(super) const SETTINGS_NAME_COMPANIONS: &str = "_timescaledb_catalog.compression_settings.compress_relid";
/// Where a chunk's row names its table by OID (2.29 and newer).
pub(super) const CHUNKS_NAME_TABLES: &str = "_timescaledb_catalog.chunk.relid";
/// Settings in one row a relation (2.14 and newer).
const SETTINGS: &str = "_timescaledb_catalog.compression_settings";

/// Chunks, their table found by a condition on `c` and `k`.
macro_rules! chunk_sql {
    ($table:literal) => {
        concat!(
            "SELECT (to_jsonb(c) || jsonb_build_object('oid', k.oid::int8, 'nspname', n.nspname, 'relname', k.relname, \
                'am', a.amname, 'bytes', k.relpages::int8 * 8192, 'tuples', k.reltuples::int8, 'sizes', to_jsonb(z)))::text \
             FROM _timescaledb_catalog.chunk c LEFT JOIN pg_catalog.pg_class k ON ",
            $table,
            " LEFT JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace LEFT JOIN pg_catalog.pg_am a ON a.oid = k.relam \
             LEFT JOIN _timescaledb_catalog.compression_chunk_size z ON z.chunk_id = c.id \
             WHERE NOT coalesce((to_jsonb(c)->>'dropped')::boolean, false) ORDER BY c.id"
        )
    };
}

pub(super) const PARTS: &[Part] = &[
    part(
        "hypertable",
        "SELECT (to_jsonb(h) || jsonb_build_object('oid', k.oid::int8))::text \
        FROM _timescaledb_catalog.hypertable h JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name \
        JOIN pg_catalog.pg_class k ON k.relnamespace = n.oid AND k.relname = h.table_name ORDER BY h.id",
    ),
    part(
        "dimension",
        "SELECT (to_jsonb(d) || jsonb_build_object('axis_type', coalesce( \
            (SELECT pg_catalog.format_type(p.prorettype, NULL) FROM pg_catalog.pg_proc p \
               JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
              WHERE n.nspname = d.partitioning_func_schema AND p.proname = d.partitioning_func LIMIT 1), \
            pg_catalog.format_type(d.column_type::oid, NULL))))::text \
        FROM _timescaledb_catalog.dimension d ORDER BY d.id",
    ),
    // The table from pg_class itself, as the snapshot shows it: functions look at the newest catalog, and a chunk that was
    // dropped a moment ago would just be missing.
    since("chunk", CHUNKS_NAME_TABLES, chunk_sql!("k.oid = c.relid::oid")),
    Part {
        name: "chunk",
        needs: None,
        unless: Some(CHUNKS_NAME_TABLES),
        sql: chunk_sql!(
            "k.relname = c.table_name AND k.relnamespace = \
             (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = c.schema_name)"
        ),
    },
    since(
        "slice",
        SLICES_NAME_CHUNKS,
        "SELECT to_jsonb(s)::text FROM _timescaledb_catalog.dimension_slice s \
        ORDER BY s.chunk_id, s.dimension_id",
    ),
    Part {
        name: "slice",
        needs: None,
        unless: Some(SLICES_NAME_CHUNKS),
        sql: "SELECT (to_jsonb(s) || jsonb_build_object('chunk_id', cc.chunk_id))::text \
        FROM _timescaledb_catalog.chunk_constraint cc \
        JOIN _timescaledb_catalog.dimension_slice s ON s.id = cc.dimension_slice_id \
        ORDER BY cc.chunk_id, s.dimension_id",
    },
    since(
        "compression",
        SETTINGS_NAME_COMPANIONS,
        "SELECT (to_jsonb(s) || jsonb_build_object('oid', s.relid::oid::int8, \
            'companion', k.oid::int8, 'nspname', n.nspname, 'relname', k.relname))::text \
        FROM _timescaledb_catalog.compression_settings s LEFT JOIN pg_catalog.pg_class k ON k.oid = s.compress_relid \
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace ORDER BY s.relid::oid",
    ),
    Part {
        name: "compression",
        needs: Some(SETTINGS),
        unless: Some(SETTINGS_NAME_COMPANIONS),
        sql: "SELECT (to_jsonb(s) || jsonb_build_object('oid', s.relid::oid::int8))::text \
        FROM _timescaledb_catalog.compression_settings s ORDER BY s.relid::oid",
    },
    // Up to 2.13 a row a column.
    Part {
        name: "compression_column",
        needs: None,
        unless: Some(SETTINGS),
        sql: "SELECT to_jsonb(s)::text FROM timescaledb_information.compression_settings s",
    },
    part(
        "continuous_agg",
        "SELECT (to_jsonb(a) || jsonb_build_object('definition', v.view_definition, \
            'watermark', w.watermark, 'view_oids', (SELECT pg_catalog.jsonb_agg(k.oid::int8) FROM pg_catalog.pg_class k \
              JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace \
             WHERE (n.nspname, k.relname) IN ((a.user_view_schema, a.user_view_name), \
                   (a.partial_view_schema, a.partial_view_name), (a.direct_view_schema, a.direct_view_name)))))::text \
        FROM _timescaledb_catalog.continuous_agg a \
        LEFT JOIN timescaledb_information.continuous_aggregates v \
               ON v.view_schema = a.user_view_schema AND v.view_name = a.user_view_name \
        LEFT JOIN _timescaledb_catalog.continuous_aggs_watermark w ON w.mat_hypertable_id = a.mat_hypertable_id \
        ORDER BY a.mat_hypertable_id",
    ),
    part(
        "aggregate_index",
        "SELECT jsonb_build_object('hypertable_id', h.id, \
            'definition', pg_catalog.pg_get_indexdef(i.indexrelid))::text \
        FROM _timescaledb_catalog.continuous_agg a JOIN _timescaledb_catalog.hypertable h ON h.id = a.mat_hypertable_id \
        JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name \
        JOIN pg_catalog.pg_class k ON k.relnamespace = n.oid AND k.relname = h.table_name \
        JOIN pg_catalog.pg_index i ON i.indrelid = k.oid ORDER BY h.id, i.indexrelid",
    ),
    since(
        "bucket_function",
        "_timescaledb_catalog.continuous_aggs_bucket_function",
        "SELECT to_jsonb(b)::text FROM _timescaledb_catalog.continuous_aggs_bucket_function b",
    ),
    since(
        "invalidation_threshold",
        "_timescaledb_catalog.continuous_aggs_invalidation_threshold",
        "SELECT to_jsonb(t)::text FROM _timescaledb_catalog.continuous_aggs_invalidation_threshold t",
    ),
    since(
        "hypertable_invalidation",
        "_timescaledb_catalog.continuous_aggs_hypertable_invalidation_log",
        "SELECT to_jsonb(l)::text FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log l",
    ),
    since(
        "materialization_invalidation",
        "_timescaledb_catalog.continuous_aggs_materialization_invalidation_log",
        "SELECT to_jsonb(l)::text FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log l",
    ),
    since(
        "job",
        "_timescaledb_catalog.bgw_job",
        "SELECT (to_jsonb(j) || jsonb_build_object( \
            'owner_name', pg_catalog.pg_get_userbyid(j.owner::oid)))::text \
        FROM _timescaledb_catalog.bgw_job j WHERE j.id >= 1000 ORDER BY j.id",
    ),
    Part {
        name: "job",
        needs: Some("_timescaledb_config.bgw_job"),
        unless: Some("_timescaledb_catalog.bgw_job"),
        sql: "SELECT (to_jsonb(j) || jsonb_build_object('owner_name', pg_catalog.pg_get_userbyid(j.owner::oid)))::text \
        FROM _timescaledb_config.bgw_job j WHERE j.id >= 1000 ORDER BY j.id",
    },
    part("tablespace", "SELECT to_jsonb(t)::text FROM _timescaledb_catalog.tablespace t ORDER BY t.id"),
    since(
        "column_stats",
        "_timescaledb_catalog.chunk_column_stats",
        "SELECT to_jsonb(s)::text \
        FROM _timescaledb_catalog.chunk_column_stats s WHERE coalesce(s.chunk_id, 0) = 0 ORDER BY s.id",
    ),
];

/// Whether a relation, or a column of one, is there: `$1` schema, `$2` relation, `$3` column or NULL.
pub(super) const EXISTS: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND ($3::text IS NULL \
     OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = $3 AND NOT a.attisdropped)))";

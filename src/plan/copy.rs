//! The COPY statements, both ways, from the columns of a manifest's table.

use crate::base::{TableName, quote_ident};
use crate::catalog::TextColumn;
use crate::codec::copy::MAX_TUPLE;
use crate::codec::shape::{ColumnShape, PieceShape};
use crate::manifest::{Mapping, Table, TableColumn};

/// What the values of other types may take in a row that is too large to be sent.
const OTHER_VALUES: usize = 1 << 20;

/// The expression that gives one column in the form its mapping expects.
fn expression(column: &TableColumn) -> String {
    let name = quote_ident(&column.name);
    match (&column.mapping, &column.text) {
        (Mapping::ServerText, Some(TextColumn::Function(function))) => {
            format!("pg_catalog.textin({function}({name}))")
        }
        (Mapping::ServerText, _) => format!("{name}::pg_catalog.text"),
        _ => name,
    }
}

/// `COPY (SELECT …) TO STDOUT (FORMAT binary)` for the columns that `keep` takes, from `relation` (already quoted, with
/// ONLY where it belongs), under `conditions` joined by AND.
pub fn copy_out<'a>(
    columns: impl IntoIterator<Item = &'a TableColumn>,
    relation: &str,
    conditions: &[String],
) -> String {
    copy_out_in_order(columns, relation, conditions, &[])
}

/// The same, with the rows in an order.
pub fn copy_out_in_order<'a>(
    columns: impl IntoIterator<Item = &'a TableColumn>,
    relation: &str,
    conditions: &[String],
    order: &[String],
) -> String {
    let list: Vec<String> = columns.into_iter().map(expression).collect();
    let filter = match conditions {
        [] => String::new(),
        conditions => {
            format!(
                " WHERE {}",
                conditions.iter().map(|c| format!("({c})")).collect::<Vec<_>>().join(" AND ")
            )
        }
    };
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    format!("COPY (SELECT {} FROM {relation}{filter}{order}) TO STDOUT (FORMAT binary)", list.join(", "))
}

/// A COPY out, with each row's place in its table as the first field.
pub fn with_places(copy_out: &str) -> Option<String> {
    Some(format!("COPY (SELECT ctid, {}", copy_out.strip_prefix("COPY (SELECT ")?))
}

/// The place of a row that is at least as large as any that the server can send, with its bytes: by the lengths of its texts and
/// byte strings, which are known without reading them. The largest, where there are several; `None` where no column can be so large.
pub fn unsendable_row(copy_out: &str, shape: &PieceShape) -> Option<String> {
    let places = with_places(copy_out)?;
    let rows = places.strip_prefix("COPY (")?.strip_suffix(") TO STDOUT (FORMAT binary)")?;
    let names: Vec<String> = (0..shape.columns.len()).map(|column| format!("c{column}")).collect();
    let length = |(name, column): (&String, &ColumnShape)| match column.mapping {
        Mapping::Binary => Some(format!("coalesce(pg_catalog.octet_length({name})::int8, 0)")),
        Mapping::Utf8 | Mapping::Bpchar { .. } | Mapping::VersionedText | Mapping::ServerText => {
            Some(format!("coalesce(pg_catalog.octet_length({name}::pg_catalog.text)::int8, 0)"))
        }
        _ => None,
    };
    let lengths: Vec<String> = names.iter().zip(&shape.columns).filter_map(length).collect();
    (!lengths.is_empty()).then(|| {
        format!(
            "SELECT place::text, bytes FROM (SELECT place, {} AS bytes FROM ({rows}) s (place, {})) r \
             WHERE bytes > {} ORDER BY bytes DESC LIMIT 1",
            lengths.join(" + "),
            names.join(", "),
            MAX_TUPLE - OTHER_VALUES
        )
    })
}

/// `COPY … FROM STDIN (FORMAT binary)` with an explicit list of the columns that are restored.
pub fn copy_in(target: &TableName, columns: &[TableColumn]) -> String {
    copy_in_as(target, columns, "FORMAT binary")
}

/// The same with FREEZE, which the server takes only in the transaction that made or truncated the table.
pub fn copy_in_frozen(target: &TableName, columns: &[TableColumn]) -> String {
    copy_in_as(target, columns, "FORMAT binary, FREEZE")
}

fn copy_in_as(target: &TableName, columns: &[TableColumn], options: &str) -> String {
    let list: Vec<String> =
        columns.iter().filter(|column| !column.derived).map(|column| quote_ident(&column.name)).collect();
    if list.is_empty() {
        // A table without columns takes an empty list only by not being given one.
        return format!("COPY {} FROM STDIN ({options})", target.sql());
    }
    format!("COPY {} ({}) FROM STDIN ({options})", target.sql(), list.join(", "))
}

/// The shape of a table's pieces; `metadata` is what stands in every file's `barkeep.schema`.
pub fn piece_shape(table: &Table) -> PieceShape {
    let columns: Vec<ColumnShape> = table
        .columns
        .iter()
        .map(|column| ColumnShape {
            name: column.name.clone(),
            mapping: column.mapping.clone(),
            derived: column.derived,
        })
        .collect();
    let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
    let by = table.clustered.iter().flat_map(|clustered| &clustered.by);
    PieceShape { columns, metadata: metadata(table), clustered_by: by.filter_map(place).collect() }
}

/// Everything an analyst's program may want to know about a column, and nothing that changes from backup to backup.
fn metadata(table: &Table) -> String {
    let columns: Vec<serde_json::Value> = table
        .columns
        .iter()
        .map(|column| {
            serde_json::json!({
                "name": column.name, "type": column.type_sql, "collation": column.collation,
                "not_null": column.not_null, "identity": column.identity, "derived": column.derived,
                "mapping": column.mapping,
            })
        })
        .collect();
    let mut metadata =
        serde_json::json!({ "format": "barkeep-schema/1", "table": table.name, "columns": columns });
    if let Some(clustered) = &table.clustered {
        metadata["clustered_by"] = clustered.by.clone().into();
    }
    metadata.to_string()
}

/// Bytes of a large object that one row carries.
const LARGE_OBJECT_SLICE: u32 = 262_144;

/// The COPY of all large objects as (loid, offset, data). `lo_open` reads under the transaction's snapshot; sizes first, then slices. Evaluated in this order because `+` takes
/// its left side first.
pub fn large_object_sql() -> String {
    let size = "(SELECT pg_catalog.lo_lseek64(f.fd, 0, 2) + 0 * pg_catalog.lo_close(f.fd) \
                FROM (SELECT pg_catalog.lo_open(m.oid, 262144) AS fd OFFSET 0) f)";
    format!(
        "COPY (SELECT m.oid AS loid, s.slice AS \"offset\", \
         pg_catalog.lo_get(m.oid, s.slice, {LARGE_OBJECT_SLICE}) AS data \
         FROM (SELECT m.oid, {size} AS bytes FROM pg_catalog.pg_largeobject_metadata m OFFSET 0) m, \
         LATERAL pg_catalog.generate_series(0::int8, greatest(m.bytes - 1, 0), {LARGE_OBJECT_SLICE}) AS s(slice)) \
         TO STDOUT (FORMAT binary)"
    )
}

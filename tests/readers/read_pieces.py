#!/usr/bin/env python3
"""Reads the Parquet pieces of tables with pyarrow, DuckDB and Polars and prints every row in one canonical text form.

Usage: read_pieces.py TASKS.json

TASKS.json is a list that says what to look at:
    [{"table": "public.t", "folder": "/vault/…/tables/public.t", "columns": [{"name": "id", "kind": "integer"}, ...]}]
"kind" is one of
    boolean, integer, decimal, float, text, bytes, uuid, date, timestamp, timestamptz, time, list, struct, map
lists have "element" (a column description without a name), structs have "fields" (column descriptions); a decimal has "scale".

Standard output is JSON lines, each with "table", "reader" and "how" ("glob": all pieces at once, "single": one by one):
    {"table": "public.t", "reader": "duckdb", "how": "glob", "rows": 3}                       how many rows there are
    {"table": "public.t", "reader": "duckdb", "how": "glob", "row": ["1", null, "1.50"]}      one row
    {"table": "public.t", "reader": "polars", "error": "..."}                   a reader that is missing or failed

The exit status is 0 only if every reader was there and read everything. The canonical form of a value:
    boolean t / f · integer in decimal · decimal with exactly its scale · float as the hex of its 64 bits · text as is ·
    bytes in hex · uuid with dashes · date in days, timestamp and timestamptz in microseconds since 1970-01-01, UTC,
    infinity and -infinity · time in microseconds · list as a JSON array · struct and map as a JSON object · null as null.
Dates and times stay numbers, so that years which Python cannot hold survive: "infinity" and "-infinity" are the largest
and smallest values that barkeep writes for them.
"""

import decimal
import glob
import json
import os
import struct
import sys
import uuid
import warnings

I64_MAX = 2**63 - 1
I32_MAX = 2**31 - 1


def since_1970(number, largest):
    if number == largest:
        return "infinity"
    return "-infinity" if number == -largest else str(number)


def canonical(value, column):
    """One value as a reader gave it, as text; lists and structs as JSON of their parts."""
    if value is None:
        return None
    kind = column["kind"]
    if kind == "list":
        return [canonical(part, column["element"]) for part in value]
    if kind == "struct":
        return {field["name"]: canonical(value[field["name"]], field) for field in column["fields"]}
    if kind == "map":
        # A dict, or pairs, or structs: every reader has its own idea.
        pairs = value.items() if isinstance(value, dict) else value
        return dict((pair["key"], pair["value"]) if isinstance(pair, dict) else pair for pair in pairs)
    if kind == "boolean":
        return "t" if value else "f"
    if kind == "integer":
        return str(int(value))
    if kind == "decimal":
        text = f"{decimal.Decimal(value):.{column['scale']}f}"
        if decimal.Decimal(text) != value:
            raise ValueError(f"the reader gave more decimals than {column['scale']}")
        return text
    if kind == "float":
        return struct.pack(">d", float(value)).hex()
    if kind == "bytes":
        return bytes(value).hex()
    if kind == "uuid":
        return str(value if isinstance(value, (uuid.UUID, str)) else uuid.UUID(bytes=bytes(value)))
    if kind == "date":
        return since_1970(int(value), I32_MAX)
    if kind in ("timestamp", "timestamptz"):
        return since_1970(int(value), I64_MAX)
    if kind == "time":
        return str(int(value))
    if kind == "text":
        if not isinstance(value, str):
            raise TypeError(f"expected text, the reader gave {type(value).__name__}")
        return value
    raise ValueError(f"unknown kind {kind!r}")


def arrow_physical(arrow_type):
    """The Arrow type with dates and times as the integers below them, all through lists and structs."""
    import pyarrow as pa

    if pa.types.is_date32(arrow_type):
        return pa.int32()
    if pa.types.is_timestamp(arrow_type) or pa.types.is_time64(arrow_type):
        return pa.int64()
    if pa.types.is_large_list(arrow_type) or pa.types.is_list(arrow_type):
        return pa.large_list(arrow_physical(arrow_type.value_type))
    if pa.types.is_struct(arrow_type):
        return pa.struct([pa.field(f.name, arrow_physical(f.type)) for f in arrow_type])
    return arrow_type


def check_unit(arrow_type):
    """Numbers below a timestamp are taken as microseconds: anything else would be a wrong value, not an error."""
    import pyarrow as pa

    # Polars keeps times of day in nanoseconds; retype() makes them microseconds.
    if pa.types.is_timestamp(arrow_type) and arrow_type.unit != "us":
        raise TypeError(f"expected microseconds, the reader gave {arrow_type}")
    for index in range(arrow_type.num_fields):
        check_unit(arrow_type.field(index).type)


def retype(array, wanted):
    """Gives an array another type over the same buffers; casting would refuse or scale what lies out of range."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if array.type == wanted:
        return array
    if pa.types.is_struct(array.type):
        parts = [retype(array.field(i), wanted.field(i).type) for i in range(array.type.num_fields)]
        mask = array.is_null()
        return pa.StructArray.from_arrays(parts, names=[f.name for f in wanted], mask=mask)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        large = array.cast(pa.large_list(array.type.value_type))
        values = retype(large.values, wanted.value_type)
        return pa.Array.from_buffers(wanted, len(large), large.buffers()[:2], offset=large.offset, children=[values])
    if pa.types.is_time64(array.type) and array.type.unit == "ns":
        return pc.divide(array.view(wanted), 1000)
    return array.view(wanted)


def arrow_rows(table, columns):
    parts = []
    for column in columns:
        chunked = table.column(column["name"])
        check_unit(chunked.type)
        values = []
        for chunk in chunked.chunks:
            values.extend(retype(chunk, arrow_physical(chunk.type)).to_pylist())
        parts.append(values)
    return list(zip(*parts)) if parts else [()] * table.num_rows


def with_pyarrow(pattern, columns):
    import pyarrow.dataset as ds

    # Arrow knows no patterns: a dataset of many files is its way of reading them at once.
    files = sorted(glob.glob(pattern))
    return arrow_rows(ds.dataset(files, format="parquet").to_table(columns=[c["name"] for c in columns]), columns)


def duckdb_expression(name, column):
    """DuckDB prints infinity itself; the epoch functions give the numbers."""
    kind = column["kind"]
    quoted = '"' + name.replace('"', '""') + '"'
    if kind in ("timestamp", "timestamptz"):
        # The sentinels come back as infinities, which have no epoch.
        return (
            f"CASE WHEN isinf({quoted}) THEN CASE WHEN {quoted} > '2000-01-01' THEN {I64_MAX} ELSE {-I64_MAX} END"
            f" ELSE epoch_us({quoted}) END"
        )
    if kind == "date":
        return (
            f"CASE WHEN isinf({quoted}) THEN CASE WHEN {quoted} > '2000-01-01' THEN {I32_MAX} ELSE {-I32_MAX} END"
            f" ELSE {quoted} - DATE '1970-01-01' END"
        )
    if kind == "time":
        return f"epoch_us({quoted})"
    return quoted


def with_duckdb(pattern, columns):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    selected = ", ".join(duckdb_expression(c["name"], c) for c in columns)
    nested = [c["name"] for c in columns if c["kind"] in ("list", "struct", "map")]
    relation = connection.execute(f"SELECT {selected or '1'} FROM read_parquet(?)", [pattern])
    if nested:
        # Python objects would lose dates inside; Arrow keeps them.
        table = relation.to_arrow_table() if hasattr(relation, "to_arrow_table") else relation.fetch_arrow_table()
        renamed = table.rename_columns([c["name"] for c in columns])
        return arrow_rows(renamed, [dict(c) for c in columns])
    return relation.fetchall()


def with_polars(pattern, columns):
    import polars as pl

    frame = pl.read_parquet(pattern, columns=[c["name"] for c in columns])
    casts = []
    for column in columns:
        if column["kind"] == "date":
            casts.append(pl.col(column["name"]).to_physical())
        elif column["kind"] in ("timestamp", "timestamptz"):
            if frame.schema[column["name"]].time_unit != "us":
                raise TypeError(f"expected microseconds, the reader gave {frame.schema[column['name']]}")
            casts.append(pl.col(column["name"]).to_physical())
        elif column["kind"] == "time":
            # Polars keeps times in nanoseconds.
            casts.append(pl.col(column["name"]).to_physical() // 1000)
    frame = frame.with_columns(casts) if casts else frame
    if any(c["kind"] in ("list", "struct", "map") for c in columns):
        return arrow_rows(frame.to_arrow(), columns)
    return frame.rows()


READERS = {"pyarrow": with_pyarrow, "duckdb": with_duckdb, "polars": with_polars}


def emit(**line):
    print(json.dumps(line, ensure_ascii=False, separators=(",", ":")))


def read_with(name, task):
    columns = task["columns"]
    # Each reader expands the pattern itself, as an analyst's line would have it.
    pattern = os.path.join(glob.escape(task["folder"]), "*.parquet")
    files = sorted(glob.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no .parquet file in {task['folder']}")
    for how in ("glob", "single"):
        groups = [pattern] if how == "glob" else [glob.escape(path) for path in files]
        rows = []
        for group in groups:
            for row in READERS[name](group, columns):
                rows.append([canonical(value, column) for value, column in zip(row, columns)])
        emit(table=task["table"], reader=name, how=how, rows=len(rows))
        for row in rows:
            emit(table=task["table"], reader=name, how=how, row=row)


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[0], encoding="utf-8") as file:
        tasks = json.load(file)
    decimal.getcontext().prec = 100
    warnings.simplefilter("ignore")
    failed = False
    for task in tasks:
        for name in READERS:
            try:
                read_with(name, task)
            # Polars panics with a BaseException of its own: whatever a reader throws is this reader's result.
            except BaseException as problem:  # noqa: BLE001
                if isinstance(problem, (KeyboardInterrupt, SystemExit)):
                    raise
                emit(table=task["table"], reader=name, error=f"{type(problem).__name__}: {problem}")
                failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

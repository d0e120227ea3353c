#!/usr/bin/env python3
"""Reads the Parquet pieces of one table with pyarrow, DuckDB and Polars and prints every row in one canonical text form.

Usage: read_pieces.py FOLDER EXPECTED.json

EXPECTED.json says what to look at:
    {"key": ["id"], "columns": [{"name": "id", "kind": "integer"}, ...], "readers": ["pyarrow", "duckdb", "polars"]}
"key" orders the rows. "readers" is optional and defaults to all three. "kind" is one of
    boolean, integer, decimal, float, text, bytes, uuid, date, timestamp, timestamptz, time, list, struct
lists have "element" (a column description without a name), structs have "fields" (column descriptions); a decimal has "scale".

Standard output is JSON lines, each with "reader" and "how" ("glob": all pieces at once, "single": one after the other):
    {"reader": "duckdb", "how": "glob", "rows": 3}                       how many rows there are
    {"reader": "duckdb", "how": "glob", "row": ["1", null, "1.50"]}      one row, in the order of "columns"
    {"reader": "polars", "error": "..."}                                 a reader that is missing or failed

The exit status is 0 only if every reader was there and read everything. The canonical form of a value:
    boolean t / f · integer in decimal · decimal with exactly its scale · float as PostgreSQL prints float8 (NaN, Infinity,
    -Infinity, -0, shortest digits) · text as is · bytes in hex · uuid with dashes · date YYYY-MM-DD ·
    timestamp YYYY-MM-DD HH:MM:SS.ffffff · timestamptz the same in UTC with +00 · time HH:MM:SS.ffffff ·
    list as a JSON array · struct as a JSON object · null as null.
Dates and times are carried as numbers as far as a reader gives them, so that years which Python cannot hold survive:
"infinity" and "-infinity" are the largest and smallest values that barkeep writes for them.
"""

import decimal
import glob
import json
import math
import os
import sys
import uuid
import warnings

I64_MAX = 2**63 - 1
I32_MAX = 2**31 - 1
MICROS_A_DAY = 86_400_000_000


def days_to_date(days):
    """Days since 1970-01-01 to proleptic Gregorian text, for any year (Howard Hinnant's civil_from_days)."""
    if days == I32_MAX:
        return "infinity"
    if days == -I32_MAX:
        return "-infinity"
    z = days + 719_468
    era = z // 146_097
    day_of_era = z - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return f"{year:04d}-{month:02d}-{day:02d}" if year > 0 else f"{1 - year:04d}-{month:02d}-{day:02d} BC"


def micros_to_time(micros):
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"


def micros_to_timestamp(micros, suffix):
    if micros == I64_MAX:
        return "infinity"
    if micros == -I64_MAX:
        return "-infinity"
    days, rest = divmod(micros, MICROS_A_DAY)
    date = days_to_date(days)
    era = ""
    if date.endswith(" BC"):
        date, era = date[:-3], " BC"
    return f"{date} {micros_to_time(rest)}{suffix}{era}"


def float_text(value):
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    mantissa = mantissa[:-2] if mantissa.endswith(".0") else mantissa
    if not exponent:
        return mantissa
    sign = "-" if exponent.startswith("-") else "+"
    return f"{mantissa}e{sign}{int(exponent.lstrip('+-')):02d}"


def canonical(value, column):
    """One value as a reader gave it, as text; lists and structs as JSON of their parts."""
    if value is None:
        return None
    kind = column["kind"]
    if kind == "list":
        return [canonical(part, column["element"]) for part in value]
    if kind == "struct":
        return {field["name"]: canonical(value[field["name"]], field) for field in column["fields"]}
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
        return float_text(float(value))
    if kind == "bytes":
        return bytes(value).hex()
    if kind == "uuid":
        return str(value if isinstance(value, (uuid.UUID, str)) else uuid.UUID(bytes=bytes(value)))
    if kind == "date":
        return days_to_date(int(value))
    if kind == "timestamp":
        return micros_to_timestamp(int(value), "")
    if kind == "timestamptz":
        return micros_to_timestamp(int(value), "+00")
    if kind == "time":
        return micros_to_time(int(value))
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

    if (pa.types.is_timestamp(arrow_type) or pa.types.is_time64(arrow_type)) and arrow_type.unit != "us":
        raise TypeError(f"expected microseconds, the reader gave {arrow_type}")
    for index in range(arrow_type.num_fields):
        check_unit(arrow_type.field(index).type)


def retype(array, wanted):
    """Gives an array another type over the same buffers; casting would refuse or scale what lies out of range."""
    import pyarrow as pa

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
    nested = [c["name"] for c in columns if c["kind"] in ("list", "struct")]
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
    if any(c["kind"] in ("list", "struct") for c in columns):
        return arrow_rows(frame.to_arrow(), columns)
    return frame.rows()


READERS = {"pyarrow": with_pyarrow, "duckdb": with_duckdb, "polars": with_polars}


def emit(**line):
    print(json.dumps(line, ensure_ascii=False, separators=(",", ":")))


def sort_key(row, positions):
    """Keys are compared as numbers where they are numbers: "10" comes after "9"."""
    parts = []
    for position in positions:
        text = row[position]
        try:
            parts.append((0, decimal.Decimal(text), ""))
        except (decimal.InvalidOperation, TypeError, ValueError):
            parts.append((1 if text is not None else 2, decimal.Decimal(0), text or ""))
    return parts


def read_with(name, pattern, expected):
    columns = expected["columns"]
    positions = [[c["name"] for c in columns].index(key) for key in expected.get("key", [])]
    for how in ("glob", "single"):
        groups = [pattern] if how == "glob" else [glob.escape(path) for path in sorted(glob.glob(pattern))]
        rows = []
        for group in groups:
            for row in READERS[name](group, columns):
                rows.append([canonical(value, column) for value, column in zip(row, columns)])
        rows.sort(key=lambda row: sort_key(row, positions))
        emit(reader=name, how=how, rows=len(rows))
        for row in rows:
            emit(reader=name, how=how, row=row)


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder, expected_path = arguments
    with open(expected_path, encoding="utf-8") as file:
        expected = json.load(file)
    decimal.getcontext().prec = 100
    # Each reader expands the pattern itself, as an analyst's line would have it.
    pattern = os.path.join(glob.escape(folder), "*.parquet")
    if not glob.glob(pattern):
        emit(error=f"no .parquet file in {folder}")
        return 1
    warnings.simplefilter("ignore")
    failed = False
    for name in expected.get("readers", list(READERS)):
        try:
            read_with(name, pattern, expected)
        # Polars panics with a BaseException of its own: whatever a reader throws is this reader's result.
        except BaseException as problem:  # noqa: BLE001
            if isinstance(problem, (KeyboardInterrupt, SystemExit)):
                raise
            emit(reader=name, error=f"{type(problem).__name__}: {problem}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Reads the pieces of one table with every reader: the encodings in their footers, and digests of every column.

Prints one JSON object: {"encodings": {column: [...]}, "readers": {reader: {column: digest}}}. A column's digest is the md5
of its values in the order of `id`, one a line: texts as they are, numbers as decimals, floats as the hex of their bits.
"""

import decimal
import glob
import hashlib
import json
import os
import struct
import sys

folder, spark_wanted = sys.argv[1], sys.argv[2] == "spark"
files = sorted(glob.glob(glob.escape(folder) + "/*.parquet"))


def text(value):
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value)


def digests(columns):
    """`columns`: name to a list of values."""
    order = sorted(range(len(columns["id"])), key=lambda at: columns["id"][at])
    return {
        name: hashlib.md5("\n".join(text(values[at]) for at in order).encode()).hexdigest()
        for name, values in columns.items()
    }


def by_pyarrow():
    import pyarrow.parquet

    return pyarrow.parquet.ParquetDataset(files).read().to_pydict()


def by_duckdb():
    import duckdb

    answer = duckdb.sql("select * from read_parquet('%s/*.parquet')" % folder)
    rows = answer.fetchall()
    return {name: [row[at] for row in rows] for at, name in enumerate(answer.columns)}


def by_polars():
    import polars

    return polars.read_parquet(files).to_dict(as_series=False)


def by_spark():
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    frame = session.read.parquet(*files)
    rows = frame.collect()
    columns = {name: [row[at] for row in rows] for at, name in enumerate(frame.columns)}
    session.stop()
    return columns


def encodings():
    import pyarrow.parquet

    found = {}
    for path in files:
        metadata = pyarrow.parquet.ParquetFile(path).metadata
        for group in range(metadata.num_row_groups):
            for at in range(metadata.num_columns):
                column = metadata.row_group(group).column(at)
                found.setdefault(column.path_in_schema, set()).update(column.encodings)
    return {name: sorted(names) for name, names in found.items()}


os.environ["PYARROW_IGNORE_TIMEZONE"] = "1"
readers = {"pyarrow": by_pyarrow, "duckdb": by_duckdb, "polars": by_polars}
if spark_wanted:
    readers["spark"] = by_spark
print(json.dumps({"encodings": encodings(), "readers": {name: digests(read()) for name, read in readers.items()}}))

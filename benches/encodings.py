"""How much smaller a table's files could be: each column's bytes as barkeep wrote it, against the smallest that any encoding
comes to at zstd level 1 or 3, of the same rows in the same row groups: the first two of each file.

    target/venv/bin/python benches/encodings.py VAULT/backups/ID/tables/public.bars/*.parquet

For each file, bytes a row, columns added up: as written; the best of all encodings; the best without BYTE_STREAM_SPLIT of
anything but floats, which not all readers know; the same at level 1 alone. `-v` prints every column. What pyarrow could not
write is printed: it is not among the best.
"""

import io
import sys

import pyarrow as pa
import pyarrow.parquet as pq

LEVELS = (1, 3)
ROW_GROUPS = 2


def encodings(kind):
    yield "DICTIONARY"
    yield "PLAIN"
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        yield from ("DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")
    elif pa.types.is_decimal(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        yield from ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")
    elif pa.types.is_floating(kind):
        yield "BYTE_STREAM_SPLIT"
    elif pa.types.is_fixed_size_binary(kind):
        yield from ("BYTE_STREAM_SPLIT", "DELTA_BYTE_ARRAY")
    elif pa.types.is_boolean(kind):
        yield "RLE"


def everyone_reads(kind, encoding):
    return encoding != "BYTE_STREAM_SPLIT" or pa.types.is_floating(kind)


def compressed(metadata, column, groups):
    return sum(metadata.row_group(group).column(column).total_compressed_size for group in groups)


def written(tables, path, encoding, level):
    """The bytes of one column's row groups in one encoding; None where pyarrow cannot write them so."""
    options = {"use_dictionary": True, "dictionary_pagesize_limit": 16 << 20}
    if encoding != "DICTIONARY":
        options = {"use_dictionary": False, "column_encoding": {path: encoding}}
    sink = io.BytesIO()
    try:
        with pq.ParquetWriter(
            sink, tables[0].schema, compression="zstd", compression_level=level,
            write_statistics=False, store_decimal_as_integer=True, **options,
        ) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=1 << 30)
    except (OSError, pa.ArrowException) as error:
        print(f"  not tried: {path}, {encoding} zstd {level}: {error}")
        return None
    metadata = pq.ParquetFile(sink).metadata
    return compressed(metadata, 0, range(metadata.num_row_groups))


def measure(name, verbose):
    file = pq.ParquetFile(name)
    groups = range(min(ROW_GROUPS, file.num_row_groups))
    rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    sums = [0, 0, 0, 0]
    for column in range(file.metadata.num_columns):
        path = file.metadata.row_group(0).column(column).path_in_schema
        tables = [file.read_row_groups([group], columns=[path]) for group in groups]
        kind = tables[0].schema.field(0).type
        kind = kind.value_type if pa.types.is_list(kind) else kind
        tried = {
            (encoding, level): size
            for encoding in encodings(kind)
            for level in LEVELS
            if (size := written(tables, path, encoding, level)) is not None
        }
        known = {choice: size for choice, size in tried.items() if everyone_reads(kind, choice[0])}
        first = {choice: size for choice, size in known.items() if choice[1] == LEVELS[0]}
        sizes = [compressed(file.metadata, column, groups), *(min(each.values()) for each in (tried, known, first))]
        sums = [total + size for total, size in zip(sums, sizes)]
        if verbose:
            best = min(tried, key=tried.get)
            print(f"  {path:24} {sizes[0] / rows:8.3f} {sizes[1] / rows:8.3f}  {best[0]} zstd {best[1]}")
    own, every, known, first = (total / rows for total in sums)
    print(
        f"{name}: {rows} rows, {own:.2f} bytes a row; best of all {every:.2f} ({own / every:.3f}), "
        f"of those that every reader knows {known:.2f} ({own / known:.3f}), at level 1 {first:.2f} ({own / first:.3f})"
    )


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if argument != "-v"]
    if not names:
        sys.exit(__doc__)
    for each in names:
        measure(each, "-v" in sys.argv)

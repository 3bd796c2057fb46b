"""Parquet from whoever wrote it: read whole, or a ValueError before it takes much more memory than it has bytes."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.storage.parquet_footer import check_footer

LEAVES = ("BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE", "BYTE_ARRAY")  # what our files are made of


def read_columns(content: bytes, names: Sequence[str] | None = None) -> pa.Table:
    """Read columns of a Parquet file, all by default; a name that the file lacks is left out.

    Run lengths and dictionaries let a small file stand for any number of values and any length of text: its footer is
    asked first, and text stays a dictionary until it is clear what that comes to. Raises ValueError for a damaged file,
    one that decodes to too much, and columns that are neither numbers nor text nor maps of these.
    """
    try:
        most = check_footer(io.BytesIO(content))
        schema = pq.ParquetFile(pa.BufferReader(content)).schema
        leaves = [schema.column(i) for i in range(len(schema))]
        if any(leaf.physical_type not in LEAVES for leaf in leaves):
            raise ValueError("columns must hold numbers and text")
        text = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        # no threads, which outlive the interpreter
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=text, page_checksum_verification=True)
        groups = range(file.num_row_groups)  # one by one, as Arrow cannot chain dictionaries inside maps
        table = pa.concat_tables([file.read_row_group(n, names) for n in groups]) if groups else file.read(names)
        if sum(_decoded(chunk) for column in table.columns for chunk in column.chunks) > most:
            raise ValueError(f"{len(content):,} bytes must not stand for more than {most:,}")
        plain = [field.with_type(_plain(field.type)) for field in table.schema]
        return table.cast(pa.schema(plain, table.schema.metadata))
    except Exception as error:  # Arrow raises OSError, KeyError, NotImplementedError and others for damaged files
        raise ValueError(f"a Parquet file must be whole and as it was written, but: {error}") from None


def to_parquet(table: pa.Table) -> bytes:
    """Write columns as Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return bytes(sink.getvalue())


def _decoded(values: pa.Array) -> int:
    """Count the bytes that an array takes once its dictionaries are gone."""
    if pa.types.is_map(values.type):
        return int(values.nbytes) + _decoded(values.keys) + _decoded(values.items)
    if pa.types.is_dictionary(values.type):
        lengths = pc.binary_length(values.dictionary)
        return int(pc.sum(lengths.take(values.indices)).as_py() or 0)
    if pa.types.is_nested(values.type):
        raise ValueError("columns must hold numbers, text and maps")
    return int(values.nbytes)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    return kind.value_type if pa.types.is_dictionary(kind) else kind

"""Read Parquet from anybody: the whole table, or a ValueError before it takes much more memory than its bytes."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.storage.parquet_footer import check_footer

LEAVES = ("BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE", "BYTE_ARRAY")  # the physical types of our files


def read_columns(content: bytes, names: Sequence[str] | None = None) -> pa.Table:
    """Read columns of a Parquet file, by default all. Names that the file lacks are left out.

    Run lengths and dictionaries let a small file hold any number of values and any length of text. So the footer is
    checked first, and text stays a dictionary until its decoded size is known. Raises ValueError for a damaged file, a
    file that decodes to too many bytes, and columns that are not numbers, text or maps of these.
    """
    try:
        most = check_footer(io.BytesIO(content))
        schema = pq.ParquetFile(pa.BufferReader(content)).schema
        leaves = [schema.column(i) for i in range(len(schema))]
        if any(leaf.physical_type not in LEAVES for leaf in leaves):
            raise ValueError("columns must hold numbers and text")
        text = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        # without threads: those outlive the interpreter
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=text, page_checksum_verification=True)
        groups = range(file.num_row_groups)  # one by one: Arrow cannot chain dictionaries inside maps
        table = pa.concat_tables([file.read_row_group(n, names) for n in groups]) if groups else file.read(names)
        if sum(_decoded(chunk) for column in table.columns for chunk in column.chunks) > most:
            raise ValueError(f"{len(content):,} bytes must decode to at most {most:,} bytes, but decode to more")
        plain = [field.with_type(_plain(field.type)) for field in table.schema]
        return table.cast(pa.schema(plain, table.schema.metadata))
    except Exception as error:  # Arrow raises OSError, KeyError, NotImplementedError and others for damaged files
        raise ValueError(f"a Parquet file must be whole and as it was written, but: {error}") from None


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file, with a checksum of each page."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return bytes(sink.getvalue())


def _decoded(values: pa.Array) -> int:
    """Count the bytes that an array takes without dictionaries."""
    if pa.types.is_map(values.type):
        return int(values.nbytes) + _decoded(values.keys) + _decoded(values.items)
    if pa.types.is_dictionary(values.type):
        lengths = pc.binary_length(values.dictionary)
        return int(pc.sum(lengths.take(values.indices)).as_py() or 0)
    if pa.types.is_nested(values.type):
        raise ValueError("columns must hold numbers, text and maps")
    return int(values.nbytes)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the same type without dictionaries."""
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    return kind.value_type if pa.types.is_dictionary(kind) else kind

"""Check what the footer of a Parquet file claims, before Arrow reads it.

Some footers make Arrow 25.0.1 end the process: a schema of 10,000 nested levels, in 80 kB, overflows the stack, and a
row group with an impossible number of rows ends in std::bad_alloc. For other claims Arrow reserves gigabytes.

A footer is a Thrift struct in the compact protocol: fields, each with a number, a type and a value.
"""

from typing import Any, BinaryIO, NamedTuple

MAGIC = b"PAR1"
LONGEST = 1 << 24  # bytes of a footer; as Python objects it takes about a hundred times as many
WIDEST = 63  # bits of a number
MOST_ELEMENTS = 1000  # of a schema, so it nests no deeper; 2,000 levels overflow 1 MiB of stack
EXPANSION, SPARE = 256, 1 << 26  # a file of n bytes may decode to EXPANSION n + SPARE bytes
SCHEMA, ROWS, ROW_GROUPS = 2, 3, 4  # field numbers of parquet.thrift: FileMetaData
COLUMNS, GROUP_ROWS, META_DATA = 1, 3, 3  # RowGroup (two), ColumnChunk
VALUES, SIZE = 5, 6  # ColumnMetaData


class Claims(NamedTuple):
    """How much data the file holds, according to its footer."""

    rows: int
    values: int  # of all columns, with those inside lists and maps
    size: int  # bytes after decompression and before decoding


def check_footer(file: BinaryIO) -> int:
    """Return how many bytes a file may decode to. Raises ValueError for larger claims, and as `claims_of`."""
    claims, size = claims_of(file), file.seek(0, 2)
    most = EXPANSION * size + SPARE
    if max(8 * claims.rows, 8 * claims.values, claims.size) > most:
        raise ValueError(f"{size:,} bytes must decode to at most {most:,} bytes, but the footer claims {claims}")
    return most


def claims_of(file: BinaryIO) -> Claims:
    """Add up the claims of a file's footer.

    Raises ValueError for a damaged footer, and for a schema with more elements than Arrow reads safely.
    """
    try:
        footer = _Thrift(_footer(file)).struct()
        if len(footer[SCHEMA]) > MOST_ELEMENTS:
            raise ValueError(
                f"it must have at most {MOST_ELEMENTS:,} columns and groups, but has {len(footer[SCHEMA]):,}"
            )
        groups = footer[ROW_GROUPS]
        chunks = [chunk[META_DATA] for group in groups for chunk in group[COLUMNS]]
        if sum(group[GROUP_ROWS] for group in groups) != footer[ROWS]:
            raise ValueError(f"its row groups must hold {footer[ROWS]} rows, as its footer says")
        counts = (footer[ROWS], *(group[GROUP_ROWS] for group in groups))
        counts += tuple(chunk[field] for chunk in chunks for field in (VALUES, SIZE))
        if min(counts) < 0:
            raise ValueError("its counts must not be negative")
        return Claims(footer[ROWS], sum(chunk[VALUES] for chunk in chunks), sum(chunk[SIZE] for chunk in chunks))
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"its footer is damaged ({type(error).__name__}: {error})") from None


def _footer(file: BinaryIO) -> bytes:
    start, size = file.read(4), file.seek(0, 2)
    file.seek(max(0, size - 8))
    length, end = int.from_bytes(file.read(4), "little"), file.read(4)
    if start != MAGIC or end != MAGIC:
        raise ValueError("it has no footer")
    if length > min(LONGEST, size - 12):
        raise ValueError(f"its footer must fit into the file and have at most {LONGEST:,} bytes, but has {length:,}")
    file.seek(size - 8 - length)
    return file.read(length)


class _Thrift:
    """Reads values one after the other. Raises IndexError past the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> dict[int, Any]:
        """Read a struct: field number -> value."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        match kind:
            case 4 | 5 | 6:
                return self._signed()
            case 7 | 8:  # floating point and text: not needed here
                length = 8 if kind == 7 else self._varint()
                self._at += length
                return None
            case 12:
                return self.struct()
            case 9 | 10:
                head = self._byte()
                count = head >> 4 if head >> 4 < 15 else self._varint()
                return [self._value(head & 15) for _ in range(count)]
            case 1 | 2 | 3:  # a byte, or a boolean inside a list; other booleans are in their field's head
                return self._byte()
        raise ValueError(f"its footer has a field of an unknown type, {kind}")

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) > 127:
            value |= (byte & 127) << shift
            shift += 7
            if shift > WIDEST:
                raise ValueError("its footer has a number of more than 64 bits")
        return value | byte << shift

    def _signed(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

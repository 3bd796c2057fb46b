"""What a Parquet file says that it holds, read without Arrow, which for some damage there ends the process.

A footer is a Thrift struct in compact form: fields of a number and a kind, values of varying length.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

MAGIC = b"PAR1"
LONGEST, WIDEST = 1 << 24, 63  # bytes of a footer, which takes some hundred times as many when read; bits of a number
ROW_GROUPS, ROWS, COLUMNS, ABOUT, VALUES, SIZE = 4, 3, 1, 3, 5, 6  # numbers of fields, as parquet.thrift has them


class Claims(NamedTuple):
    """How much there is of everything."""

    rows: int
    values: int  # in all columns, those inside lists and maps included
    size: int  # bytes, decompressed and still encoded


def claims_of(content: bytes) -> Claims:
    """Add up what the footer of a file says of its parts; any exception where it is damaged."""
    if content[:4] != MAGIC or content[-4:] != MAGIC:
        raise ValueError("it has no footer")
    length = int.from_bytes(content[-8:-4], "little")
    if length > LONGEST:
        raise ValueError(f"its footer has more than {LONGEST:,} bytes")
    footer = _struct(iter(content[-8 - length : -8]))
    chunks = [chunk[ABOUT] for group in footer[ROW_GROUPS] for chunk in group[COLUMNS]]
    counts = (footer[ROWS], *(chunk[field] for chunk in chunks for field in (VALUES, SIZE)))
    if min(counts) < 0:
        raise ValueError("it counts below zero")
    return Claims(footer[ROWS], sum(chunk[VALUES] for chunk in chunks), sum(chunk[SIZE] for chunk in chunks))


def _struct(data: Iterator[int]) -> dict[int, Any]:
    fields: dict[int, Any] = {}
    number = 0
    while head := next(data):
        number = number + (head >> 4) if head >> 4 else _signed(data)
        fields[number] = head & 15 == 1 if head & 15 in (1, 2) else _value(head & 15, data)
    return fields


def _value(kind: int, data: Iterator[int]) -> Any:
    match kind:
        case 1 | 2 | 3:  # inside a list, a truth value takes a byte
            return next(data)
        case 4 | 5 | 6:
            return _signed(data)
        case 7 | 8:  # numbers with a fraction, and text, of which nobody asks here
            for _ in range(8 if kind == 7 else _varint(data)):
                next(data)
            return None
        case 9 | 10:
            head = next(data)
            count = head >> 4 if head >> 4 < 15 else _varint(data)
            return [_value(head & 15, data) for _ in range(count)]
        case 12:
            return _struct(data)
    raise ValueError(f"it has a field of an unknown kind, {kind}")


def _varint(data: Iterator[int]) -> int:
    value = shift = 0
    while (byte := next(data)) > 127:
        value |= (byte & 127) << shift
        shift += 7
        if shift > WIDEST:
            raise ValueError("it has a number without end")
    return value | byte << shift


def _signed(data: Iterator[int]) -> int:
    value = _varint(data)
    return value >> 1 ^ -(value & 1)

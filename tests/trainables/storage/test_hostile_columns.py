"""Parquet and images from somebody who means no good: refused before they cost memory or time."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.trainables.hostility import bounded, damaged, with_flipped_bit_in_a_page
from tests.trainables.image_files import grey, parquet_spec, png, write_parquet
from trainables.allocation import profiles
from trainables.allocation.profiles import Profile
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.learnability.records import read_records
from trainables.storage.columns import read_columns, to_parquet
from trainables.storage.folder import Folder
from trainables.storage.parquet_footer import claims_of
from trainables.training.recorder import SAMPLES, SCHEMA

RECORDED = pa.table(
    [[1, 1, 2, 2], [1, 2, 1, 2], [0, 1, 0, 1], [True, False] * 2, *[[0.1] * 4] * 3],
    schema=SCHEMA.with_metadata({"records": '{"taken": "during", "about": {}}'}),
)
PROFILE = Profile((0.0, 1.0), 0.9, *[{"a": (1.0, 2.0), "b": (3.0, 4.0)}] * 4)
PARQUET = {"records": to_parquet(RECORDED), "profile": profiles.to_parquet(PROFILE)}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(PARQUET)))
def test_damaged_columns_are_read_or_refused(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From both ends: the footer, at a file's end, is where most can go wrong.

    Any value is right: a footer has no checksum, so damage there may rename a column or change its type. Where that
    matters, a manifest with a checksum of the whole file lies beside it, as for a profile.
    """
    content = PARQUET[kind]
    spoiled = data.draw(damaged(content[::-1]))[::-1] if data.draw(st.booleans()) else data.draw(damaged(content))
    try:
        if kind == "profile":
            profiles.from_parquet(spoiled)
        else:
            place = Folder.at(str(tmp_path_factory.mktemp("records")))
            place.write(SAMPLES, spoiled)
            read_records(place)
    except ValueError:
        return


@settings(max_examples=200, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(PARQUET)))
def test_a_flipped_bit_in_a_page_changes_no_value(data: st.DataObject, kind: str) -> None:
    try:
        table = read_columns(data.draw(with_flipped_bit_in_a_page(PARQUET[kind])))
    except ValueError:
        return
    assert table.equals(read_columns(PARQUET[kind]))


def test_a_footer_claims_what_arrow_says_that_it_does() -> None:
    lists = pa.array([[("a", 1.0)] * n for n in range(5)] * 40, pa.map_(pa.string(), pa.float64()))
    tables = [RECORDED, pa.table({"x": lists, "y": [None, True] * 100}), pa.table({"z": pa.array([], pa.int8())})]
    for table in tables:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=64, write_page_index=True)
        content = bytes(sink.getvalue())
        footer = pq.read_metadata(pa.BufferReader(content))
        groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
        columns = [group.column(n) for group in groups for n in range(group.num_columns)]
        claimed = claims_of(io.BytesIO(content))
        assert claimed.rows == footer.num_rows == len(table)
        assert claimed.values == sum(column.num_values for column in columns)
        assert claimed.size == sum(column.total_uncompressed_size for column in columns)
        assert read_columns(content).equals(table)


@pytest.mark.parametrize(
    "footer", [b"\x15" + b"\xff" * 3_000_000, b"\x1c" * 3_000_000, b"\x19\xfc" + b"\xff" * 4 + b"\x0f"]
)
def test_a_footer_without_end_is_refused(footer: bytes) -> None:
    with bounded(), pytest.raises(ValueError, match="must be whole and as it was written"):
        read_columns(b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1")


def nested_schema(levels: int, row_groups: bytes = b"\x0c") -> bytes:
    """Build a file without rows whose one column lies below so many groups: FileMetaData of parquet.thrift."""
    group = b"\x35\x00\x18\x01g\x15\x02\x00"  # required, named "g", of one child
    count = levels + 1
    size = bytearray()
    while count > 127:
        size.append(count & 127 | 128)
        count >>= 7
    schema = b"\x19\xfc" + bytes(size) + bytes([count]) + group * levels + b"\x15\x02\x25\x00\x18\x01x\x00"
    footer = b"\x15\x04" + schema + b"\x16\x00\x19" + row_groups + b"\x00"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def test_a_schema_that_would_overflow_the_stack_of_arrow_is_refused(tmp_path: Path) -> None:
    assert pq.read_metadata(pa.BufferReader(nested_schema(500))).num_columns == 1
    with bounded(), pytest.raises(ValueError, match="must have at most 1,000 columns and groups, but has 100,001"):
        read_columns(nested_schema(100_000))
    (tmp_path / "train-0.parquet").write_bytes(nested_schema(100_000))
    with bounded(), pytest.raises(ValueError, match=r"must be a Parquet file, .* \(it must have at most"):
        sources.peek(parquet_spec(tmp_path))


def test_a_row_group_that_counts_other_rows_than_its_file_is_refused() -> None:
    """Arrow reserves what the row group counts, and ends the process where no memory is that large."""
    group = b"\x1c\x19\x0c\x16\x00\x16" + b"\xfe" + b"\xff" * 7 + b"\x3f\x00"  # no columns, 0 bytes, 2**60 rows or so
    with bounded(), pytest.raises(ValueError, match="its row groups must hold 0 rows, as its footer says"):
        read_columns(nested_schema(1, group))


MANY = 10_000_000


def repeated(value: pa.Scalar | str | bytes, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(bytearray(times)).cast(pa.int32()), pa.array([value]))


@pytest.mark.parametrize(
    "column",
    [
        lambda: pa.array(bytearray(MANY)),
        lambda: repeated("x" * 1_000_000, 20_000),
        lambda: pa.MapArray.from_arrays([0, MANY], repeated("k", MANY).cast(pa.string()), bytearray(MANY)),
        lambda: pa.array([b"x" * 1000] * 10, pa.binary(1000)),
        lambda: pa.array([[[1]]]),
    ],
    ids=["run lengths", "long text over and over", "one endless map", "fixed width", "nested"],
)
def test_a_small_file_that_stands_for_a_large_one_is_refused(column: Callable[[], pa.Array]) -> None:
    sink, values = pa.BufferOutputStream(), column()
    pq.write_table(pa.table({"x": values}), sink, compression="zstd", row_group_size=len(values))
    assert len(sink.getvalue()) < 1_000_000
    with bounded(), pytest.raises(ValueError, match="must be whole and as it was written"):
        read_columns(bytes(sink.getvalue()))


def test_records_that_would_be_mostly_gaps_are_refused(tmp_path: Path) -> None:
    many = 20_000
    columns = [range(many), range(many), [0] * many, [True] * many, *[[0.1] * many] * 3]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=RECORDED.schema)
    Folder.at(str(tmp_path)).write(SAMPLES, to_parquet(table))
    with bounded(), pytest.raises(ValueError, match="20,000 rows are too few for 20,000 samples in 20,000 epochs"):
        read_records(Folder.at(str(tmp_path)))


ENCODED = [png(image) for image in grey(9)]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_data_are_read_or_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any value is right: nothing of the user's data has a checksum here that was taken before the damage."""
    place = tmp_path_factory.mktemp("data")
    write_parquet(place / "train-0.parquet", ENCODED, [0, 1, 2] * 3)
    content = (place / "train-0.parquet").read_bytes()
    spoiled = data.draw(damaged(content[::-1]))[::-1] if data.draw(st.booleans()) else data.draw(damaged(content))
    (place / "train-0.parquet").write_bytes(spoiled)
    try:
        sources.load(parquet_spec(place))
    except ValueError:
        return


@pytest.mark.parametrize("size", [(9000, 9000), (20_000, 20_000)])
def test_an_image_of_a_few_bytes_and_many_pixels_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a").mkdir()
    Image.new("1", size).save(tmp_path / "a" / "bomb.png")
    assert (tmp_path / "a" / "bomb.png").stat().st_size < 100_000
    with bounded(), pytest.raises(ValueError, match=r"image must decode, but a/bomb\.png does not"):
        sources.peek(DataSpec(name="folder", path=str(tmp_path)))


def test_an_image_that_would_start_a_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "a" / "x.eps")  # which Pillow gives to Ghostscript
    (tmp_path / "a" / "x.eps").rename(tmp_path / "a" / "x.png")
    with pytest.raises(ValueError, match=r"image must decode, but a/x\.png does not \(UnidentifiedImageError"):
        sources.peek(DataSpec(name="folder", path=str(tmp_path)))
    (tmp_path / "a" / "x.png").unlink()
    os.mkfifo(tmp_path / "a" / "x.png")
    with bounded(), pytest.raises(ValueError, match="it must be a file of at most"):
        sources.peek(DataSpec(name="folder", path=str(tmp_path)))


def test_more_rows_than_bytes_are_refused(tmp_path: Path) -> None:
    rows = 3_000_000
    image = pa.DictionaryArray.from_arrays(pa.array(bytearray(rows)).cast(pa.int32()), pa.array([ENCODED[0]]))
    table = pa.table({"image": image.cast(pa.binary()), "label": pa.array(bytearray(rows)).cast(pa.int64())})
    pq.write_table(table, tmp_path / "train-0.parquet", compression="zstd", row_group_size=rows)
    with bounded(), pytest.raises(ValueError, match="must hold an image in each row, but claims 3,000,000 in"):
        sources.peek(parquet_spec(tmp_path))

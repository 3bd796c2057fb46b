"""Files from somebody who means no good: refused with a ValueError, before they cost memory or time."""

import hashlib
import json
import os
import pickle
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.trainables.image_files import grey, parquet_spec, png, write_parquet
from trainables import checkpoints, load_pruned
from trainables.allocation import profiles
from trainables.allocation.profiles import Profile
from trainables.checkpoints import Architecture
from trainables.columns import read_columns, to_parquet
from trainables.compressed import unpack
from trainables.data import sources
from trainables.footer import claims_of
from trainables.learning.fit import newest_epoch, resume
from trainables.learning.records import SAMPLES, SCHEMA, read_records
from trainables.spec import DataSpec, Pruning, TrialSpec
from trainables.storage import Folder
from trainables.strict import from_json

BUILT = Architecture(model="small_cnn", width=0.25, classes=3, image=(1, 8, 8))
RECORD = {"architecture": BUILT.model_dump(mode="json"), "epoch": 1}
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@contextmanager
def bounded(megabytes: int = 300, seconds: float = 20.0) -> Iterator[None]:
    """Hold what is done here to little more memory than the process ever had, and to a time."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * UNIT < megabytes << 20
    assert time.monotonic() - started < seconds


def sparse_network() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = BUILT.build().state_dict()
    for tensor in state.values():
        if tensor.dim() > 1:
            tensor[torch.rand_like(tensor) < 0.9] = 0
    return state


STATE = sparse_network()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a good checkpoint."""
    place = tmp_path_factory.mktemp("good")
    checkpoints.save(Folder.at(str(place)), {"network": STATE}, RECORD)
    return {path.name: path.read_bytes() for path in place.iterdir()}


def put(place: Path, files: dict[str, bytes]) -> Folder:
    """Write files and, unless they have one, a manifest whose checksums are right: whoever forges can count."""
    place.mkdir(exist_ok=True)
    sums = {name: {"sha256": hashlib.sha256(b).hexdigest(), "bytes": len(b)} for name, b in files.items()}
    files = {"manifest.json": json.dumps({"files": sums}).encode()} | files
    for name, content in files.items():
        (place / name).write_bytes(content)
    return Folder.at(str(place))


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# Checkpoints


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Flip, cut out, repeat or cut off; mostly near the beginning, where headers are."""
    spoiled = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        near = draw(st.sampled_from([min(64, len(spoiled)), min(1500, len(spoiled)), len(spoiled)]))
        at, length = draw(st.integers(0, max(0, near - 1))), draw(st.integers(1, 40))
        match draw(st.sampled_from(["flip", "cut", "repeat", "insert", "end"])):
            case "flip" if spoiled:
                spoiled[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del spoiled[at : at + length]
            case "repeat":
                spoiled[at:at] = spoiled[at : at + length]
            case "insert":
                spoiled[at:at] = draw(st.sampled_from([b"null", b"-1", b"99999999999", b"1e999", b"[[[[", b'"../x"']))
            case "end":
                del spoiled[at:]
    return bytes(spoiled)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(["network.safetensors", "record.json", "manifest.json"]))
def test_a_damaged_checkpoint_is_equal_or_refused(
    data: st.DataObject, name: str, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = put(tmp_path_factory.mktemp("damaged"), files | {name: data.draw(damaged(files[name]))})
    try:
        loaded = checkpoints.load(folder)
    except ValueError:
        return
    assert loaded.record == RECORD
    assert all(torch.equal(loaded.tensors["network"][key], tensor) for key, tensor in STATE.items())


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(["network.safetensors", "record.json"]))
def test_a_forged_checkpoint_is_a_network_or_refused(
    data: st.DataObject, name: str, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    forged = {key: content for key, content in files.items() if key != "manifest.json"}
    folder = put(tmp_path_factory.mktemp("forged"), forged | {name: data.draw(damaged(files[name]))})
    try:
        checkpoints.load(folder).network()
    except ValueError:
        return


BEFORE = Pruning(granularity="block", criterion="l1", policy="erk", sparsity=0.1)
SPEC = TrialSpec(densities={"a": 0.5}, before=(BEFORE,))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_spec_is_a_spec_or_refused(data: st.DataObject) -> None:
    try:
        spec = TrialSpec.model_validate_json(data.draw(damaged(SPEC.model_dump_json().encode())))
    except ValueError:
        return
    assert TrialSpec.model_validate_json(spec.model_dump_json()).key() == spec.key()


@pytest.mark.parametrize(
    "network",
    [
        safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        safetensors(b"[" * 100_000),
        struct.pack("<Q", 1 << 60) + b"{}",
        safetensors({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"\0"),
        safetensors({"__metadata__": {"packed": "[" * 100_000}}),
        safetensors({"__metadata__": {"packed": '{"a": ["gaps", [1099511627776]]}'}}),
        b"",
    ],
    ids=["terabytes", "deep header", "long header", "odd type", "deep packing", "packed terabytes", "empty"],
)
def test_a_hostile_header_is_refused(network: bytes, tmp_path: Path) -> None:
    folder = put(tmp_path / "c", {"network.safetensors": network, "record.json": json.dumps(RECORD).encode()})
    with bounded(), pytest.raises(ValueError, match="must hold a record and tensors"):
        checkpoints.load(folder)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ('{"w": ["gaps", [1099511627776]]}', "claim 1,099,511,627,776 values"),
        ('{"w": ["mask", [1000000]]}', "positions must say where 2 of 1,000,000 values are"),
        ('{"w": ["gaps", [2]]}', "positions must say where 2 of 2 values are"),
        ('{"w": ["gaps", [3, -9]]}', "greater_than_equal"),
        ('{"w": ["zip", [9]]}', "literal_error"),
        ('{"v": ["gaps", [9]]}', "must have values and positions"),
        ("[]", "dict_type"),
        ("{", "json_invalid"),
    ],
)
def test_packed_tensors_fit_to_the_bit_or_are_refused(packed: str, message: str) -> None:
    stored = {"w": torch.tensor([1.0, 2.0]), "w.positions": torch.tensor([3, 3], dtype=torch.uint8)}
    assert unpack(stored, {"packed": '{"w": ["gaps", [9]]}'})["w"].tolist() == [0, 0, 0, 1, 0, 0, 0, 2, 0]
    with bounded(), pytest.raises(ValueError, match=message):
        unpack(stored, {"packed": packed})


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 1e9},
        {"width": 16.0, "model": "vgg16"},
        {"classes": 1 << 60},
        {"image": [1 << 16, 1 << 16, 1 << 16]},
        {"image": [0, 8, 8]},
        {"projections": {"block1": [1 << 20, 1 << 20, 1]}},
        {"removed": ["block1"] * 10_000},
        {"removed": ["../../block1"]},
        {"model": "no_such_net"},
        {"depth": 3},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_an_architecture_out_of_all_bounds_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    record = {"architecture": RECORD["architecture"] | changes}  # type: ignore[operator]
    checkpoints.save(Folder.at(str(tmp_path)), {"network": STATE}, record)
    with bounded(), pytest.raises(ValueError, match=r"."):
        load_pruned(str(tmp_path))


@pytest.mark.parametrize(
    "record", [b"[]", b"{}", b"[" * 100_000, b'{"epoch": NaN}', b'{"epoch": 1e999}', b"\xff", b"3"]
)
def test_a_record_that_is_none_is_refused(record: bytes, files: dict[str, bytes], tmp_path: Path) -> None:
    folder = put(tmp_path / "c", {"network.safetensors": files["network.safetensors"], "record.json": record})
    with bounded(), pytest.raises(ValueError, match=r"."):
        load_pruned(folder.uri)


def test_a_damaged_epoch_counts_as_never_written(files: dict[str, bytes], tmp_path: Path) -> None:
    put(tmp_path / "epoch-00000", files)
    forged = safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    put(tmp_path / "epoch-00001", {"network.safetensors": forged, "record.json": b"{}"})
    found = newest_epoch(Folder.at(str(tmp_path)), BUILT.model)
    assert found is not None
    assert found.record == RECORD


# Code


def test_a_model_that_nobody_here_has_named_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hc_trap.py").write_text(
        "from pathlib import Path\nfrom torch import nn\nPath(__file__).with_name('sprung').touch()\n"
        "def build(num_classes, in_channels):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"model": "hc_trap:build", "width": 1.0, "classes": 3, "image": [1, 8, 8]}
    state = {"1.weight": torch.zeros(3, 64), "1.bias": torch.zeros(3)}
    for place in ("best", "epoch-00001"):
        checkpoints.save(Folder.at(str(tmp_path / place)), {"network": state}, {"architecture": own})
    with pytest.raises(ValueError, match=r"names 'hc_trap:build'; if you know that code, add --trust hc_trap:build,"):
        load_pruned(str(tmp_path / "best"))
    with pytest.raises(ValueError, match="names 'hc_trap:build'"):
        load_pruned(str(tmp_path / "best"), trust=["hc_trap:other"])
    with pytest.raises(ValueError, match="names 'hc_trap:build'"):
        resume(Folder.at(str(tmp_path)), "small_cnn", torch.device("cpu"))
    assert checkpoints.load(Folder.at(str(tmp_path / "best"))).tensors["network"].keys() == state.keys()
    assert not (tmp_path / "sprung").exists()
    model = load_pruned(str(tmp_path / "best"), trust=["hc_trap:build"])
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert (tmp_path / "sprung").exists()


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._place),)


def test_a_pickle_is_read_nowhere(tmp_path: Path, files: dict[str, bytes]) -> None:
    sprung = tmp_path / "sprung"
    torch.save(Trap(sprung), tmp_path / "torch")
    for trap in (pickle.dumps(Trap(sprung)), (tmp_path / "torch").read_bytes()):
        own = {"network.safetensors": trap, "record.json": files["record.json"], "samples.parquet": trap}
        folder = put(tmp_path / "trap", own)
        write = {"train-0.parquet": trap}
        for read in (
            lambda: checkpoints.load(folder),  # noqa: B023
            lambda: read_records(folder),  # noqa: B023
            lambda: read_columns(trap),  # noqa: B023
            lambda: profiles.from_parquet(trap),  # noqa: B023
            lambda: from_json(trap.decode("latin-1")),  # noqa: B023
            lambda: sources.load(DataSpec(name="parquet", path=put(tmp_path / "data", write).uri)),  # noqa: B023
        ):
            with pytest.raises(ValueError, match=r"."):
                read()
    assert not sprung.exists()
    with pytest.raises(FileExistsError):  # it would have
        [pickle.loads(pickle.dumps(Trap(sprung))) for _ in range(2)]


# Names and files


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "x" * 300, "\ud800"])
def test_no_name_leads_out_of_a_folder(name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    folder = put(tmp_path / "in", files)
    for use in (folder.__truediv__, folder.read, folder.has, folder.remove, lambda name: folder.write(name, b"")):
        with pytest.raises(ValueError, match=r"."):
            use(name)
    digest = hashlib.sha256(b"mine").hexdigest()
    manifest = {"files": {"record.json": {"sha256": digest}, name: {"sha256": digest}}}
    put(tmp_path / "in", {"record.json": b"mine", "manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(ValueError, match=r"."):
        checkpoints.load(folder)
    assert (tmp_path / "x").read_text() == "mine"


def test_what_is_no_file_of_bounded_size_is_not_read(files: dict[str, bytes], tmp_path: Path) -> None:
    folder = put(tmp_path / "c", files)
    (tmp_path / "c" / "record.json").unlink()
    os.mkfifo(tmp_path / "c" / "record.json")  # which nobody ever writes to
    with bounded(), pytest.raises(ValueError, match=r"record\.json in .* must be a file, but is not"):
        checkpoints.load(folder)
    (tmp_path / "c" / "record.json").unlink()
    (tmp_path / "c" / "record.json").symlink_to("/dev/zero")
    with bounded(), pytest.raises(ValueError, match=r"record\.json in .* must be a file, but is not"):
        checkpoints.load(folder)
    (tmp_path / "c" / "record.json").unlink()
    with (tmp_path / "c" / "record.json").open("wb") as file:
        file.truncate(1 << 40)  # a hole, which takes no room on the disk
    with bounded(), pytest.raises(ValueError, match=r"must have at most .* bytes, but has 1,099,511,627,776"):
        checkpoints.load(folder)


def test_what_a_link_points_to_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    (tmp_path / "study" / "deep").mkdir(parents=True)
    for link in (tmp_path / "study" / "ray", tmp_path / "study" / "deep" / "link"):
        link.symlink_to(tmp_path / "mine")
    for name in ("ray", "deep"):
        (Folder.at(str(tmp_path / "study")) / name).delete()
    assert not list((tmp_path / "study").iterdir())
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


# Parquet

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
    """From both ends: the footer, at a file's end, is where most can go wrong."""
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
        claimed = claims_of(content)
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
    with bounded(), pytest.raises(ValueError, match="20,000 rows must not tell of 20,000 samples in 20,000 epochs"):
        read_records(Folder.at(str(tmp_path)))


# Images

ENCODED = [png(image) for image in grey(9)]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_data_are_read_or_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
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

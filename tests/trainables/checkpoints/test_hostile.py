"""Checkpoints from somebody who means no good: refused with a ValueError, before they cost memory or time."""

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.hostility import BUILT, RECORD, STATE, bounded, damaged, good_checkpoint, put, safetensors
from trainables import load_pruned
from trainables.allocation import profiles
from trainables.allocation.profiles import Profile
from trainables.artifacts.record import DenseRecord
from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.checkpoints.sparse_tensors import unpack
from trainables.pruning_spec import Pruning
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.training.saves import newest_epoch

PROFILE = profiles.to_parquet(Profile((0.0, 1.0), 0.9, *[{"a": (1.0, 2.0), "b": (3.0, 4.0)}] * 4))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return dict(good_checkpoint())


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(["network.safetensors", "record.json", "manifest.json"]))
def test_a_damaged_checkpoint_is_equal_or_refused(
    data: st.DataObject, name: str, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = put(tmp_path_factory.mktemp("damaged"), files | {name: data.draw(damaged(files[name]))})
    try:
        record, groups = manifest.read_record(folder)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            checkpoint.load(folder)
        return
    assert record == RECORD
    assert groups == {"network"}
    try:
        loaded = checkpoint.load(folder)
    except ValueError:
        return
    assert loaded.record == RECORD
    assert all(torch.equal(loaded.tensors["network"][key], tensor) for key, tensor in STATE.items())


FLIPS = {"network": "netwosk", "sha256": "sha257", "files": "filet", '"bytes": ': '"bytes": 1'}


@pytest.mark.parametrize("text", FLIPS)
def test_a_manifest_with_a_damaged_list_is_refused(text: str, files: dict[str, bytes], tmp_path: Path) -> None:
    damaged_list = files["manifest.json"].decode().replace(text, FLIPS[text]).encode()
    assert damaged_list != files["manifest.json"]
    folder = put(tmp_path / "c", files | {"manifest.json": damaged_list})
    for read in (manifest.listed, manifest.read_record, manifest.read_files):
        with pytest.raises(ValueError, match=r"must list its files and match its own checksum, but it was changed"):
            read(folder)


@pytest.mark.parametrize("name", ["network.safetensors", "record.json"])
def test_a_manifest_without_one_of_its_entries_is_refused(name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    document = json.loads(files["manifest.json"])
    del document["files"][name]
    folder = put(tmp_path / "c", files | {"manifest.json": json.dumps(document).encode()})
    for read in (manifest.listed, manifest.read_record, manifest.read_files):
        with pytest.raises(ValueError, match=r"must list its files and match its own checksum, but it was changed"):
            read(folder)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(["profile.parquet", "record.json", "manifest.json"]))
def test_a_damaged_artifact_is_equal_or_refused(
    data: st.DataObject, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Profiles, probes and gates are files with a manifest."""
    whole = {"profile.parquet": PROFILE, "record.json": b'{"seconds": 1.0}'}
    folder = Folder.at(str(tmp_path_factory.mktemp("artifact")))
    manifest.write_files(folder, whole)
    folder.write(name, data.draw(damaged(folder.read(name))))
    try:
        files = manifest.read_files(folder)
    except ValueError:
        return
    assert files == whole


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(["network.safetensors", "record.json"]))
def test_a_forged_checkpoint_is_a_network_or_refused(
    data: st.DataObject, name: str, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    forged = {key: content for key, content in files.items() if key != "manifest.json"}
    """Any network is right: whoever forges writes checksums that match."""
    folder = put(tmp_path_factory.mktemp("forged"), forged | {name: data.draw(damaged(files[name]))})
    try:
        checkpoint.load(folder).network()
    except ValueError:
        return


BEFORE = Pruning(granularity="block", criterion="l1", policy="erk", sparsity=0.1)
SPEC = TrialSpec(densities={"a": 0.5}, before=(BEFORE,))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_spec_is_a_spec_or_refused(data: st.DataObject) -> None:
    """Any spec is right: it has no checksum, and another spec has another key, so it is another trial's."""
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
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ('{"w": ["gaps", [1099511627776]]}', "claim 1,099,511,627,776 values"),
        ('{"w": ["mask", [1000000]]}', "positions must mark 2 of 1,000,000 values"),
        ('{"w": ["gaps", [2]]}', "positions must mark 2 of 2 values"),
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
    checkpoint.save(Folder.at(str(tmp_path)), {"network": STATE}, record)
    with bounded(), pytest.raises(ValueError, match=r"."):
        load_pruned(str(tmp_path))


@pytest.mark.parametrize(
    "record", [b"[]", b"{}", b"[" * 100_000, b'{"epoch": NaN}', b'{"epoch": 1e999}', b"\xff", b"3"]
)
def test_a_record_that_is_none_is_refused(record: bytes, files: dict[str, bytes], tmp_path: Path) -> None:
    folder = put(tmp_path / "c", {"network.safetensors": files["network.safetensors"], "record.json": record})
    with bounded(), pytest.raises(ValueError, match=r"."):
        load_pruned(folder.uri)


@pytest.mark.parametrize(
    ("record", "mistake"),
    [
        ({}, "val_accuracy must be given, but is missing"),
        ({"val_accuracy": "high"}, "val_accuracy must be a number"),
        ({"val_accuracy": 0.5, "history": [{"epoch": 1}]}, "history.0.val_accuracy must be given, but is missing"),
        ({"val_accuracy": 0.5, "data": {"path": 3}}, "data.path must be a text"),
        ({"val_accuracy": 0.5, "architecture": {"model": "small_cnn"}}, "architecture.width must be given, but is"),
    ],
)
def test_a_record_that_does_not_validate_names_the_field(record: dict[str, Any], mistake: str) -> None:
    whole = {**RECORD, "spec": {}, "data": {}, "seconds": 1.0}
    saved = Checkpoint({}, whole | record)
    with pytest.raises(ValueError, match=f"the record of a checkpoint must be valid, but {re.escape(mistake)}"):
        saved.read(DenseRecord)


def test_a_damaged_epoch_counts_as_never_written(files: dict[str, bytes], tmp_path: Path) -> None:
    put(tmp_path / "epoch-00000", files)
    forged = safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    put(tmp_path / "epoch-00001", {"network.safetensors": forged, "record.json": b"{}"})
    found = newest_epoch(Folder.at(str(tmp_path)), BUILT.model)
    assert found is not None
    assert found.record == RECORD

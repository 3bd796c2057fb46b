"""Latency of a trial's network and its dense network, whatever was removed."""

from pathlib import Path

import pytest
import torch

import search
from search.results.folder import StudyFolder
from search.retrieval.latency import LatencyMeter, measure
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.models.layers import count
from trainables.pruning.blocks import Blocks
from trainables.storage.folder import Folder


def test_a_network_without_some_blocks_is_compared_with_the_dense_one(tmp_path: Path) -> None:
    built = Architecture(model="resnet20", width=0.25, classes=10, image=(1, 8, 8))
    model, example = built.build(), built.example()
    whole = count(model, {}, example).macs_kept
    blocks = Blocks(model, example)
    blocks.remove({part.name: torch.arange(part.units - 1) for part in blocks.parts})
    saved = Folder.at(str(tmp_path))
    record = {"architecture": built.cut_as(model).model_dump(mode="json")}
    checkpoint.save(saved, {"network": model.state_dict()}, record)
    assert measure(checkpoint.load(saved), "torch-cpu").macs == count(model, {}, example).macs_kept / whole < 1


def test_a_device_times_the_candidates_and_the_copy(trained: StudyFolder, tmp_path: Path) -> None:
    meter = LatencyMeter(trained, "onnxruntime-cpu")
    row = next(row for row in trained.rows() if row.granularity == "channel")
    assert (meter.speed(row).device, meter.milliseconds(row)) == ("onnxruntime-cpu", meter.speed(row).pruned.median_ms)
    out = str(tmp_path / "best")
    fastest = search.best(trained.folder.uri, metric="latency_ms", device="onnxruntime-cpu", export=["onnx"], out=out)
    assert [speed.device for speed in fastest.speeds] == ["onnxruntime-cpu"]
    assert [speed.pruned.hardware for speed in fastest.speeds] == ["cpu"]
    with pytest.raises(ValueError, match=r"the bounds on latency_ms, .* ms on onnxruntime-cpu of this machine"):
        search.best(trained.folder.uri, where=["latency_ms<=0"], device="onnxruntime-cpu", out=str(tmp_path / "none"))
    assert {path.name for path in tmp_path.iterdir()} == {"best"}


def test_an_unknown_device_is_refused_before_a_network_is_read(tmp_path: Path, trained: StudyFolder) -> None:
    with pytest.raises(
        ValueError, match=r"device must be a known name, but got 'onnx'; one of: onnxruntime-cpu, torch-cpu"
    ):
        search.best(trained.folder.uri, device="onnx", out=str(tmp_path / "best"))
    if not torch.cuda.is_available():
        message = r"device 'torch-cuda' must be on this machine, but is not: PyTorch sees no GPU; or use one of: torch"
        with pytest.raises(ValueError, match=message):
            search.best(trained.folder.uri, device="torch-cuda", out=str(tmp_path / "best"))

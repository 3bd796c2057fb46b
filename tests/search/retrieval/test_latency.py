"""Latency of a trial's network and its dense network, whatever was removed."""

from pathlib import Path

import torch

from search.retrieval.latency import measure
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
    record = {"architecture": built.without_blocks_as(model).model_dump(mode="json")}
    checkpoint.save(saved, {"network": model.state_dict()}, record)
    assert measure(checkpoint.load(saved), "torch").macs == count(model, {}, example).macs_kept / whole < 1

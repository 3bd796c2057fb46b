"""Networks are drawn, measured on this machine, and timed in turns."""

from typing import get_args

import numpy as np
import pytest
import torch

from trainables.checkpoints.checkpoint import Architecture
from trainables.device_spec import DeviceName, DeviceSpec
from trainables.exports.latency import DEVICES
from trainables.latency.draws import FITTED, HELD_OUT, draw
from trainables.latency.measuring import beside_dense, measure
from trainables.latency.table import LatencyTable
from trainables.pruning.channels import Channels

BUILT = Architecture(model="small_cnn", width=1.0, classes=10, image=(1, 8, 8))
EXAMPLE = BUILT.example()


@pytest.fixture(scope="module")
def measured() -> LatencyTable:
    torch.manual_seed(0)
    return measure(BUILT.build(), EXAMPLE, "small_cnn", "channel", 4, DeviceSpec(name="torch-cpu", batch=16))


def test_settings_name_the_devices_that_there_are() -> None:
    assert {*get_args(DeviceName)} == {"auto", *DEVICES}


def test_networks_are_drawn_alike_and_keep_multiples() -> None:
    channels = Channels(BUILT.build(), EXAMPLE, 4)
    kept = draw(channels)
    units, floors = (np.array([getattr(part, name) for part in channels.parts]) for name in ("units", "floor"))
    assert kept.shape == (FITTED + HELD_OUT, len(units))
    assert np.array_equal(kept[0], units)
    assert np.array_equal(kept[1], floors)
    assert ((kept % 4 == 0) & (kept >= floors) & (kept <= units)).all()
    assert len(np.unique(kept, axis=0)) == len(kept)
    assert np.array_equal(kept, draw(channels))
    even = kept.std(1) / kept.mean(1)
    assert even.max() > 2 * even.min()


def test_a_table_says_what_was_measured(measured: LatencyTable) -> None:
    header = measured.header
    assert (header.model, header.inputs, header.granularity) == ("small_cnn", "float32 1x8x8", "channel")
    assert (header.device, header.threads, header.batch, header.round_to) == ("torch-cpu", 1, 16, 4)
    assert header.units == {part.name: part.units for part in Channels(BUILT.build(), EXAMPLE).parts}
    assert {*header.versions} == {"torch"}
    assert 10 <= header.runs <= 50
    assert measured.held_out.sum() == HELD_OUT
    assert measured.ms[1] < measured.ms[0]  # the smallest network takes less than the dense one
    again = LatencyTable.from_parquet(measured.to_parquet(), "it")
    assert again.header == header
    assert all(np.array_equal(getattr(again, name), getattr(measured, name)) for name in ("kept", "ms", "held_out"))


@pytest.mark.parametrize("device", ["torch-cpu", "onnxruntime-cpu"])
def test_a_pruned_network_is_timed_in_turns_with_the_dense_one(device: str) -> None:
    built = Architecture(model="vgg16", width=0.5, classes=10, image=(3, 32, 32))
    model = built.build()
    channels = Channels(model, built.example())
    channels.remove({part.name: torch.arange(max(1, part.units // 8)) for part in channels.parts})
    before = [parameter.clone() for parameter in model.parameters()]
    spec = DeviceSpec.model_validate({"name": device, "batch": 3})
    speed = beside_dense(model.train(), built, spec, built.example())
    assert (speed.device, speed.dense.batch, speed.pruned.batch) == (device, 3, 3)
    assert speed.speed_up > 2
    assert speed.spread >= 0
    assert model.training
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True))

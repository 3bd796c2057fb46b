"""The command `latency-table`, and an allocation that spends the time of its table."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.search.conftest import howcompact
from trainables.latency.table import LatencyTable
from trainables.models.cifar import small_cnn
from trainables.pruning.channels import Channels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet20", "--granularity", "weight"], "--granularity must be of units that are removed, as masked weights"),
        (["resnet18", "--width", "0.5"], "width must be 1.0 for resnet18, but got 0.5; only these have a width"),
        (["resnet20", "--image", "3x8x8", "--input", "9"], "--input must go with a model's name alone, but got also"),
        (["resnet20", "--out", "table.csv"], "--out must end with .parquet, but got 'table.csv'; rename it"),
        (
            ["resnet20", "--device", "onnx"],
            "device.name must be 'auto', 'torch-cpu', 'torch-cuda' or 'onnxruntime-cpu'",
        ),
        (["resnet20", "--batch", "0"], "device.batch must be greater than or equal to 1, but got 0"),
        (["resnet2"], "model must be a known name, but got 'resnet2'; did you mean"),
    ],
)
def test_a_table_that_cannot_be_measured_is_refused_at_once(arguments: list[str], message: str, tmp_path: Path) -> None:
    given = [*(["--device", "torch-cpu"] if "--device" not in arguments else [])]
    given += [] if "--out" in arguments else ["--out", "table.parquet"]
    ended = howcompact("latency-table", *arguments, *given, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert not [*tmp_path.iterdir()]


def test_an_allocation_without_a_trial_spends_the_time_of_a_table(latency_table: Path, tmp_path: Path) -> None:
    network = ("small_cnn", "--image", "1x8x8", "--granularity", "channel")
    asked = ("allocate", *network, "--policy", "erk", "--budget", "latency", "--sparsity", "0.3")
    shared = howcompact(*asked, "--table", str(latency_table), "--json", cwd=tmp_path)
    assert shared.returncode == 0, shared.stderr
    found, measured = json.loads(shared.stdout), LatencyTable.at(str(latency_table))
    channels = measured.priced(Channels(small_cnn(10, 1), torch.zeros(1, 1, 8, 8)))
    kept = np.array([round(found["parts"][part.name] * part.units) for part in channels.parts])
    dense = channels.cost(np.array([part.units for part in channels.parts]), "latency")
    assert 0.6 * dense < channels.cost(kept, "latency") <= 0.7 * dense
    refused = howcompact(*asked, cwd=tmp_path)
    assert refused.returncode == 2
    assert "budget 'latency' must come with a table" in refused.stderr

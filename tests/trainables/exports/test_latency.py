"""Latency is measured in turns, on the requested threads, beside multiply-accumulates."""

import copy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trainables.exports.latency import check_device, compare, in_turns, latency, table
from trainables.models.cifar import small_cnn, vgg16
from trainables.pruning.masks import Weights


def test_networks_take_turns_after_runs_that_do_not_count() -> None:
    calls: list[str] = []
    images = torch.zeros(3, 1)
    measured = in_turns({name: lambda _, name=name: calls.append(name) for name in "ab"}, images, runs=10)  # type: ignore[misc]
    assert calls == ["a", "b"] * 12
    assert {(m.runs, m.batch, m.threads, m.hardware) for m in measured.values()} == {(10, 3, 1, "cpu")}


def test_what_is_told_is_the_median_and_the_quartiles_of_the_runs() -> None:
    seconds: list[float] = []

    def nap(_: object) -> None:
        started = time.perf_counter()
        time.sleep(0.002 * (1 + len(seconds) % 5))
        seconds.append(time.perf_counter() - started)

    told = latency(nap, torch.zeros(1), runs=20)
    low, median, high = np.quantile(seconds[4:], (0.25, 0.5, 0.75)) * 1e3
    assert (told.low_ms, told.median_ms, told.high_ms) == pytest.approx((low, median, high), abs=0.5)
    assert low + 1 < median < high - 1


def test_threads_are_those_asked_for_and_then_as_before() -> None:
    seen = set()
    before = torch.get_num_threads()
    latency(lambda _: seen.add((torch.get_num_threads(), torch.is_inference_mode_enabled())), torch.zeros(1), 5, 2)
    assert seen == {(2, True)}
    with pytest.raises(ZeroDivisionError):
        latency(lambda _: 1 // 0, torch.zeros(1), threads=2)
    assert torch.get_num_threads() == before


def test_a_much_smaller_network_is_faster() -> None:
    (speed,) = compare(vgg16(10, 3, 0.5), vgg16(10, 3, 0.125), torch.randn(4, 3, 32, 32), ["torch-cpu"], runs=10)
    assert speed.macs == pytest.approx(1 / 16, rel=0.05)
    assert speed.speed_up > 2
    assert speed.speed_up == speed.dense.median_ms / speed.pruned.median_ms
    assert (speed.dense.batch, speed.pruned.runs) == (4, 10)


def test_zeros_in_weights_count_as_no_work_and_both_networks_stay_as_they_are() -> None:
    dense = small_cnn(10, 3, 0.5).train()
    pruned = copy.deepcopy(dense)
    images = torch.randn(1, 3, 8, 8)
    whole = Weights(pruned, images)
    keep = {part.name: torch.arange(part.units // 4) for part in whole.parts}
    whole.remove(keep)
    state = copy.deepcopy(pruned.state_dict())
    speeds = compare(dense, pruned, images, ["torch-cpu", "onnxruntime-cpu"], runs=5)
    assert [speed.device for speed in speeds] == ["torch-cpu", "onnxruntime-cpu"]
    assert all(speed.macs == pytest.approx(0.25, abs=0.01) for speed in speeds)
    assert pruned.training
    assert all(torch.equal(state[key], tensor) for key, tensor in pruned.state_dict().items())
    head, *rows, setting = table(speeds).splitlines()
    assert head.split() == ["dense", "ms", "pruned", "ms", "speed-up", "MACs"]
    assert [row.split()[0] for row in rows] == ["torch-cpu", "onnxruntime-cpu"]
    assert [row.split()[-2:] for row in rows] == [[f"{speed.speed_up:.2f}", "0.25"] for speed in speeds]
    assert setting == "cpu: batches of 1 in float32, 5 runs of each in turns, quartiles in brackets, 1 thread"


def test_device_that_is_not_known_is_refused() -> None:
    with pytest.raises(
        ValueError, match="device must be a known name, but got 'onnx'; one of: onnxruntime-cpu, torch-cpu"
    ):
        compare(small_cnn(10, 3), small_cnn(10, 3), torch.zeros(1, 3, 8, 8), ["onnx"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_run_on_a_gpu_ends_when_the_gpu_has_finished() -> None:
    wide = nn.Linear(8192, 8192, bias=False)
    (speed,) = compare(nn.Sequential(*[wide] * 20), wide, torch.randn(8192, 8192), ["torch-cuda"], runs=5)
    assert speed.dense.hardware == torch.cuda.get_device_name()
    assert speed.speed_up > 10


def test_a_device_whose_packages_are_missing_says_how_to_install_them() -> None:
    """In a process that finds no onnxruntime."""
    script = (
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'onnxruntime' else find(name, *rest)\n"
        "from trainables.exports.latency import check_device\n"
        "check_device('onnxruntime-cpu')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert ended.stderr.splitlines()[-1].startswith(
        "ValueError: device 'onnxruntime-cpu' must be on this machine, but is not: pip install 'howcompact[export]'; or"
    )
    check_device("onnxruntime-cpu")

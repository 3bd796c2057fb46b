"""Measures the latency of a pruned network beside the dense one: fewer multiply-accumulates may take as long."""

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainables.arguments import Arguments, call, device_of, each, samples_in, take
from trainables.counts import quantity
from trainables.exports.export import export, missing
from trainables.exports.onnx_file import open_onnx
from trainables.lookup import pick
from trainables.models.layers import count, prunable_layers

Run = Callable[[Arguments], object]


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass."""

    median_ms: float
    low_ms: float  # lower quartile
    high_ms: float  # upper quartile
    runs: int
    batch: int  # images
    threads: int  # of the CPU
    hardware: str  # cpu, or the name of the GPU

    @property
    def spread(self) -> float:
        """The interquartile range of the runs, as a fraction of their median."""
        return (self.high_ms - self.low_ms) / self.median_ms


@dataclass(frozen=True)
class Speed:
    """Latencies of a pruned network and of its dense network, which one device ran in turns."""

    device: str  # one of `DEVICES`
    dense: Latency
    pruned: Latency
    macs: float  # multiply-accumulates with nonzero weights, as a fraction of the dense network's

    @property
    def spread(self) -> float:
        """The larger spread of the two networks' runs."""
        return max(self.dense.spread, self.pruned.spread)

    @property
    def speed_up(self) -> float:
        """The dense network's median latency over the pruned network's."""
        return self.dense.median_ms / self.pruned.median_ms


def latency(run: Run, example: Arguments, runs: int = 50, threads: int = 1) -> Latency:
    """Measure a network in eval mode, or any function of a batch. example: (B, ...) on its device."""
    return in_turns({"": run}, example, runs, threads)[""]


def in_turns(networks: Mapping[str, Run], example: Arguments, runs: int = 50, threads: int = 1) -> dict[str, Latency]:
    """Measure several networks in turns, so that other load on the machine slows all of them alike.

    `runs` / 5 warm-up runs of each are not counted. On a GPU, a run ends when the GPU has finished.
    """
    device = device_of(example)
    on_gpu = device.type == "cuda"
    times: dict[str, list[float]] = {name: [] for name in networks}
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            for turn in range(-(runs // 5), runs):
                for name, run in networks.items():
                    started = time.perf_counter()
                    run(example)
                    if on_gpu:
                        torch.cuda.synchronize(device)
                    if turn >= 0:
                        times[name].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads_before)
    hardware = torch.cuda.get_device_name(device) if on_gpu else "cpu"
    measured = {}
    for name, seconds in times.items():
        low, median, high = (1e3 * float(quantile) for quantile in np.quantile(seconds, (0.25, 0.5, 0.75)))
        measured[name] = Latency(median, low, high, runs, samples_in(example), threads, hardware)
    return measured


def compare(
    dense: nn.Module,
    pruned: nn.Module,
    example: Arguments,
    devices: Sequence[str] = (),
    runs: int = 50,
    threads: int = 1,
) -> list[Speed]:
    """Measure a pruned network and its dense network in turns on each device (default: all that this machine has).

    example: a batch (B, ...) on the CPU. The networks do not change. Raises ValueError for an unknown device, and as
    `export` does if onnxruntime shall run a network that cannot be exported.
    """
    one = take(example, slice(1))
    macs = _macs(pruned, one) / _macs(dense, one)
    speeds = []
    for name in devices or [name for name, device in DEVICES.items() if device.is_here()]:
        device = pick("device", name, DEVICES)
        batch = each(methodcaller("to", device.torch), example)
        networks = {"dense": dense, "pruned": pruned}
        prepared = {role: device.prepare(network, batch, threads) for role, network in networks.items()}
        speeds.append(Speed(name, **in_turns(prepared, batch, runs, threads), macs=macs))
    return speeds


def check_device(name: str) -> None:
    """Raise ValueError for a device that is not one of `DEVICES` and for one that this machine does not have."""
    device = pick("device", name, DEVICES)
    if not device.is_here():
        here = ", ".join(known for known, other in DEVICES.items() if other.is_here())
        raise ValueError(f"device {name!r} must be on this machine, but is not: {device.needs}; or use one of: {here}")


def table(speeds: Sequence[Speed]) -> str:
    """Format the comparison as text: medians in ms with their quartiles, speed-up, multiply-accumulates."""
    rows = [("", "dense ms", "pruned ms", "speed-up", "MACs")]
    rows += [(s.device, _span(s.dense), _span(s.pruned), f"{s.speed_up:.2f}", f"{s.macs:.2f}") for s in speeds]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, *sorted({_setting(s.dense) for s in speeds})])


def _span(time: Latency) -> str:
    return f"{time.median_ms:.2f} ({time.low_ms:.2f} to {time.high_ms:.2f})"


def _setting(time: Latency) -> str:
    return (
        f"{time.hardware}: batches of {time.batch} in float32, {quantity(time.runs, 'run')} of each in turns, "
        "quartiles in brackets, "
        f"{quantity(time.threads, 'thread')}"
    )


def _macs(network: nn.Module, example: Arguments) -> int:
    """Count the multiply-accumulates of one input whose weight is not zero."""
    layers = prunable_layers(network, example)
    masks = {layer.parameter: network.get_parameter(layer.parameter) != 0 for layer in layers}
    return count(network, masks, example).macs_kept


def _in_torch(network: nn.Module, example: Arguments, threads: int) -> Run:
    return partial(call, copy.deepcopy(network).to(device_of(example)).eval())


def _in_onnxruntime(network: nn.Module, example: Arguments, threads: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        return open_onnx(export(network, take(example, slice(1)), Path(folder) / "network.onnx", "onnx").path, threads)


@dataclass(frozen=True)
class Device:
    """A runtime for networks, and what it runs on."""

    about: str  # for the catalog
    torch: str  # torch's name of what holds the inputs
    prepare: Callable[[nn.Module, Arguments, int], Run]
    is_here: Callable[[], bool]
    needs: str = ""  # what to do where it is not here
    packages: tuple[str, ...] = ("torch",)  # whose versions decide how fast it is


DEVICES: dict[str, Device] = {
    "torch-cpu": Device("PyTorch on the CPU", "cpu", _in_torch, lambda: True),
    "onnxruntime-cpu": Device(
        "ONNX Runtime on the CPU",
        "cpu",
        _in_onnxruntime,
        lambda: not missing("onnx"),
        "pip install 'howcompact[export]'",
        ("onnxruntime",),
    ),
    "torch-cuda": Device("PyTorch on the GPU", "cuda", _in_torch, torch.cuda.is_available, "PyTorch sees no GPU"),
}

"""Measures a latency table on this machine."""

import copy
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainables.arguments import Arguments, device_of, dtype_name, each, flat
from trainables.checkpoints.checkpoint import CPU, Architecture
from trainables.device_spec import DeviceName, DeviceSpec
from trainables.exports.latency import DEVICES, Latency, Speed, check_device, compare, in_turns, latency
from trainables.latency.draws import FITTED, draw
from trainables.latency.table import LatencyTable, TableHeader
from trainables.names import GranularityName
from trainables.pruning.granularities import view
from trainables.training.train import to_device

GROUP = 8  # networks that are in memory at once, beside the dense one
RUNS = (10, 50)  # fewest and most of each network
SECONDS = 60.0  # that all runs together shall take
DENSE = "dense"
CPUINFO = Path("/proc/cpuinfo")


def resolved(device: DeviceSpec, on_gpu: bool) -> DeviceName:
    """Return the device that "auto" stands for. on_gpu: whether the trial trains on a GPU."""
    return device.name if device.name != "auto" else "torch-cuda" if on_gpu else "torch-cpu"


def measure(
    model: nn.Module,
    example: Arguments,
    name: str,
    granularity: GranularityName,
    round_to: int,
    device: DeviceSpec,
    say: Callable[[str], None] = lambda _: None,
) -> LatencyTable:
    """Measure the dense network and others of random widths, which keep multiples of `round_to` channels.

    Networks are measured in groups, in turns with the dense one. Their times are divided by the dense network's in the
    same group, so that slow changes of the machine cancel out.

    Args:
        model: the dense network, on the CPU; its weights do not matter.
        example: (1, ...) on the CPU.
        name: what the table calls the network.
        granularity: the units that go.
        round_to: as in a trial.
        device: a runtime of this machine.
        say: gets a line for each group.

    Raises:
        ValueError: the device is not here, the network has no such units, or a file for the runtime cannot be written.
    """
    runtime = resolved(device, torch.cuda.is_available())
    check_device(runtime)
    prunable = view(model, granularity, example, round_to)
    keeps = draw(prunable)
    inputs = each(lambda tensor: tensor.to(DEVICES[runtime].torch), repeated(example, device.batch))

    def prepared(network: nn.Module) -> Callable[[Arguments], object]:
        laid_out = to_device(network.eval(), CPU)
        return DEVICES[runtime].prepare(laid_out, inputs, device.threads)

    dense = prepared(copy.deepcopy(model))
    runs = _runs(latency(dense, inputs, RUNS[0], device.threads).low_ms, len(keeps))
    groups: list[Mapping[str, Latency]] = []
    for start in range(1, len(keeps), GROUP):
        numbers = range(start, min(start + GROUP, len(keeps)))
        networks = {str(n): prepared(_cut(model, granularity, example, round_to, keeps[n])) for n in numbers}
        groups.append(in_turns({DENSE: dense, **networks}, inputs, runs, device.threads))
        say(f"{name}: {numbers.stop} of {len(keeps)} networks measured on {runtime}")
    of_dense = np.array([group[DENSE].low_ms for group in groups])
    times = [float(np.median(of_dense))]
    for group, beside in zip(groups, of_dense, strict=True):
        times += [found.low_ms / beside * times[0] for name, found in group.items() if name != DENSE]
    spreads = [found.spread for group in groups for found in group.values()]
    header = TableHeader(
        model=name,
        inputs=inputs_of(example),
        granularity=granularity,
        units={part.name: part.units for part in prunable.parts},
        round_to=round_to,
        device=runtime,
        hardware=processor() if DEVICES[runtime].torch == "cpu" else torch.cuda.get_device_name(),
        threads=device.threads,
        batch=device.batch,
        runs=runs,
        spread=float(np.median(spreads)),
        drift=float(of_dense.max() / of_dense.min() - 1.0),
        versions={package: version(package) for package in DEVICES[runtime].packages},
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return LatencyTable(header, keeps, np.array(times), np.arange(len(keeps)) >= FITTED)


def beside_dense(pruned: nn.Module, architecture: Architecture, device: DeviceSpec, example: Arguments) -> Speed:
    """Measure a pruned network in turns with the dense one.

    architecture: of the pruned network. example: (1, ...) on the device that the trial trains on.
    """
    dense = to_device(architecture.whole.build(), CPU)  # in the same memory layout
    runtime = resolved(device, device_of(example).type == "cuda")
    batch = repeated(each(lambda tensor: tensor.to(CPU), example), device.batch)
    (speed,) = compare(dense, copy.deepcopy(pruned).to(CPU), batch, [runtime], threads=device.threads)
    return speed


def repeated(example: Arguments, samples: int) -> Arguments:
    """Repeat the one sample of an example: (samples, ...)."""
    batch: Arguments = each(lambda tensor: tensor.repeat(samples, *[1] * (tensor.dim() - 1)), example)
    return batch


def inputs_of(example: Arguments) -> str:
    """Describe the inputs of one sample, as "float32 3x32x32"."""
    return ", ".join(f"{dtype_name(tensor)} {'x'.join(map(str, tensor.shape[1:]))}" for tensor in flat(example))


def processor() -> str:
    """Name this machine's processor."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _runs(ms: float, networks: int) -> int:
    least, most = RUNS
    return min(max(round(SECONDS * 1e3 / max(ms * networks, 1e-9)), least), most)


def _cut(
    model: nn.Module, granularity: GranularityName, example: Arguments, round_to: int, keep: NDArray[np.int64]
) -> nn.Module:
    """Cut a copy of a network; which units stay does not matter."""
    network = copy.deepcopy(model)
    prunable = view(network, granularity, example, round_to)
    prunable.remove({part.name: torch.arange(int(n)) for part, n in zip(prunable.parts, keep, strict=True)})
    return network

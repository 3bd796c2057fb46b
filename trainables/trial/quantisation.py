"""Quantise the network of a trial to int8, and measure the file: accuracy, size, latency."""

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from trainables.arguments import Arguments, take
from trainables.checkpoints.checkpoint import CPU
from trainables.data.collated import on_device
from trainables.data.splits import AnySplits
from trainables.device_spec import DeviceSpec
from trainables.exports.export import INT8, KINDS, export
from trainables.exports.latency import in_turns
from trainables.exports.onnx_file import OnnxNetwork, open_onnx
from trainables.exports.quantise import quantise
from trainables.latency.measuring import repeated
from trainables.outcome import Quantised
from trainables.training.calibration import calibration_samples
from trainables.training.train import evaluate

BATCH = 64  # calibration samples that pass through the file at once
INT8_FILE = f"network.{INT8}{KINDS['onnx'].suffix}"


class Files(NamedTuple):
    """The two ONNX files of a network."""

    exported: Path  # in float32
    int8: Path


def write_int8(network: nn.Module, splits: AnySplits, calibration: int, folder: Path) -> Files:
    """Write a network into a folder as two ONNX files, one in float32 and one in int8.

    calibration: number of training samples by which the int8 file gets its scales. The network does not change. Raises
    ValueError as `export` and `quantise` do.
    """
    samples = calibration_samples(splits, calibration, CPU)
    path = export(network, take(samples.inputs, slice(1)), folder / f"network{KINDS['onnx'].suffix}", "onnx").path
    quantise(path, samples.inputs_of(BATCH), folder / INT8_FILE)
    return Files(path, folder / INT8_FILE)


def latencies(files: Files, example: Arguments, threads: int) -> dict[str, float]:
    """Measure both files in turns in onnxruntime: median milliseconds, by the names that `Quantised` has for them."""
    paths = {"exported_latency_ms": files.exported, "quantised_latency_ms": files.int8}
    runs = {name: open_onnx(path, threads) for name, path in paths.items()}
    return {name: time.median_ms for name, time in in_turns(runs, example, threads=threads).items()}


def quantised(network: nn.Module, splits: AnySplits, calibration: int, timed_as: DeviceSpec | None = None) -> Quantised:
    """Quantise a network on the CPU, and measure its file.

    calibration: as for `write_int8`. timed_as: whose threads and batch the latency of both files is measured with,
    always in onnxruntime; None measures none. Raises ValueError as `write_int8` does.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        files = write_int8(network, splits, calibration, Path(folder))
        val = on_device(splits.val, splits, CPU)
        found = evaluate(OnnxNetwork(files.int8, torch.get_num_threads()), val)
        seconds = time.perf_counter() - started
        times = {}
        if timed_as:
            batch = repeated(val.objective.inputs(val.first()), timed_as.batch)
            times = latencies(files, batch, timed_as.threads)
        return Quantised(
            quantised_accuracy=found.metric,
            quantised_bytes=files.int8.stat().st_size,
            exported_bytes=files.exported.stat().st_size,
            quantised_seconds=seconds,
            quantised_images=min(calibration, len(splits.train)) + len(splits.val),
            **times,
        )

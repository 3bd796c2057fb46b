"""What int8 files cost and save, and how they are best quantised: `python -m tests.benchmarks.int8 CHECKPOINT`.

CHECKPOINT is a folder that `best` wrote. Its network is written as ONNX files: one in float32, one in int8 as trials do
it, and one in int8 for each choice that can be made otherwise. Each file is evaluated on the validation samples, and
timed in onnxruntime on one thread, all files in turns. The name of a network may stand in place of CHECKPOINT. That
network has fresh weights and gets 32 x 32 images of noise, so it is only timed.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from trainables.arguments import take
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import CPU, Architecture
from trainables.data import sources
from trainables.data.batches import Resident
from trainables.data.collated import on_device
from trainables.evaluate import rebuild
from trainables.exports.export import export
from trainables.exports.latency import in_turns
from trainables.exports.onnx_file import OnnxNetwork, feed, open_onnx
from trainables.exports.quantise import _in_float, _Reader, quantise
from trainables.pruning.context import Calibration
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples
from trainables.training.train import evaluate
from trainables.trial.quantisation import BATCH
from trainables.trial.record import TrialRecord

BATCHES = (1, 32)
RUNS = 100
OTHERS: dict[str, dict[str, Any]] = {
    "a scale for each tensor": {"per_channel": False},
    "signed activations": {"activation_type": QuantType.QInt8},
    "ranges by entropy": {"calibrate_method": CalibrationMethod.Entropy},
    "ranges by percentile": {"calibrate_method": CalibrationMethod.Percentile},
    "7-bit weights": {"reduce_range": True},
}


@dataclass(frozen=True)
class Subject:
    """A network, its calibration samples, and its validation samples if it was trained."""

    network: nn.Module
    samples: Calibration
    val: Resident | None


def trained(path: str) -> Subject:
    saved = checkpoint.load(Folder.at(path))
    record = saved.read(TrialRecord)
    splits = sources.load_any(record.data)
    samples = calibration_samples(splits, record.spec.calibration, CPU)
    return Subject(rebuild(saved, CPU), samples, on_device(splits.val, splits, CPU))


def fresh(name: str) -> Subject:
    torch.manual_seed(0)
    network = Architecture(model=name, width=1.0, classes=10, image=(3, 32, 32)).build().eval()
    return Subject(network, Calibration((torch.randn(512, 3, 32, 32), torch.zeros(512, dtype=torch.int64))), None)


def files_of(subject: Subject, folder: Path) -> dict[str, Path]:
    """Write all files of a network: name -> path."""
    samples = subject.samples
    exported = export(subject.network, take(samples.inputs, slice(1)), folder / "float32.onnx", "onnx").path
    paths = {"float32": exported, "int8 as in trials": folder / "int8.onnx"}
    quantise(exported, samples.inputs_of(BATCH), paths["int8 as in trials"])
    prepared = folder / "prepared.onnx"
    quant_pre_process(exported, prepared, skip_symbolic_shape=True)
    graph = onnx.load(prepared).graph
    names = [each.name for each in graph.input]
    settings = {"per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    for number, (name, changes) in enumerate(OTHERS.items()):
        paths[name] = folder / f"{number}.onnx"
        reader = _Reader(feed(names, batch) for batch in samples.inputs_of(BATCH))
        quantize_static(prepared, paths[name], reader, nodes_to_exclude=_in_float(graph), **settings | changes)
    return paths


def main(source: str) -> None:
    """Print a line of Markdown for each file. source: a checkpoint's folder, or the name of a network."""
    subject = trained(source) if Path(source).is_dir() else fresh(source)
    with tempfile.TemporaryDirectory() as folder:
        paths = files_of(subject, Path(folder))
        runs = {name: open_onnx(file) for name, file in paths.items()}
        times = [in_turns(runs, take(subject.samples.inputs, slice(batch)), RUNS) for batch in BATCHES]
        print(f"| file | bytes | accuracy % | {' | '.join(f'ms, batch {batch}' for batch in BATCHES)} |")
        print("|---|---|---|" + "---|" * len(BATCHES))
        for name, file in paths.items():
            accuracy = f"{100 * evaluate(OnnxNetwork(file), subject.val).metric:.2f}" if subject.val else ""
            medians = " | ".join(f"{found[name].median_ms:.3f}" for found in times)
            print(f"| {name} | {file.stat().st_size:,} | {accuracy} | {medians} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])

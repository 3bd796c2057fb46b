"""What int8 files cost and save, and how they are best quantised: `python -m tests.benchmarks.int8 CHECKPOINT`.

CHECKPOINT is a folder that `best` wrote. Its network is written as ONNX in float32, in int8 as trials do it, and so
with one choice changed at a time. Each file is evaluated on the validation samples, and timed in onnxruntime on one
thread, all files in turns.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from trainables.arguments import take
from trainables.checkpoints import checkpoint
from trainables.data import sources
from trainables.data.collated import on_device
from trainables.evaluate import rebuild
from trainables.exports.export import OnnxNetwork, feed, open_onnx
from trainables.exports.latency import in_turns
from trainables.exports.quantise import _in_float, _Reader
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples
from trainables.training.train import evaluate
from trainables.trial.quantisation import BATCH, CPU, write_int8
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


def main(path: str) -> None:
    """Print a line of Markdown for each file."""
    saved = checkpoint.load(Folder.at(path))
    record = saved.read(TrialRecord)
    splits = sources.load_any(record.data)
    network, size = rebuild(saved, CPU), record.spec.calibration
    samples = calibration_samples(splits, size, CPU)
    with tempfile.TemporaryDirectory() as folder:
        files = write_int8(network, splits, size, Path(folder))
        paths = {"float32": files.exported, "int8 as in trials": files.int8}
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(files.exported, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        for number, (name, changes) in enumerate(OTHERS.items()):
            paths[name] = Path(folder) / f"{number}.onnx"
            names = [each.name for each in graph.input]
            settings = {"per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
            reader = _Reader(feed(names, batch) for batch in samples.inputs_of(BATCH))
            quantize_static(prepared, paths[name], reader, nodes_to_exclude=_in_float(graph), **settings | changes)
        val = on_device(splits.val, splits, CPU)
        runs = {name: open_onnx(file) for name, file in paths.items()}
        times = [in_turns(runs, take(samples.inputs, slice(batch)), RUNS) for batch in BATCHES]
        print(f"| file | bytes | accuracy % | {' | '.join(f'ms, batch {batch}' for batch in BATCHES)} |")
        print("|---|---|---|" + "---|" * len(BATCHES))
        for name, file in paths.items():
            accuracy = 100 * evaluate(OnnxNetwork(file), val).metric
            medians = " | ".join(f"{found[name].median_ms:.3f}" for found in times)
            print(f"| {name} | {file.stat().st_size:,} | {accuracy:.2f} | {medians} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])

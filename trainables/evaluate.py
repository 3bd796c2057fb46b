"""Loads a saved network as a plain nn.Module and measures its metric.

`python -m trainables.evaluate FOLDER...` does this in a clean process.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import nn

from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import CPU, Checkpoint
from trainables.checkpoints.epochs import epoch_name
from trainables.checkpoints.record import TrainedRecord
from trainables.data import sources
from trainables.data.collated import on_device
from trainables.data.samples import Samples
from trainables.data.splits import AnySplits, Split
from trainables.exports.onnx_file import OnnxNetwork
from trainables.frozen import Frozen
from trainables.models.trust import NO_TRUST, Trust
from trainables.outcome import Outcome
from trainables.storage.folder import Folder
from trainables.training.process import hardware, own_device
from trainables.training.train import Evaluation, evaluate, to_device


class NetworkInput(Frozen):
    """The images that a network takes, as (pixels / 255 - mean) / std, and the classes of its logits.

    All are empty for the network of a task: its inputs are those of the Task.
    """

    mean: tuple[float, ...]  # of each channel
    std: tuple[float, ...]  # of each channel
    classes: tuple[str, ...]  # in the order of the logits


class Verification(Frozen):
    """What a clean process finds about a saved network."""

    val_accuracy: float  # or the metric of the task
    other_metrics: dict[str, float]  # of the task: name -> value
    quantised_accuracy: float | None  # of the int8 file beside the network, if it was asked for
    hardware: str
    input: NetworkInput


VERIFICATIONS = TypeAdapter(list[Verification])


def load_trial(folder: Folder, outcome: Outcome, device: torch.device, trust: Trust = NO_TRUST) -> nn.Module:
    """Load the network of a trial's best epoch. Raises ValueError as `checkpoint.load` and `rebuild` do."""
    best = outcome.best
    assert best is not None, "only trials with an epoch are loaded"
    return rebuild(checkpoint.load(folder / epoch_name(best.epoch), trust), device)


def rebuild(saved: Checkpoint, device: torch.device) -> nn.Module:
    """Rebuild the network of a checkpoint on a device, with its pruned widths, in eval mode.

    Raises ValueError for a user's own model that is not trusted, and for weights of another network.
    """
    return to_device(saved.network(), device).eval()


def evaluated(model: nn.Module, split: Split | Samples, splits: AnySplits, device: torch.device) -> Evaluation:
    """Evaluate on a split. Images are normalised by the training statistics of `splits`."""
    return evaluate(model, on_device(split, splits, device))


def _main(paths: Sequence[str], trust: Trust, int8: str) -> None:
    """Print a JSON list: for each folder the validation accuracy, the hardware and the network's input.

    int8: name of an int8 ONNX file in each folder, which is evaluated too; empty if there is none.
    """
    device = own_device()
    loaded: dict[str, AnySplits] = {}
    verifications = []
    for path in paths:
        saved = checkpoint.load(Folder.at(path), trust)
        data = saved.read(TrainedRecord).data
        trust.check_task(data.task.function)
        if data.key() not in loaded:
            loaded[data.key()] = sources.load_any(data)
        splits = loaded[data.key()]
        found = evaluated(rebuild(saved, device), splits.val, splits, device)
        quantised = evaluated(OnnxNetwork(Path(path) / int8), splits.val, splits, CPU).metric if int8 else None
        verifications.append(
            Verification(
                val_accuracy=found.metric,
                other_metrics=found.other_metrics,
                quantised_accuracy=quantised,
                hardware=hardware(device),
                input=NetworkInput(mean=splits.mean, std=splits.std, classes=splits.classes),
            )
        )
    print(VERIFICATIONS.dump_json(verifications).decode())


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folders", nargs="+")
    arguments.add_argument("--trust", action="append", default=[])
    arguments.add_argument("--int8", default="")
    parsed = arguments.parse_args()
    _main(parsed.folders, Trust(parsed.trust), parsed.int8)

"""A saved network as a plain one, and its accuracy: `python -m trainables.evaluate FOLDER...` in a clean process."""

import argparse
import json
from collections.abc import Collection, Sequence

import torch
from torch import nn

from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.checkpoints.epochs import epoch_name
from trainables.data import sources
from trainables.data.batches import Resident
from trainables.data.splits import Split, Splits
from trainables.outcome import Outcome
from trainables.spec import DataSpec
from trainables.storage.folder import Folder
from trainables.training.process import hardware, own_device
from trainables.training.train import evaluate, to_device


def load_pruned(path: str, trust: Collection[str] = ()) -> nn.Module:
    """Load a retrieved network as an nn.Module of its cut widths, in eval mode on the CPU.

    trust: models of your own, "package.module:function", that may be imported; others are refused with a ValueError.
    """
    return _rebuild(checkpoint.load(Folder.at(path), trust), torch.device("cpu"))


def load_trial(folder: Folder, outcome: Outcome, device: torch.device, trust: Collection[str] = ()) -> nn.Module:
    """Load the network of a trial's best epoch; trust: as for `load_pruned`."""
    best = outcome.best
    assert best is not None, "only trials that have an epoch are loaded"
    return _rebuild(checkpoint.load(folder / epoch_name(best.epoch), trust), device)


def accuracy_of(model: nn.Module, split: Split, splits: Splits, device: torch.device) -> float:
    """Measure accuracy on a split, normalised by the training statistics of `splits`."""
    return evaluate(model, Resident(split, splits, device)).accuracy


def _rebuild(saved: Checkpoint, device: torch.device) -> nn.Module:
    return to_device(saved.network(), device).eval()


def _main(paths: Sequence[str], trust: Sequence[str]) -> None:
    """Print, for each folder, the accuracy on validation samples, where it was measured, and what the network takes."""
    device = own_device()
    known: dict[str, Splits] = {}
    told = []
    for path in paths:
        saved = checkpoint.load(Folder.at(path), trust)
        data = DataSpec.model_validate(saved.record["data"])
        if data.key() not in known:
            known[data.key()] = sources.load(data)
        splits = known[data.key()]
        told.append(
            {
                "val_accuracy": accuracy_of(_rebuild(saved, device), splits.val, splits, device),
                "hardware": hardware(device),
                "input": {"mean": splits.mean, "std": splits.std, "classes": splits.classes},
            }
        )
    print(json.dumps(told))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folders", nargs="+")
    arguments.add_argument("--trust", action="append", default=[])
    given = arguments.parse_args()
    _main(given.folders, given.trust)

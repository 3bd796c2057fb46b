"""Dense networks: trained once, shared by every trial that starts from them."""

import time

import torch

from trainables import checkpoints
from trainables.checkpoints import Architecture, Checkpoint
from trainables.data.splits import Splits
from trainables.learning.fit import fit, newest_epoch, residents
from trainables.learning.train import evaluate, place
from trainables.spec import DenseSpec, EpochReport
from trainables.storage import Folder


def architecture(spec: DenseSpec, splits: Splits) -> Architecture:
    """Tell how the network for these images is built."""
    channels, height, width = splits.train.images.shape[1:]
    return Architecture(
        model=spec.model, width=spec.width, classes=len(splits.classes), image=(channels, height, width)
    )


def make_dense(spec: DenseSpec, splits: Splits, folder: Folder, unfinished: Folder, device: torch.device) -> None:
    """Train the dense network of `spec` into `folder`, going on from the epochs that an earlier try left `unfinished`.

    The network of the last epoch is kept; its record holds the validation accuracy and the history.
    """
    data = residents(splits, device)
    built = architecture(spec, splits)
    saved = newest_epoch(unfinished)
    if saved is None:
        started = time.perf_counter()
        torch.manual_seed(spec.seed)
        model = place(built.build(), device)
        judged = evaluate(model, data[1])
        seconds = time.perf_counter() - started
        history = [EpochReport(epoch=0, val_accuracy=judged.accuracy, val_loss=judged.loss, seconds=seconds)]
    else:
        model = place(checkpoints.rebuild(built, saved.tensors["network"]), device)
        history = [EpochReport.model_validate(report) for report in saved.record["history"]]
    momenta = saved.tensors.get("momenta", {}) if saved else {}
    reports = fit(model, {}, data, spec.recipe, spec.data, spec.seed, unfinished, {}, history, momenta)
    for report in reports:
        history.append(report)
    record = {
        "architecture": built.model_dump(mode="json"),
        "spec": spec.model_dump(mode="json"),
        "data": spec.data.model_dump(mode="json"),
        "val_accuracy": history[-1].val_accuracy,
        "seconds": sum(report.seconds for report in history),
        "history": [report.model_dump() for report in history],
    }
    checkpoints.save(folder, {"network": model.state_dict()}, record)
    unfinished.delete()


def load_dense(dense: Checkpoint, device: torch.device) -> torch.nn.Module:
    """Rebuild a saved dense network on a device."""
    built = Architecture.model_validate(dense.record["architecture"])
    return place(checkpoints.rebuild(built, dense.tensors["network"]), device)

"""Training that survives: every epoch is judged, kept as a checkpoint and reported."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainables import checkpoints
from trainables.checkpoints import Checkpoint
from trainables.data.batches import Resident
from trainables.data.splits import Splits
from trainables.learning.train import DivergedError, evaluate, sgd, train
from trainables.pruning.layers import Masks
from trainables.spec import DataSpec, EpochReport, Recipe
from trainables.storage import Folder


def residents(splits: Splits, device: torch.device) -> tuple[Resident, Resident]:
    """Put the training and the validation samples on a device."""
    return Resident(splits.train, splits, device), Resident(splits.val, splits, device)


def fit(
    model: nn.Module,
    masks: Masks,
    splits: tuple[Resident, Resident],
    recipe: Recipe,
    augment: DataSpec,
    seed: int,
    folder: Folder,
    record: Mapping[str, Any],
    history: Sequence[EpochReport],
    momenta: Mapping[str, Tensor],
) -> Iterator[EpochReport]:
    """Train on from the last epoch of `history`; yield the report of each further one, once its checkpoint is written.

    splits: training and validation samples. record: what every checkpoint tells beside the history.
    """
    train_data, val_data = splits
    optimizer = sgd(model, recipe)
    _restore(optimizer, model, momenta)
    reports = list(history)
    started = time.perf_counter()  # anew after each yield, so that no waiting for the caller counts
    for loss in train(model, train_data, recipe, augment, seed, optimizer, masks, done=reports[-1].epoch):
        judged = evaluate(model, val_data)
        if not math.isfinite(judged.loss):
            raise DivergedError(f"validation loss must stay finite, but became {judged.loss}; lower lr {recipe.lr}")
        report = EpochReport(
            epoch=reports[-1].epoch + 1,
            val_accuracy=judged.accuracy,
            val_loss=judged.loss,
            train_loss=loss,
            seconds=time.perf_counter() - started,
        )
        reports.append(report)
        save_epoch(folder, model, masks, _momenta(optimizer, model), record, reports)
        yield report
        started = time.perf_counter()


def save_epoch(
    folder: Folder,
    model: nn.Module,
    masks: Masks,
    momenta: Mapping[str, Tensor],
    record: Mapping[str, Any],
    history: Sequence[EpochReport],
) -> None:
    """Save the newest epoch with all it needs to go on, then delete every other one but the best."""
    newest = epoch_name(history[-1].epoch)
    best = epoch_name(max(history, key=lambda report: report.val_accuracy).epoch)
    tensors = {"network": model.state_dict(), "masks": masks, "momenta": momenta}
    told = {**record, "history": [report.model_dump() for report in history]}
    checkpoints.save(folder / newest, {name: group for name, group in tensors.items() if group}, told)
    for name in _epochs(folder):
        if name not in (newest, best):
            (folder / name).delete()


def newest_epoch(folder: Folder) -> Checkpoint | None:
    """Load the newest whole epoch of a folder; a damaged one counts as never written."""
    for name in reversed(_epochs(folder)):
        try:
            return checkpoints.load(folder / name)
        except ValueError:
            continue
    return None


def epoch_name(epoch: int) -> str:
    """Folder of an epoch's checkpoint; names sort as epochs do."""
    return f"epoch-{epoch:05d}"


def _epochs(folder: Folder) -> list[str]:
    return [name for name in folder.folders() if name.startswith("epoch-")]


def _momenta(optimizer: torch.optim.SGD, model: nn.Module) -> dict[str, Tensor]:
    buffers = {name: optimizer.state[p].get("momentum_buffer") for name, p in model.named_parameters()}
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}


def _restore(optimizer: torch.optim.SGD, model: nn.Module, momenta: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if name in momenta:
            buffer = torch.empty_like(parameter, requires_grad=False)  # in the layout of the weights
            optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(momenta[name])

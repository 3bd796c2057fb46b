"""The epochs of a training in its folder: saved as checkpoints, kept or deleted, and resumed from."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.checkpoint import Checkpoint, Tensors
from trainables.checkpoints.epochs import epoch_name, epoch_names
from trainables.checkpoints.record import ProgressRecord
from trainables.models.layers import Masks, weight_name
from trainables.models.trust import Trust
from trainables.outcome import best_of
from trainables.pruning.gates import ChannelGates
from trainables.pruning.masks import apply
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.task_spec import MetricSpec
from trainables.training.record import TrainingRecord
from trainables.training.train import to_device
from trainables.training.updates import Memory

Gate = Callable[[nn.Module], ChannelGates]
MEMORY = "momenta"  # group of a checkpoint: what updates remember
K = TypeVar("K", bound=TrainingRecord)
R = TypeVar("R", bound=TrainingRecord, covariant=True)


@dataclass
class State(Generic[R]):
    """A network between two epochs, with everything that its training needs to resume."""

    model: nn.Module
    record: R  # its history and gates are those of the last checkpoint
    history: list[EpochReport]
    masks: Masks = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)  # of the updates so far
    gates: ChannelGates | None = None  # gates that train with the weights; the record has their reports

    @property
    def epoch(self) -> int:
        """The last epoch that is done; 0 before the first."""
        return self.history[-1].epoch if self.history else 0


@dataclass(frozen=True)
class _Epoch:
    """A training at the end of an epoch, as its checkpoint has it."""

    name: str
    groups: Mapping[str, Tensors]
    record: TrainingRecord

    @classmethod
    def of(cls, state: State[TrainingRecord]) -> Self:
        """Take the newest epoch of `state`. Its tensors change with the next step."""
        apply(state.model, state.masks)  # training may leave -0.0 in masked weights; only 0.0 takes no space
        masks = {name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in state.masks.items()}
        groups = {"network": state.model.state_dict(), "masks": masks, MEMORY: state.memory}
        if state.gates:
            groups["gates"] = state.gates.state_dict()
        groups = {name: group for name, group in groups.items() if group}
        record = state.record.model_copy(update={"history": tuple(state.history), "needed_to_go_on": tuple(groups)})
        return cls(epoch_name(state.epoch), groups, record)

    def copy(self) -> Self:
        """Copy the tensors, which then stay as they are."""
        copied = {name: {key: t.detach().clone() for key, t in group.items()} for name, group in self.groups.items()}
        return type(self)(self.name, copied, self.record)

    def save(self, folder: Folder) -> None:
        """Write the checkpoint."""
        checkpoint.save(folder / self.name, self.groups, self.record.model_dump(mode="json"))


def save_epoch(folder: Folder, state: State[TrainingRecord], metric: MetricSpec) -> None:
    """Save the newest epoch with everything that resuming needs, then delete all others but the best by the metric."""
    newest = _Epoch.of(state)
    newest.save(folder)
    _keep(folder, {newest.name, _best(state.history, metric)})


class Saver:
    """Saves the epochs of a training. An epoch that ends soon after the last save waits for the next one.

    Of the epochs that wait, the best one is copied: the next save writes it, too, if it still is the best.
    """

    def __init__(self, folder: Folder, metric: MetricSpec, pause: float) -> None:
        """metric: chooses the best epoch. pause: seconds between two saves, at least; the last epoch does not wait."""
        self._folder, self._metric, self._pause = folder, metric, pause
        self._saved = time.monotonic()
        self._waiting: list[EpochReport] = []
        self._best: _Epoch | None = None  # of those that wait

    def end(self, state: State[TrainingRecord]) -> list[EpochReport]:
        """Save the newest epoch, or let it wait. Return the reports of all epochs that this call has saved."""
        self._waiting.append(state.history[-1])
        if not state.history[-1].final and time.monotonic() - self._saved < self._pause:
            newest = _Epoch.of(state)
            if newest.name == _best(state.history, self._metric):
                self._best = newest.copy()
            return []
        if self._best and self._best.name == _best(state.history, self._metric):
            self._best.save(self._folder)
        save_epoch(self._folder, state, self._metric)
        reports, self._waiting, self._best = self._waiting, [], None
        self._saved = time.monotonic()
        return reports


def keep_best(folder: Folder, history: Sequence[EpochReport], metric: MetricSpec) -> None:
    """Delete all epochs but the best, and what only resuming needs: the training never resumes after this."""
    best = _best(history, metric)
    _keep(folder, {best})
    manifest.drop_groups(folder / best, ("masks", MEMORY))


def resume(
    folder: Folder,
    kind: type[K],
    model: str,
    device: torch.device,
    gate: Gate | None = None,
    last: int | None = None,
) -> State[K] | None:
    """Load the newest complete epoch of a folder onto a device; None where there is none.

    kind: class of the record. model: name of the network in the spec; its code may be imported. gate: puts gates on the
    network. last: later epochs are ignored.
    """
    saved = newest_epoch(folder, model, last)
    if saved is None:
        return None
    network = to_device(saved.network(), device)
    parameters = dict(network.named_parameters())
    masks = dict[str, Tensor]()
    for key, bits in saved.tensors.get("masks", {}).items():
        name = key if key in parameters else weight_name(key)  # an older version wrote the name of the module
        masks[name] = _unpacked(bits, parameters[name])
    record = saved.read(kind)
    gates = gate(network) if gate else None
    if gates:
        gates.load_state_dict(saved.tensors["gates"])
    return State(network, record, list(record.history), masks, saved.tensors.get(MEMORY, {}), gates)


def newest_epoch(folder: Folder, model: str, last: int | None = None) -> Checkpoint | None:
    """Load the newest complete epoch of a folder; one that is damaged or cannot resume counts as never written.

    model, last: as for `resume`.
    """
    for name in reversed(epoch_names(folder)):
        if last is not None and name >= epoch_name(last + 1):
            continue
        with suppress(ValueError):
            saved = checkpoint.load(folder / name, Trust([model]))
            if saved.read(ProgressRecord).can_resume(saved.tensors):
                return saved
    return None


def _best(history: Sequence[EpochReport], metric: MetricSpec) -> str:
    best = best_of(history, metric)
    assert best is not None, "a training that saves has an epoch"
    return epoch_name(best.epoch)


def _keep(folder: Folder, names: set[str]) -> None:
    for name in epoch_names(folder):
        if name not in names:
            (folder / name).delete()


def _unpacked(bits: Tensor, weight: Tensor) -> Tensor:
    mask = np.unpackbits(bits.numpy(), count=weight.numel()).astype(bool)
    return torch.from_numpy(mask).view(weight.shape).to(weight.device)

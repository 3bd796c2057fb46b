"""Training that can resume: every epoch is evaluated, saved as a checkpoint and reported."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.checkpoints.epochs import epoch_name, epoch_names
from trainables.checkpoints.record import ProgressRecord
from trainables.data.batches import Batch, Resident
from trainables.data.collated import on_device
from trainables.data.splits import AnySplits
from trainables.models.layers import Masks, weight_name
from trainables.models.trust import Trust
from trainables.outcome import best_of
from trainables.pruning.gates import ChannelGates
from trainables.pruning.masks import apply
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.task.objective import Objective
from trainables.task_spec import MetricSpec
from trainables.training.record import TrainingRecord
from trainables.training.recorder import EpochRecord, Recorder
from trainables.training.team import ALONE, Team
from trainables.training.train import DivergedError, Evaluation, Loss, TrainingPlan, evaluate, to_device, train
from trainables.training.updates import Memory, Updates

Data = tuple[Resident, Resident]  # training and validation samples
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


def residents(splits: AnySplits, device: torch.device) -> Data:
    """Put the training and the validation samples on a device."""
    return on_device(splits.train, splits, device), on_device(splits.val, splits, device)


def images_taken(data: Data) -> int:
    """Count the images in all batches so far."""
    return sum(split.taken for split in data)


def fit(
    state: State[TrainingRecord],
    data: Data,
    plan: TrainingPlan,
    folder: Folder,
    recorder: Recorder | None = None,
    team: Team = ALONE,
) -> Iterator[EpochReport]:
    """Train to the end of the plan. Yield the report of each epoch after `state` and a checkpoint hold that epoch.

    folder: of the checkpoints. recorder: records the training samples. team: this worker leads it; all workers train,
    and only the leader saves and reports. Raises DivergedError where a loss is not finite.
    """
    epoch_record = recorder.epoch_record if recorder and recorder.taken == "during" else None
    training = Training(state, plan, epoch_record)
    if state.epoch < plan.epochs:
        team.call(training)
    # Both are set again after each yield, as the caller's time does not count.
    started, before = time.perf_counter(), images_taken(data)
    for loss, validation in training.epochs(data, team):
        if recorder:
            recorder.end(state.epoch + 1, state.model, data[0])
        report = EpochReport(
            epoch=state.epoch + 1,
            train_loss=loss,
            seconds=time.perf_counter() - started,
            images=images_taken(data) - before,
            final=state.epoch + 1 == plan.epochs,
            **validation.reported,
        )
        state.history.append(report)
        if state.gates:
            state.record = state.record.model_copy(update={"gates": (*state.record.gates, state.gates.report())})
        save_epoch(folder, state, data[0].objective.metric.spec)
        yield report
        started, before = time.perf_counter(), images_taken(data)


@dataclass(frozen=True)
class Training:
    """What every worker of a training needs; the leader sends it to its followers."""

    state: State[TrainingRecord]
    plan: TrainingPlan
    epoch_record: EpochRecord | None  # of the training samples; training fills it, if there is one

    def epochs(self, data: Data, team: Team) -> Iterator[tuple[float, Evaluation]]:
        """Train to the end of the plan; yield the training loss and the validation of each epoch.

        `state` changes in place. Raises DivergedError where a loss is not finite.
        """
        state, plan = self.state, self.plan
        if self.epoch_record:
            plan = replace(plan, other_loss=_recorded(plan, data[0].objective, self.epoch_record))
        updates = Updates(state.model, plan.recipe, state.masks, state.gates)
        updates.remember(state.memory)
        with team.synchronised(state.model):
            for loss in train(state.model, data[0], plan, updates, state.epoch, team):
                validation = evaluate(state.model, data[1], team)
                if not math.isfinite(validation.loss):
                    raise DivergedError(
                        f"validation loss must stay finite, but became {validation.loss}; lower lr {plan.recipe.lr}"
                    )
                if self.epoch_record:
                    self.epoch_record.merge(team)
                state.memory = updates.memory()
                yield loss, validation


def _recorded(plan: TrainingPlan, objective: Objective, epoch_record: EpochRecord) -> Loss:
    """Return the loss of a plan, which also records the samples of each batch."""
    loss_of = plan.loss(objective)

    def recorded(batch: Batch, outputs: Tensor) -> Tensor:
        epoch_record.add(batch, outputs, objective)
        return loss_of(batch, outputs)

    return recorded


def save_epoch(folder: Folder, state: State[TrainingRecord], metric: MetricSpec) -> None:
    """Save the newest epoch with everything that resuming needs, then delete all others but the best by the metric."""
    apply(state.model, state.masks)  # training may leave -0.0 in masked weights; only 0.0 takes no space
    newest, best = epoch_name(state.epoch), _best(state.history, metric)
    masks = {name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in state.masks.items()}
    groups = {"network": state.model.state_dict(), "masks": masks, MEMORY: state.memory}
    if state.gates:
        groups["gates"] = state.gates.state_dict()
    groups = {name: group for name, group in groups.items() if group}
    record = state.record.model_copy(update={"history": tuple(state.history), "needed_to_go_on": tuple(groups)})
    checkpoint.save(folder / newest, groups, record.model_dump(mode="json"))
    _keep(folder, {newest, best})


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

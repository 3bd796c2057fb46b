"""Training that survives: every epoch is judged, kept as a checkpoint and reported."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
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
from trainables.data.splits import Splits
from trainables.models.layers import Masks, weight_of
from trainables.models.trust import Trust
from trainables.pruning.gates import ChannelGates
from trainables.pruning.masks import apply
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.training.record import TrainingRecord
from trainables.training.recorder import EpochRecord, Recorder
from trainables.training.team import ALONE, Team
from trainables.training.train import DivergedError, Judgement, Loss, TrainingPlan, evaluate, sgd, to_device, train

Data = tuple[Resident, Resident]  # training and validation samples
Gate = Callable[[nn.Module], ChannelGates]
K = TypeVar("K", bound=TrainingRecord)
R = TypeVar("R", bound=TrainingRecord, covariant=True)


@dataclass
class State(Generic[R]):
    """A network between two epochs, with all that its training needs to go on."""

    model: nn.Module
    record: R  # of every checkpoint; its history and gates are those of the last one
    history: list[EpochReport]
    masks: Masks = field(default_factory=dict)
    momenta: Mapping[str, Tensor] = field(default_factory=dict)
    gates: ChannelGates | None = None  # that are trained along; the record has their reports

    @property
    def epoch(self) -> int:
        """The last epoch that is done; 0 before any."""
        return self.history[-1].epoch if self.history else 0


def residents(splits: Splits, device: torch.device) -> Data:
    """Put the training and the validation samples on a device."""
    return Resident(splits.train, splits, device), Resident(splits.val, splits, device)


def images_taken(data: Data) -> int:
    """Count the images that batches were made of so far."""
    return sum(split.taken for split in data)


def fit(
    state: State[TrainingRecord],
    data: Data,
    plan: TrainingPlan,
    folder: Folder,
    recorder: Recorder | None = None,
    team: Team = ALONE,
) -> Iterator[EpochReport]:
    """Train to the end of the plan; yield the report of each epoch once `state` and its checkpoint hold that epoch.

    team: this worker leads it. All workers train; the leader alone saves and reports.
    """
    epoch_record = recorder.epoch_record if recorder and recorder.taken == "during" else None
    training = Training(state, plan, epoch_record)
    if state.epoch < plan.epochs:
        team.call(training)
    started, before = time.perf_counter(), images_taken(data)  # anew after each yield: no waiting for the caller counts
    for loss, judged in training.epochs(data, team):
        if recorder:
            recorder.end(state.epoch + 1, state.model, data[0])
        report = EpochReport(
            epoch=state.epoch + 1,
            val_accuracy=judged.accuracy,
            val_loss=judged.loss,
            train_loss=loss,
            seconds=time.perf_counter() - started,
            images=images_taken(data) - before,
            final=state.epoch + 1 == plan.epochs,
        )
        state.history.append(report)
        if state.gates:
            state.record = state.record.model_copy(update={"gates": (*state.record.gates, state.gates.report())})
        save_epoch(folder, state)
        yield report
        started, before = time.perf_counter(), images_taken(data)


@dataclass(frozen=True)
class Training:
    """All that every worker of a training must know; the leader sends it to the others."""

    state: State[TrainingRecord]
    plan: TrainingPlan
    epoch_record: EpochRecord | None  # of the training samples, filled while the network trains

    def epochs(self, data: Data, team: Team) -> Iterator[tuple[float, Judgement]]:
        """Train to the end of the plan; yield the training loss and the validation of each epoch in the state."""
        state, plan = self.state, self.plan
        if self.epoch_record:
            plan = replace(plan, loss=_watched(plan.loss, self.epoch_record))
        optimizer = sgd(state.model, plan.recipe, state.gates)
        _restore(optimizer, state.model, state.momenta)
        with team.synchronised(state.model):
            for loss in train(state.model, data[0], plan, optimizer, state.masks, state.epoch, team):
                judged = evaluate(state.model, data[1], team)
                if not math.isfinite(judged.loss):
                    raise DivergedError(
                        f"validation loss must stay finite, but became {judged.loss}; lower lr {plan.recipe.lr}"
                    )
                if self.epoch_record:
                    self.epoch_record.put_together(team)
                state.momenta = _momenta(optimizer, state.model)
                yield loss, judged


def _watched(loss_of: Loss, epoch_record: EpochRecord) -> Loss:
    def watched(batch: Batch, logits: Tensor) -> Tensor:
        epoch_record.see(batch, logits)
        return loss_of(batch, logits)

    return watched


def save_epoch(folder: Folder, state: State[TrainingRecord]) -> None:
    """Save the newest epoch with all it needs to go on, then delete every other one but the best."""
    apply(state.model, state.masks)  # training may leave -0.0 where a weight was removed; 0.0 need not be stored
    newest, best = epoch_name(state.epoch), _best(state.history)
    masks = {name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in state.masks.items()}
    groups = {"network": state.model.state_dict(), "masks": masks, "momenta": state.momenta}
    if state.gates:
        groups["gates"] = state.gates.state_dict()
    groups = {name: group for name, group in groups.items() if group}
    record = state.record.model_copy(update={"history": tuple(state.history), "needed_to_go_on": tuple(groups)})
    checkpoint.save(folder / newest, groups, record.model_dump(mode="json"))
    _keep(folder, {newest, best})


def keep_best(folder: Folder, history: list[EpochReport]) -> None:
    """Keep the network of the best epoch only, once nobody will go on from here."""
    _keep(folder, {_best(history)})
    manifest.drop_groups(folder / _best(history), ("masks", "momenta"))


def resume(
    folder: Folder,
    kind: type[K],
    model: str,
    device: torch.device,
    gate: Gate | None = None,
    last: int | None = None,
) -> State[K] | None:
    """Go on from the newest whole epoch of a folder; None where there is none.

    kind: of the record. model: the name of the network. gate: puts gates on the network. last: no later epoch counts.
    """
    saved = newest_epoch(folder, model, last)
    if saved is None:
        return None
    network = to_device(saved.network(), device)
    masks = {
        name: _unpacked(bits, weight_of(network.get_submodule(name)))
        for name, bits in saved.tensors.get("masks", {}).items()
    }
    record = saved.read(kind)
    gates = gate(network) if gate else None
    if gates:
        gates.load_state_dict(saved.tensors["gates"])
    return State(network, record, list(record.history), masks, saved.tensors.get("momenta", {}), gates)


def newest_epoch(folder: Folder, model: str, last: int | None = None) -> Checkpoint | None:
    """Load the newest whole epoch of a folder; one that is damaged or not to go on from counts as never written.

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


def _best(history: list[EpochReport]) -> str:
    return epoch_name(max(history, key=lambda report: report.val_accuracy).epoch)


def _keep(folder: Folder, names: set[str]) -> None:
    for name in epoch_names(folder):
        if name not in names:
            (folder / name).delete()


def _unpacked(bits: Tensor, weight: Tensor) -> Tensor:
    mask = np.unpackbits(bits.numpy(), count=weight.numel()).astype(bool)
    return torch.from_numpy(mask).view(weight.shape).to(weight.device)


def _momenta(optimizer: torch.optim.SGD, model: nn.Module) -> dict[str, Tensor]:
    buffers = {name: optimizer.state[p].get("momentum_buffer") for name, p in model.named_parameters()}
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}


def _restore(optimizer: torch.optim.SGD, model: nn.Module, momenta: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if name in momenta:
            buffer = torch.empty_like(parameter, requires_grad=False)  # in the layout of the weights
            optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(momenta[name])

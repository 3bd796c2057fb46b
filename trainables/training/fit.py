"""Training that can resume: every epoch is evaluated, saved as a checkpoint and reported."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainables.data.batches import Batch, Resident
from trainables.data.collated import on_device
from trainables.data.splits import AnySplits
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.task.objective import Objective
from trainables.training.record import TrainingRecord
from trainables.training.recorder import EpochRecord, Recorder
from trainables.training.saves import Saver, State
from trainables.training.team import ALONE, Team
from trainables.training.train import DivergedError, Evaluation, Loss, TrainingPlan, evaluate, train
from trainables.training.updates import Updates

Data = tuple[Resident, Resident]  # training and validation samples


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
    pause: float = 0.0,
) -> Iterator[EpochReport]:
    """Train to the end of the plan. Yield the report of each epoch after `state` and a checkpoint hold that epoch.

    folder: of the checkpoints. recorder: records the training samples. team: this worker leads it; all workers train,
    and only the leader saves and reports. pause: seconds between two saves, at least; short epochs are saved together.
    Raises DivergedError where a loss is not finite.
    """
    epoch_record = recorder.epoch_record if recorder and recorder.taken == "during" else None
    training = Training(state, plan, epoch_record)
    if state.epoch < plan.epochs:
        team.call(training)
    saver = Saver(folder, data[0].objective.metric.spec, pause)
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
        yield from saver.end(state)
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

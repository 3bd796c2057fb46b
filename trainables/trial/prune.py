"""Prune a trial's dense network: at once, or in steps with training between them."""

import time
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import nn

from trainables.allocation.plan import of_what_is_left, plan, prune_further
from trainables.arguments import Arguments, device_of
from trainables.artifacts import kinds
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.artifacts.record import DenseRecord
from trainables.compensation.compensation import Targets, compensate
from trainables.data.splits import AnySplits
from trainables.latency.measuring import beside_dense
from trainables.models.layers import count
from trainables.outcome import Cost, Facts, total
from trainables.pruning.context import Calibration, Meter
from trainables.pruning.granularity import Cut
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples
from trainables.training.fit import Data, fit, images_taken
from trainables.training.process import hardware
from trainables.training.recalibration import recalibrate
from trainables.training.saves import State, resume
from trainables.training.team import ALONE, Team
from trainables.training.train import TrainingPlan, evaluate, to_device
from trainables.trial.record import PruningRecord, TrialRecord


def prune(
    spec: TrialSpec,
    splits: AnySplits,
    data: Data,
    storage: Folder,
    folder: Folder,
    team: Team = ALONE,
) -> State[TrialRecord]:
    """Prune the dense network of `spec` to the budget and return its state at epoch 0, unsaved.

    The network is compensated after each pruning if the trial asks for it, and then recalibrated.

    data: training and validation samples on the device. storage: has the dense network and the other shared artifacts.
    folder: for the epochs between two steps; pruning resumes from the newest one there. Between two steps the network
    trains at the constant learning rate of the fine-tuning recipe, on all workers of the team; each step resets
    the optimizer. Raises ValueError where the budget cannot be met.
    """
    device = data[0].device
    needs_samples = spec.compensate or any("samples" in pruning.inputs for pruning in spec.prunings)
    calibration = calibration_samples(splits, spec.calibration, device) if needs_samples else None
    taken: _Step | None = None  # the last step, if this call has taken it
    state = resume(folder, PruningRecord, spec.dense.model, device)
    if state is None:
        state, taken = _first_step(spec, data, storage, calibration, device)
    example = state.record.architecture.example(device)
    for step, quota in enumerate(state.record.steps[1:], start=1):
        until = step * spec.schedule.step_epochs
        if state.epoch > until:
            continue
        recipe = spec.finetune.model_copy(update={"epochs": until, "schedule": "constant", "warmup": 0.0})
        training = TrainingPlan(recipe, spec.dense.data.augment, spec.seed)
        if taken and spec.compensate:
            spent = Meter(calibration)
            taken.compensate(state.model, spec, calibration)
            _charge(state, spent.read())
        deque(fit(state, data, training, folder, team=team), maxlen=0)
        spent = Meter(calibration)
        further = partial(prune_further, state.model, example, spec, calibration, state.masks, quota)
        taken = _Step.take(further, state.model, spec)
        state.masks, state.memory = taken.cut.masks, {}
        to_device(state.model, device)  # pruning may change the memory layout
        _charge(state, spent.read())
    assert taken is not None  # a call that resumes takes the last step: nothing is saved after it
    return _evaluated(state, taken, spec, data, example, calibration)


@dataclass(frozen=True)
class _Step:
    """A pruning step that has been taken."""

    cut: Cut
    before: nn.Module | None  # the network before it, where the trial compensates

    @classmethod
    def take(cls, prune: Callable[[], Cut], model: nn.Module, spec: TrialSpec) -> Self:
        """Prune `model` in place."""
        before = deepcopy(model).eval() if spec.compensate else None
        return cls(prune(), before)

    def compensate(self, model: nn.Module, spec: TrialSpec, calibration: Calibration | None) -> None:
        """Re-fit the pruned network to the network before this step. The trial must compensate."""
        assert self.before is not None
        assert calibration is not None
        targets = Targets.read(self.before, calibration.all_inputs(), spec.seed)
        compensate(model, targets, self.cut, calibration.all_inputs(), spec.recalibrate > 0)


def _charge(state: State[PruningRecord], cost: Cost) -> None:
    """Add a cost to that of the pruning steps."""
    seconds, images = state.record.seconds + cost.seconds, total((state.record.images, cost.images))
    state.record = state.record.model_copy(update={"seconds": seconds, "images": images})


def _first_step(
    spec: TrialSpec, data: Data, storage: Folder, calibration: Calibration | None, device: torch.device
) -> tuple[State[PruningRecord], _Step]:
    """Run the earlier prunings of the trial in turn, each on the result of the one before, then its own first step."""
    started, images_before = time.perf_counter(), images_taken(data)
    dense = saved_dense(storage, spec.dense)
    model = load_dense(dense, device)
    architecture = dense.architecture
    example = architecture.example(device)
    whole = left = count(model, {}, example)
    costs, shared_costs = list[Cost](), list[Cost]()
    taken: _Step | None = None
    meter = Meter(calibration)
    for pruning in spec.prunings:
        if taken:  # batch norm has the statistics of the network before the last pruning
            if spec.compensate:
                taken.compensate(model, spec, calibration)
            recalibrate(model, data[0], spec.recalibrate, spec.finetune.batch_size, spec.seed)
            left = count(model, {}, example)
        artifacts, spent = kinds.read(pruning, storage)
        if pruning.joint:
            model.load_state_dict(artifacts["gates"].network_state)
        chosen = plan(model, example, of_what_is_left(pruning, whole, left), calibration, artifacts)
        taken = _Step.take(chosen.carry_out, model, spec)
        to_device(model, device)  # pruning may change the memory layout
        costs.append(chosen.cost)
        shared_costs.append(spent)
    assert taken is not None  # a trial has at least one pruning
    record = PruningRecord(
        architecture=architecture.cut_as(model),
        dense_accuracy=dense.read(DenseRecord).val_accuracy,
        params_total=whole.params_kept,
        macs_total=whole.macs_kept,
        parts=chosen.parts,
        allocation=Cost.of_all(costs),
        profile=Cost.of_all(shared_costs),
        sizes=whole.weights,
        steps=tuple(dict(quota) for quota in chosen.steps),
        seconds=time.perf_counter() - started,
        images=total((meter.read().images, images_taken(data) - images_before)),
        predicted_latency_ms=chosen.latency_ms,
    )
    return State(model, record, [], taken.cut.masks), taken


def _evaluated(
    state: State[PruningRecord],
    taken: _Step,
    spec: TrialSpec,
    data: Data,
    example: Arguments,
    calibration: Calibration | None,
) -> State[TrialRecord]:
    """Recalibrate and evaluate the pruned network, and once more compensated; return epoch 0 of the recovery."""
    spent = Meter(calibration)
    started, images_before = time.perf_counter(), images_taken(data)
    model, pruning = state.model, state.record
    after = count(model, state.masks, example)
    one_shot = evaluate(model, data[1])
    recalibrate(model, data[0], spec.recalibrate, spec.finetune.batch_size, spec.seed)
    recalibrated = start = evaluate(model, data[1]) if spec.recalibrate else one_shot
    compensation_seconds = None
    if spec.compensate:
        compensation = time.perf_counter()
        taken.compensate(model, spec, calibration)
        recalibrate(model, data[0], spec.recalibrate, spec.finetune.batch_size, spec.seed)
        compensation_seconds = time.perf_counter() - compensation
        start = evaluate(model, data[1])
    timed = beside_dense(model, pruning.architecture, spec.device, example) if spec.latency else None
    seconds = pruning.seconds + sum(report.seconds for report in state.history) + time.perf_counter() - started
    facts = Facts(
        **pruning.model_dump(include={"dense_accuracy", "params_total", "macs_total", "parts"}),
        **{f"allocation_{name}": value for name, value in pruning.allocation},
        **{f"profile_{name}": value for name, value in pruning.profile},
        one_shot_accuracy=one_shot.metric,
        recalibrated_accuracy=recalibrated.metric,
        compensated_accuracy=start.metric if spec.compensate else None,
        compensation_seconds=compensation_seconds,
        params_kept=after.params_kept,
        macs_kept=after.macs_kept,
        params_fixed=after.params_fixed,
        layers={name: after.weights.get(name, 0) / size for name, size in pruning.sizes.items()},
        prune_seconds=seconds,
        predicted_latency_ms=pruning.predicted_latency_ms,
        latency_ms=timed and timed.pruned.median_ms,
        dense_latency_ms=timed and timed.dense.median_ms,
        latency_spread=timed and timed.spread,
        device=timed.device if timed else "",
        hardware=hardware(device_of(example)),
    )
    record = TrialRecord(architecture=pruning.architecture, spec=spec, data=spec.dense.data, facts=facts)
    first = EpochReport(
        epoch=0,
        seconds=seconds,
        images=total(
            (
                *(pruning.images, spent.read().images, images_taken(data) - images_before),
                *(report.images for report in state.history),
            )
        ),
        **start.reported,
    )
    return State(model, record, [first], state.masks)

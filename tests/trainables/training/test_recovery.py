"""Recoveries: what all of the table and each of them must do."""

import copy
import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.conftest import as_if_trained
from tests.trainables.trials import (
    CHANNEL,
    CPU,
    DENSE,
    SPECS,
    WEIGHT,
    assert_identical,
    dense_network,
    facts_of,
    newest,
    without_times,
)
from trainables.checkpoints.checkpoint import Architecture
from trainables.data.splits import Splits
from trainables.names import GranularityName
from trainables.pruning.granularities import view
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.training.fit import fit, residents
from trainables.training.recovery import RECOVERIES, Pruned, reinitialise
from trainables.training.saves import State
from trainables.training.train import TrainingPlan, train
from trainables.training.updates import Updates
from trainables.trial.prune import prune
from trainables.trial.record import TrialRecord
from trainables.trial.trainable import run_trial

EVERY = pytest.mark.parametrize("name", sorted(RECOVERIES))
ARCHITECTURE = Architecture(model="small_cnn", width=0.5, classes=10, image=(1, 8, 8))


def plan_of(name: str, spec: TrialSpec, storage: Folder, macs: float = 1.5) -> TrainingPlan:
    return RECOVERIES[name](Pruned(spec, macs, lambda: dense_network(storage)))


def pruned_by(spec: TrialSpec, splits: Splits, storage: Folder, path: Path) -> State[TrialRecord]:
    return prune(spec, splits, residents(splits, CPU), storage, Folder.at(str(path / "between")))


def matrices(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.dim() > 1}


@EVERY
@SPECS
def test_pruned_stays_pruned_through_every_step_and_the_loss_finite(
    name: str, spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    state, plan = pruned_by(spec, splits, storage, tmp_path), plan_of(name, spec, storage)
    if plan.reinitialise:
        reinitialise(state.model, state.masks, ARCHITECTURE, spec.seed)
    start = {key: tensor.shape for key, tensor in state.model.state_dict().items()}
    seen: list[dict[str, Tensor]] = []
    state.model.register_forward_pre_hook(lambda model, _: seen.append(matrices(model)))
    data = residents(splits, CPU)
    reports = list(fit(state, data, plan, Folder.at(str(tmp_path / "trial"))))
    assert len(reports) == plan.epochs == {"scratch-b": 4}.get(name, 3)  # 1.5 x 3 epochs, rounded to even
    assert len(seen) > 5 * plan.epochs
    for weights in seen:
        for layer, mask in state.masks.items():
            assert torch.equal(weights[layer] != 0, mask)
    assert {key: tensor.shape for key, tensor in state.model.state_dict().items()} == start
    assert all(math.isfinite(report.train_loss or math.nan) and math.isfinite(report.val_loss) for report in reports)


@EVERY
@SPECS
def test_an_interrupted_recovery_goes_on_as_if_nothing_had_happened(
    name: str, spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    spec = spec.model_copy(update={"recovery": name, "sparsity": 0.5})
    whole, broken = Folder.at(str(tmp_path / "whole")), Folder.at(str(tmp_path / "broken"))
    reports = list(run_trial(spec, splits, storage, whole, CPU))
    assert [report.final for report in reports] == [False] * (len(reports) - 1) + [True]
    list(islice(run_trial(spec, splits, storage, broken, CPU), 2))
    torch.manual_seed(99)  # another process has another random state
    assert without_times(list(run_trial(spec, splits, storage, broken, CPU))) == without_times(reports)
    assert_identical(newest(broken), newest(whole))


def test_a_network_that_is_not_drawn_anew_starts_as_it_was_pruned(
    splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    for name in RECOVERIES:
        spec, folder = WEIGHT.model_copy(update={"recovery": name}), Folder.at(str(tmp_path / name))
        first = next(iter(run_trial(spec, splits, storage, folder, CPU)))
        pruned = pruned_by(WEIGHT, splits, storage, tmp_path)
        same = {
            key: torch.equal(t, newest(folder).tensors["network"][key]) for key, t in matrices(pruned.model).items()
        }
        assert set(same.values()) == {not name.startswith("scratch")}
        assert (first.val_loss == pruned.history[0].val_loss) is (not name.startswith("scratch"))
        assert newest(folder).read(TrialRecord).facts.recalibrated_accuracy == pruned.history[0].val_accuracy


def test_rewinding_repeats_the_last_learning_rates_and_batches_of_dense_training(
    splits: Splits, storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = Recipe(epochs=5, lr=0.3, batch_size=100)
    spec = WEIGHT.model_copy(update={"dense": DENSE.model_copy(update={"recipe": dense}), "finetune": Recipe(epochs=2)})
    seen: list[tuple[float, float]] = []
    data, model = residents(splits, CPU)[0], dense_network(storage)

    class Watched(Updates):
        def set_progress(self, done: float) -> None:
            super().set_progress(done)
            seen.append((self._weights.param_groups[0]["lr"], 0.0))

    monkeypatch.setattr("trainables.training.train.Updates", Watched)
    model.register_forward_pre_hook(lambda _, inputs: seen.append((seen.pop()[0], float(inputs[0].sum()))))
    list(train(model, data, TrainingPlan(dense, spec.dense.data.augment, spec.seed)))
    whole = seen.copy()
    seen.clear()
    plan = plan_of("rewind", spec, storage)
    again = copy.deepcopy(model)
    list(train(again, data, plan))
    assert plan.epochs == 2
    assert seen == whole[3 * 3 :]
    assert seen[0][0] == pytest.approx(0.3 * (1 + math.cos(math.pi * 3 / 5)) / 2)


def test_the_teacher_is_untouched(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    teacher = dense_network(storage)
    before = copy.deepcopy(teacher.state_dict())
    plan = RECOVERIES["distill"](Pruned(WEIGHT, 1.0, lambda: teacher))
    state = pruned_by(WEIGHT, splits, storage, tmp_path)
    list(fit(state, residents(splits, CPU), plan, Folder.at(str(tmp_path / "trial"))))
    assert not teacher.training
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in teacher.state_dict().items())


@SPECS
def test_a_start_from_scratch_keeps_widths_and_masks_and_nothing_else(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    state = pruned_by(spec, splits, storage, tmp_path)
    torch.manual_seed(spec.seed)
    untrained = matrices(ARCHITECTURE.build())
    before = matrices(state.model)
    reinitialise(state.model, state.masks, ARCHITECTURE, spec.seed)
    after = matrices(state.model)
    reinitialise(state.model, state.masks, ARCHITECTURE, spec.seed)
    for name, weight in after.items():
        assert torch.equal(weight, matrices(state.model)[name])
        assert weight.shape == before[name].shape
        assert torch.equal(weight == 0, before[name] == 0)
        kept = weight != 0
        first = untrained[name][tuple(slice(extent) for extent in weight.shape)]
        for other in (before[name], first):
            assert (weight[kept] != other[kept]).float().mean() > 0.99
    for module in state.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            fresh = nn.BatchNorm2d(module.num_features).state_dict()
            assert all(torch.equal(fresh[key], tensor) for key, tensor in module.state_dict().items())


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_a_frozen_layer_keeps_what_pruning_left_of_it_at_a_start_from_scratch(granularity: GranularityName) -> None:
    model = as_if_trained(ARCHITECTURE.build())
    block = model.get_submodule("block2").requires_grad_(False)
    prunable = view(model, granularity, ARCHITECTURE.example())
    masks = prunable.remove({part.name: torch.arange(0, part.units, 2) for part in prunable.parts}).masks
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    reinitialise(model, masks, ARCHITECTURE, 0)
    assert not any(parameter.requires_grad for parameter in block.parameters())
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, before[key]) == key.startswith("block2."), key


def test_a_cut_layer_is_drawn_with_the_variance_of_its_own_inputs() -> None:
    built = Architecture(model="small_cnn", width=4.0, classes=10, image=(1, 8, 8))
    model = built.build()
    prunable = view(model, "channel", built.example())
    prunable.remove({part.name: torch.arange(part.units // 4) for part in prunable.parts})
    reinitialise(model, {}, built, 0)
    for name in ("block3.conv", "block4.conv"):
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        assert float(layer.weight.detach().std()) == pytest.approx((2 / (9 * layer.in_channels)) ** 0.5, rel=0.02)
    hidden = model.get_submodule("hidden")
    assert isinstance(hidden, nn.Linear)
    assert float(hidden.weight.detach().abs().max()) == pytest.approx(hidden.in_features**-0.5, rel=0.01)


def test_scratch_b_trains_for_as_many_multiply_accumulates_as_dense_training_took(
    splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    spec, folder = CHANNEL.model_copy(update={"recovery": "scratch-b"}), Folder.at(str(tmp_path))
    reports: list[Any] = list(run_trial(spec, splits, storage, folder, CPU))
    facts = facts_of(folder)
    assert len(reports) - 1 == round(3 * facts.macs_total / facts.macs_kept) > 3
    assert plan_of("scratch", spec, storage).recipe == DENSE.recipe
    assert plan_of("scratch-b", spec, storage, macs=4.0).recipe == DENSE.recipe.model_copy(update={"epochs": 12})

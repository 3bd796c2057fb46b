"""The pruning phase: in steps or at once, killed or not. What is pruned stays pruned."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.trials import (
    CHANNEL,
    CPU,
    DENSE,
    SPECS,
    WEIGHT,
    assert_identical,
    dense_network,
    facts_of,
    make_shared,
    newest,
    outcome_of,
    run_until_killed,
    without_times,
)
from trainables.allocation.plan import plan
from trainables.artifacts.dense import load_dense
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.data.splits import Splits
from trainables.pruning_spec import Schedule
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.training.fit import residents
from trainables.training.updates import Updates
from trainables.trial.prune import prune
from trainables.trial.trainable import run_trial

ITERATIVE, GRADUAL = Schedule(name="iterative", steps=2, step_epochs=2), Schedule(name="gradual", steps=3)
SCHEDULES = pytest.mark.parametrize("schedule", [ITERATIVE, GRADUAL], ids=["iterative", "gradual"])


def scheduled(spec: TrialSpec, schedule: Schedule) -> TrialSpec:
    return spec.model_copy(update={"schedule": schedule})


@SPECS
@SCHEDULES
def test_a_trial_killed_between_two_steps_goes_on_as_if_nothing_had_happened(
    spec: TrialSpec,
    schedule: Schedule,
    splits: Splits,
    storage: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = scheduled(spec, schedule)
    whole = Folder.at(str(tmp_path / "whole"))
    running = run_trial(spec, splits, storage, whole, CPU)
    reports = list(islice(running, 4))
    last = newest(whole)
    assert list(running) == []
    assert [report.epoch for report in reports] == [0, 1, 2, 3]
    for epoch in range(1, 4):  # the two epochs between the steps, and epoch 0
        folder = Folder.at(str(tmp_path / f"broken-{epoch}"))
        run_until_killed(run_trial(spec, splits, storage, folder, CPU), epoch, monkeypatch)
        assert (folder / "pruning").folders()
        torch.manual_seed(99)  # another process has another random state
        running = run_trial(spec, splits, storage, folder, CPU)
        again = list(islice(running, 4))
        assert without_times(again) == without_times(reports)
        assert_identical(newest(folder), last)
        assert list(running) == []
        assert folder.folders() == whole.folders()


@SPECS
@SCHEDULES
def test_what_is_gone_stays_gone_through_every_step(
    spec: TrialSpec,
    schedule: Schedule,
    splits: Splits,
    storage: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = scheduled(spec, schedule)
    seen: list[dict[str, Tensor]] = []

    def look(model: nn.Module, *_: Any) -> None:
        if model.training:
            seen.append({name: p != 0 for name, p in model.named_parameters() if p.dim() > 1})

    def watched(saved: Checkpoint, device: torch.device) -> nn.Module:
        model = load_dense(saved, device)
        model.register_forward_pre_hook(look)
        return model

    monkeypatch.setattr("trainables.trial.prune.load_dense", watched)
    state = prune(spec, splits, residents(splits, CPU), storage, Folder.at(str(tmp_path)))
    steps, batches = plan(dense_network(storage), torch.zeros(1, 1, 8, 8), spec).steps, 5
    assert len(seen) == batches * schedule.step_epochs * (schedule.steps - 1)
    look(state.model.train())
    for n, now in enumerate(seen):
        quota = steps[min(n // (batches * schedule.step_epochs), len(steps) - 1)]
        for name, kept in now.items():
            part = name.removesuffix(".weight")
            if spec.granularity == "weight":
                assert int(kept.sum()) == quota[part]
                assert n == 0 or not (kept & ~seen[n - 1][name]).any()
            elif part in quota:
                assert len(kept) == quota[part]
    assert state.epoch == 0


def test_between_two_steps_the_learning_rate_is_that_of_fine_tuning(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[str, float, int]] = []

    class Watched(Updates):
        def set_progress(self, done: float) -> None:
            super().set_progress(done)
            rate = self._weights.param_groups[0]["lr"]
            used.append((self._recipe.schedule, rate, self._recipe.batch_size))

    monkeypatch.setattr("trainables.training.fit.Updates", Watched)
    prune(scheduled(WEIGHT, GRADUAL), splits, residents(splits, CPU), storage, Folder.at(str(tmp_path)))
    assert set(used) == {("constant", 0.02, 64)}


def test_cut_weights_lie_in_memory_as_those_of_a_loaded_checkpoint(
    splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    for schedule in (Schedule(), GRADUAL):  # another memory layout changes the order of sums, and is slower
        folder = Folder.at(str(tmp_path / schedule.name))
        model = prune(scheduled(CHANNEL, schedule), splits, residents(splits, CPU), storage, folder).model
        convolutions = [p for p in model.parameters() if p.dim() == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)


def test_facts_speak_of_the_final_network(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    for spec in (WEIGHT, CHANNEL):
        at_once, stepwise = (Folder.at(str(tmp_path / f"{spec.granularity}{n}")) for n in range(2))
        list(run_trial(spec, splits, storage, at_once, CPU))
        list(run_trial(scheduled(spec, GRADUAL), splits, storage, stepwise, CPU))
        one, other = facts_of(at_once), facts_of(stepwise)
        for fact in (
            "dense_accuracy",
            "params_total",
            "params_kept",
            "macs_total",
            "macs_kept",
            "layers",
            "parts",
            "params_fixed",
        ):
            assert getattr(one, fact) == getattr(other, fact)
        assert other.recalibrated_accuracy == outcome_of(stepwise).history[0].val_accuracy


def outside(num_classes: int, in_channels: int) -> nn.Module:
    """Build a network with a transposed convolution."""
    up = nn.ConvTranspose2d(8, 6, 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3), up, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes)
    )


def test_facts_count_every_parameter(splits: Splits, tmp_path: Path) -> None:
    dense = DENSE.model_copy(update={"model": f"{__name__}:outside", "width": 1.0, "recipe": Recipe(epochs=0)})
    spec = WEIGHT.model_copy(update={"dense": dense, "sparsity": 0.5, "finetune": Recipe(epochs=0)})
    storage = Folder.at(str(tmp_path))
    make_shared([spec], splits, storage)
    list(run_trial(spec, splits, storage, storage / "trial", CPU))
    facts = facts_of(storage / "trial")
    assert (facts.params_total, facts.params_fixed) == (8 * 9 + 8 * 6 * 2 * 2 + 6 * 10, 8 + 6 + 10)


class Clock:
    """A clock that advances one second each time it is read."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_trial_is_charged_for_all_its_steps_once(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.perf_counter", Clock())
    spec = scheduled(WEIGHT, GRADUAL)
    at_once, whole, broken = (Folder.at(str(tmp_path / name)) for name in ("at-once", "whole", "broken"))
    list(run_trial(WEIGHT, splits, storage, at_once, CPU))
    list(run_trial(spec, splits, storage, whole, CPU))
    run_until_killed(run_trial(spec, splits, storage, broken, CPU), 1, monkeypatch)
    list(run_trial(spec, splits, storage, broken, CPU))
    assert facts_of(broken).prune_seconds == facts_of(whole).prune_seconds
    assert facts_of(whole).prune_seconds == facts_of(at_once).prune_seconds + 2 + 2  # two epochs, two further cuts

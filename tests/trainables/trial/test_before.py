"""Several prunings in one trial: of blocks, then channels, then weights. Sparsities count from the dense network."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from tests.trainables.trials import (
    CPU,
    DENSE,
    WEIGHT,
    facts_of,
    make_shared,
    newest,
    outcome_of,
    run_until_killed,
    without_times,
)
from trainables.allocation.plan import plan
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.artifacts.kinds import SHARED
from trainables.catalog import checks, feasibility
from trainables.checkpoints import artifact_store
from trainables.data.splits import Splits
from trainables.evaluate import load_trial
from trainables.models.layers import count, weight_of
from trainables.pruning_spec import Pruning, Schedule
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

EXAMPLE = torch.zeros(1, 1, 8, 8)
BLOCKS = Pruning(granularity="block", criterion="probe", policy="by-score", sparsity=0.3)
CHANNELS = Pruning(granularity="channel", criterion="l1", policy="capacity", sparsity=0.6)
TRIAL = WEIGHT.model_copy(
    update={
        "dense": DENSE.model_copy(update={"model": "resnet20", "width": 0.25, "recipe": Recipe(epochs=2)}),
        "before": (BLOCKS, CHANNELS),
        "policy": "lamp",
        "calibration": 30,
        "probe": 200,
    }
)


def changed(**settings: Any) -> TrialSpec:
    return TRIAL.model_copy(update=settings)


@pytest.fixture(scope="module")
def stocked(storage: Folder, splits: Splits) -> Folder:
    """A storage that has all that these trials share."""
    make_shared([TRIAL], splits, storage)
    return storage


@pytest.fixture(autouse=True)
def _few_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.allocation.capacity.EXCHANGES", 3)


@pytest.mark.parametrize("steps", [1, 2])
def test_blocks_then_channels_then_weights(
    steps: int, splits: Splits, stocked: Folder, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Schedule() if steps == 1 else Schedule(name="iterative", steps=steps)
    spec = changed(schedule=schedule)
    assert checks.mismatches(spec) == []
    folder, broken = Folder.at(str(tmp_path / "whole")), Folder.at(str(tmp_path / "broken"))
    reports = list(run_trial(spec, splits, stocked, folder, CPU))
    run_until_killed(run_trial(spec, splits, stocked, broken, CPU), 2, monkeypatch)
    assert without_times(list(run_trial(spec, splits, stocked, broken, CPU))) == without_times(reports)

    facts, model = facts_of(folder), load_trial(folder, outcome_of(folder), CPU)
    dense = load_dense(saved_dense(stocked, spec.dense), CPU)
    left = count(model, {}, EXAMPLE)
    assert left.params_kept <= round((1 - CHANNELS.sparsity) * facts.params_total)  # with the masked weights
    nonzero = {name: int((weight_of(model.get_submodule(name)) != 0).sum()) for name in left.weights}
    assert sum(nonzero.values()) == facts.params_kept == round((1 - spec.sparsity) * facts.params_total)
    sizes = count(dense, {}, EXAMPLE).weights
    assert facts.layers == {name: pytest.approx(nonzero.get(name, 0) / size) for name, size in sizes.items()}
    gone = {name for name in sizes if name not in nonzero}
    alone = plan(dense, EXAMPLE, spec.prunings[0], shared={"probe": SHARED["probe"].load(probed(stocked))[0]})
    alone.carry_out()
    assert gone == sizes.keys() - count(dense, {}, EXAMPLE).weights.keys() != set()
    assert facts.profile_images is not None  # those of the probes
    assert facts.profile_images > 0
    assert facts.allocation_evaluations is not None  # those of capacity
    assert facts.allocation_evaluations > 0


def test_a_transformer_loses_branches_then_channels_then_weights(
    splits: Splits, storage: Folder, tmp_path: Any
) -> None:
    dense = DENSE.model_copy(update={"model": "vit", "width": 0.25, "recipe": Recipe(epochs=2)})
    spec, folder = changed(dense=dense, compensate=True, sparsity=0.8), Folder.at(str(tmp_path))
    make_shared([spec], splits, storage)
    list(run_trial(spec, splits, storage, folder, CPU))
    facts, model = facts_of(folder), load_trial(folder, outcome_of(folder), CPU)
    assert newest(folder).architecture.branches
    left = count(model, {}, EXAMPLE)
    assert left.params_kept <= round((1 - CHANNELS.sparsity) * facts.params_total)
    nonzero = sum(int((weight_of(model.get_submodule(name)) != 0).sum()) for name in left.weights)
    assert nonzero == facts.params_kept == round((1 - spec.sparsity) * facts.params_total)


def probed(storage: Folder) -> Folder:
    found = artifact_store.find(storage, "probe", TRIAL.probing.key())
    assert found is not None
    return found


def test_each_pruning_leaves_its_share_of_the_dense_network(splits: Splits, stocked: Folder, tmp_path: Any) -> None:
    spec = changed(before=(CHANNELS,), budget="macs", sparsity=0.8)
    list(run_trial(spec, splits, stocked, Folder.at(str(tmp_path)), CPU))
    facts = facts_of(Folder.at(str(tmp_path)))
    assert (
        facts.macs_kept <= round(0.2 * facts.macs_total) < facts.macs_kept + 64
    )  # a weight is used for at most 64 pixels
    cut = count(load_trial(Folder.at(str(tmp_path)), outcome_of(Folder.at(str(tmp_path))), CPU), {}, EXAMPLE)
    assert 0.33 * facts.macs_total < cut.macs_kept <= round(0.4 * facts.macs_total)
    assert newest(Folder.at(str(tmp_path))).architecture.removed == ()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"before": (CHANNELS, BLOCKS)},
            "must remove finer units than the one before, but got 'channel' before 'block'",
        ),
        (
            {"sparsity": 0.6},
            "as both count from the dense network, but got 0.6 before 0.6",
        ),
        ({"policy": "rdp"}, "must read nothing that is measured on the dense network, but policy 'rdp'"),
        (
            {"policy": "searched"},
            "policy 'searched' must know the parts of the network before it starts, but blocks",
        ),
        (
            {"before": (CHANNELS.model_copy(update={"policy": "random-search"}),)},
            "must use a policy that decides without training, but got 'random-search'",
        ),
        ({"before": (BLOCKS.model_copy(update={"policy": "lamb"}),)}, "did you mean 'lamp'?"),
    ],
)
def test_prunings_that_do_not_follow_each_other_are_refused(settings: dict[str, Any], complaint: str) -> None:
    assert complaint in "\n".join(checks.mismatches(changed(**settings)))


def test_a_budget_that_earlier_prunings_leave_no_room_for_is_refused() -> None:
    beyond = changed(before=(BLOCKS.model_copy(update={"sparsity": 0.9}),), sparsity=0.95)
    (complaint,) = feasibility.unreachable([beyond])
    assert complaint.startswith("resnet20: budget must leave at least")
    assert feasibility.unreachable([TRIAL]) == []


def test_a_trial_is_split_into_its_prunings() -> None:
    first, second, last = changed(schedule=Schedule(name="gradual", steps=3)).prunings
    assert last == changed(before=(), schedule=Schedule(name="gradual", steps=3))
    assert (first.criterion, second.policy, second.sparsity) == ("probe", "capacity", 0.6)
    assert all(earlier.schedule == Schedule() and not earlier.before for earlier in (first, second))
    assert all(earlier.sparsity < later.sparsity for earlier, later in pairwise((first, second, last)))

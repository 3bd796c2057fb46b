"""Trials of networks of several tensors, in order and by name, do all that those of one tensor do."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainables.several_inputs import KINDS_OF_INPUTS, MODELS, data_of
from tests.trainables.trials import (
    CPU,
    assert_identical,
    facts_of,
    make_shared,
    outcome_of,
    run_until_killed,
    without_times,
)
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.data import sources
from trainables.models.trust import Trust
from trainables.pruning_spec import Distillation
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial


def newest_of(folder: Folder, name: str) -> Checkpoint:
    (epoch,) = (each for each in folder.folders() if each.startswith("epoch-"))
    return checkpoint.load(folder / epoch, Trust([MODELS[name]]))


def of(name: str, granularity: str) -> TrialSpec:
    recipe = Recipe(epochs=2, optimizer="adamw", lr=0.003, batch_size=32)
    dense = DenseSpec(model=MODELS[name], data=data_of(name), recipe=recipe)
    finetune = recipe.model_copy(update={"lr": 0.001})
    common = {"dense": dense, "finetune": finetune, "sparsity": 0.5, "policy": "capacity", "calibration": 48}
    criterion = "magnitude" if granularity == "weight" else "group-norm"
    recovered = {"recovery": "distill", "distillation": Distillation(temperature=2.0), "compensate": True}
    return TrialSpec.model_validate(
        {**common, **recovered, "granularity": granularity, "criterion": criterion, "recalibrate": 2}
    )


@KINDS_OF_INPUTS
@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_a_killed_trial_with_capacity_compensation_and_distillation_ends_as_an_undisturbed_one(
    name: str, granularity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, storage = of(name, granularity), Folder.at(str(tmp_path))
    splits = sources.load_any(spec.dense.data)
    make_shared([spec], splits, storage)
    calm, killed = storage / "calm", storage / "killed"
    reports = list(run_trial(spec, splits, storage, calm, CPU))
    run_until_killed(run_trial(spec, splits, storage, killed, CPU), 2, monkeypatch)
    assert without_times(list(run_trial(spec, splits, storage, killed, CPU))) == without_times(reports)
    assert_identical(newest_of(killed, name), newest_of(calm, name))
    facts = facts_of(calm)
    assert outcome_of(calm).status == "done"
    assert facts.compensated_accuracy is not None
    assert facts.params_kept / facts.params_total == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("pair", {"granularity": "channel", "criterion": "gates", "policy": "gates-joint", "gates": {"epochs": 1}}),
        ("sentences", {"granularity": "channel", "criterion": "gates", "policy": "gates", "gates": {"epochs": 1}}),
        (
            "sentences",
            {"granularity": "block", "criterion": "probe", "policy": "by-score", "probe": 60, "sparsity": 0.7},
        ),
        ("pair", {"schedule": {"name": "iterative", "steps": 2}, "criterion": "taylor"}),
        ("sentences", {"policy": "rdp", "compensate": True, "latency": True}),
    ],
)
def test_trials_of_all_kinds_run(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    plain = of(name, "weight").model_dump() | {"recovery": "finetune", "policy": "uniform", "compensate": False}
    spec, storage = TrialSpec.model_validate(plain | settings), Folder.at(str(tmp_path))
    splits = sources.load_any(spec.dense.data)
    make_shared([spec], splits, storage)
    list(run_trial(spec, splits, storage, storage / "trial", CPU))
    assert outcome_of(storage / "trial").status == "done"
    facts = facts_of(storage / "trial")
    assert facts.params_kept / facts.params_total == pytest.approx(1 - spec.sparsity, abs=0.05)

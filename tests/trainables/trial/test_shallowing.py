"""Whole trials that remove blocks: they are probed, pruned, distilled, killed, continued and loaded."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainables.trials import (
    CPU,
    DENSE,
    WEIGHT,
    assert_identical,
    dense_network,
    facts_of,
    make_shared,
    newest,
    outcome_of,
    without_times,
)
from trainables.catalog import checks, feasibility
from trainables.checkpoints.checkpoint import Architecture
from trainables.data.splits import Splits
from trainables.evaluate import load_trial
from trainables.models.layers import count
from trainables.pruning.blocks import Blocks
from trainables.pruning_spec import Schedule
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.training.fit import residents
from trainables.training.train import evaluate
from trainables.trial.trainable import run_trial

EXAMPLE = torch.zeros(1, 1, 8, 8)
SMALL = WEIGHT.model_copy(
    update={"granularity": "block", "criterion": "probe", "policy": "by-score", "sparsity": 0.5, "probe": 200}
)
RESNET = SMALL.model_copy(
    update={"dense": DENSE.model_copy(update={"model": "resnet20", "width": 0.25, "recipe": Recipe(epochs=2)})}
)
CELLS = {
    "probe": SMALL,
    "distilled": RESNET.model_copy(update={"recovery": "distill", "budget": "macs"}),
    "projected": RESNET.model_copy(update={"granularity": "projected-block", "sparsity": 0.8}),
    "profiled": RESNET.model_copy(update={"policy": "rdp", "calibration": 50}),
    "transformer": SMALL.model_copy(
        update={
            "dense": DENSE.model_copy(update={"model": "vit", "width": 0.25, "recipe": Recipe(epochs=2)}),
            "recovery": "distill",
            "budget": "macs",
            "compensate": True,
        }
    ),
    "anew": SMALL.model_copy(update={"granularity": "projected-block", "recovery": "scratch", "sparsity": 0.7}),
}


@pytest.fixture(scope="module")
def stocked(storage: Folder, splits: Splits) -> Folder:
    """A storage that has all that these trials share."""
    make_shared(CELLS.values(), splits, storage)
    return storage


@pytest.mark.parametrize("cell", CELLS)
def test_a_killed_trial_goes_on_and_its_network_is_read_back(
    cell: str, splits: Splits, stocked: Folder, tmp_path: Path
) -> None:
    spec, whole, broken = CELLS[cell], Folder.at(str(tmp_path / "whole")), Folder.at(str(tmp_path / "broken"))
    assert checks.mismatches(spec) == []
    running = run_trial(spec, splits, stocked, whole, CPU)
    reports = list(islice(running, 3))
    last = newest(whole)
    list(running)
    list(islice(run_trial(spec, splits, stocked, broken, CPU), 2))
    again = run_trial(spec, splits, stocked, broken, CPU)
    assert without_times(list(islice(again, 3))) == without_times(reports)
    assert_identical(newest(broken), last)
    facts, outcome = facts_of(whole), outcome_of(whole)
    model = load_trial(whole, outcome, CPU)
    counted = count(model, {}, EXAMPLE)
    assert (facts.params_kept, facts.macs_kept) == (counted.params_kept, counted.macs_kept)
    spent, total = (
        (counted.macs_kept, facts.macs_total) if spec.budget == "macs" else (counted.params_kept, facts.params_total)
    )
    assert spent <= round((1 - spec.sparsity) * total)
    assert {name for name, density in facts.layers.items() if density == 0} == {*facts.layers} - {*counted.weights}
    assert outcome.best is not None
    assert evaluate(model, residents(splits, CPU)[1]).metric == pytest.approx(outcome.best.val_accuracy, abs=1e-6)
    assert facts.profile_images
    assert facts.profile_images >= 200 + 90  # images that the probes read


def test_the_blocks_that_stay_have_their_trained_weights(splits: Splits, stocked: Folder, tmp_path: Path) -> None:
    spec, folder = SMALL.model_copy(update={"finetune": Recipe(epochs=0), "recalibrate": 0}), Folder.at(str(tmp_path))
    list(run_trial(spec, splits, stocked, folder, CPU))
    saved, whole = newest(folder), dense_network(stocked).state_dict()
    assert saved.architecture.removed == ("block4",)
    for name, tensor in saved.tensors["network"].items():
        assert torch.equal(tensor, whole[name])
    assert {*whole} - {*saved.tensors["network"]} == {name for name in whole if name.startswith("block4.")}


def test_budgets_below_what_removal_reaches_are_refused_with_the_highest() -> None:
    blocks = Blocks(dense := Architecture(model="small_cnn", width=0.5, classes=10, image=(1, 8, 8)).build(), EXAMPLE)
    assert count(dense, {}, EXAMPLE).params_kept == blocks.cost(np.array([1]), "params")
    highest = 1 - blocks.cost(np.array([0]), "params") / blocks.cost(np.array([1]), "params")
    (complaint,) = feasibility.unreachable([SMALL.model_copy(update={"sparsity": 0.9})])
    assert complaint.startswith("small_cnn: budget must leave at least")
    assert f"use a sparsity of at most {int(highest * 1e4) / 1e4}; not pruned: block3 (changes the shape)" in complaint
    assert feasibility.unreachable([SMALL]) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"granularity": "channel"}, "criterion 'probe' must go with granularity block or projected-block, but got"),
        ({"criterion": "magnitude"}, "criterion 'magnitude' must go with granularity weight, but got 'block'"),
        ({"policy": "uniform-plus"}, "policy 'uniform-plus' must go with granularity weight, but got 'block'"),
        (
            {"schedule": Schedule(name="gradual", steps=2)},
            "granularity 'block' must go at once, but got schedule",
        ),
    ],
)
def test_what_means_nothing_for_blocks_is_refused(change: dict[str, object], complaint: str) -> None:
    (mismatch,) = checks.mismatches(SMALL.model_copy(update=change))
    assert mismatch.startswith(complaint)


def test_keys_of_trials_that_are_not_probed_stay_as_they_were() -> None:
    assert TrialSpec().key() == "44136fa355b3678a"
    assert SMALL.probing.key() != SMALL.model_copy(update={"probe": 100}).probing.key()

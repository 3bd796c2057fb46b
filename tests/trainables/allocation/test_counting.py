"""Counted evaluations and images are those that really run through a network, measured at its last layer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainables.conftest import as_if_trained
from tests.trainables.trials import CHANNEL, CPU, WEIGHT, facts_of, outcome_of
from trainables.allocation import capacity, random_draws
from trainables.allocation.plan import plan
from trainables.allocation.profiles import Profile, to_parquet
from trainables.artifacts.profile import load_profile, measure_profile
from trainables.checkpoints import manifest
from trainables.data.splits import Splits
from trainables.models import hub
from trainables.outcome import Cost
from trainables.pruning.context import Calibration
from trainables.pruning_spec import Schedule
from trainables.spec import ProfileSpec, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

LAYERS = (torch.ops.aten.addmm.default, torch.ops.aten.linear.default)
SAMPLES, CLASSES = 14, 10
EXAMPLE = torch.zeros(1, 1, 8, 8)


class Watched(TorchDispatchMode):
    """Counts the images that reach the logits. Single images are examples that only show shapes, and do not count."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.images = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in LAYERS and len(out) > 1 and out.shape[1] == CLASSES:
            self.images += len(out)
        return out


@pytest.fixture(autouse=True)
def _few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "EXCHANGES", 5)
    monkeypatch.setattr(random_draws, "DRAWS", 5)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return as_if_trained(hub.build("small_cnn", CLASSES, 1, 0.5))


def some_samples() -> Calibration:
    torch.manual_seed(0)
    return Calibration((torch.randn(SAMPLES, 1, 8, 8), torch.arange(SAMPLES) % CLASSES))


LOOKING = [
    *((policy, *how) for how in (("weight", "magnitude"), ("channel", "l1")) for policy in ("uniform", "random-best")),
    *((policy, *how) for how in (("weight", "taylor"), ("channel", "snip")) for policy in ("erk", "snip", "capacity")),
    ("capacity-information", "channel", "l1"),
]


@pytest.mark.parametrize(("policy", "granularity", "criterion"), LOOKING)
def test_an_allocation_counts_all_images_that_it_runs(policy: str, granularity: str, criterion: str) -> None:
    settings = {"policy": policy, "granularity": granularity, "criterion": criterion, "recalibrate": 0}
    samples = some_samples()
    samples.evaluations = 7  # counted by an earlier user of the samples
    with Watched() as watched:
        cost = plan(network(), EXAMPLE, TrialSpec.model_validate(settings), samples).cost
    assert cost.evaluations is not None
    assert cost.images == watched.images == cost.evaluations * SAMPLES
    assert (watched.images > 0) == (policy not in ("uniform", "erk") or criterion in ("taylor", "snip"))


def test_an_allocation_without_samples_counts_none() -> None:
    cost = plan(network(), EXAMPLE, TrialSpec(policy="lamp")).cost
    assert (cost.evaluations, cost.images) == (0, 0)


@pytest.mark.parametrize(("granularity", "criterion"), [("weight", "magnitude"), ("channel", "taylor")])
def test_a_profile_counts_a_partial_run_as_a_whole_one(granularity: str, criterion: str) -> None:
    samples = some_samples()
    spec = ProfileSpec.model_validate({"granularity": granularity, "criterion": criterion, "levels": 6})
    with Watched() as watched:
        measure_profile(network(), EXAMPLE, spec, samples)
    traced = SAMPLES  # tracing the network runs the samples once more
    assert samples.evaluations * SAMPLES == watched.images - traced


def test_a_profile_of_an_older_version_has_no_counts(tmp_path: Path) -> None:
    curve = {"a": (1.0, 0.5)}
    files = {"profile.parquet": to_parquet(Profile((0.0, 1.0), 1.0, curve, curve, curve, curve))}
    record = json.dumps({"cost": {"seconds": 2.5}}).encode()
    manifest.write_files(Folder.at(str(tmp_path)), files | {"record.json": record})
    assert load_profile(Folder.at(str(tmp_path)))[1] == Cost(seconds=2.5, evaluations=None, images=None)


SEARCHING = WEIGHT.model_copy(update={"policy": "capacity", "calibration": 60})
STEPWISE = SEARCHING.model_copy(update={"criterion": "taylor", "schedule": Schedule(name="iterative", steps=2)})


SCRATCH = CHANNEL.model_copy(update={"recovery": "scratch"})


@pytest.mark.parametrize("spec", [SEARCHING, STEPWISE, CHANNEL, SCRATCH], ids=["one-shot", "steps", "cut", "scratch"])
def test_a_trial_counts_all_images_that_it_runs(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    folder = Folder.at(str(tmp_path))
    with Watched() as watched:
        first, *epochs = run_trial(spec, splits, storage, folder, CPU)
    assert [report.images for report in epochs] == [300 + 90] * 3
    facts = facts_of(folder)
    before = (facts.allocation_images or 0) + 3 * 64 + 2 * 90  # recalibration and two evaluations
    if spec == STEPWISE:
        before += 60 + 300 + 90  # new scores, and the epoch between the steps
    elif spec == SCRATCH:
        before += 90  # evaluated after it is initialised again
    assert first.images == before
    assert outcome_of(folder).images == watched.images

"""Trials with functions of the user's own run, go on after a kill, and are known by the code of the functions."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.catalog.conftest import RULES
from tests.trainables.trials import CPU, DENSE, WEIGHT, facts_of, outcome_of, without_times
from trainables.catalog.checks import conflicts
from trainables.data.splits import Splits
from trainables.models import own_code
from trainables.names import GranularityName
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

pytestmark = pytest.mark.usefixtures("rules")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "tried_rules:half"}, "did you mean 'halves'"),
        ({"policy": "no_such_rules:halves"}, "must name a module that can be imported"),
        (
            {"policy": "tried_rules:reads_all", "granularity": "channel", "criterion": "l1"},
            "must go with granularity weight",
        ),
        ({"recovery": "tried_rules:two"}, "give it this parameter"),
        ({"criterion": "tried_rules:nope"}, "function of tried_rules must be a known name"),
        ({"finetune": Recipe(optimizer="lion")}, "optimizer must be a known name, but got 'lion'"),
        ({"finetune": Recipe(optimizer="tried_rules:halves")}, "give it these 2 parameters"),
    ],
)
def test_a_trial_is_refused_before_it_runs(settings: dict[str, object], message: str) -> None:
    (complaint,) = conflicts(WEIGHT.model_copy(update=settings))
    assert message in complaint


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_a_trial_runs_with_functions_as_with_the_same_names(
    granularity: GranularityName, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    update = {"granularity": granularity, "criterion": "l1" if granularity == "channel" else "magnitude"}
    named = WEIGHT.model_copy(update={**update, "policy": "uniform", "recovery": "finetune"})
    own = named.model_copy(
        update={"policy": "tried_rules:halves", "criterion": "tried_rules:magnitudes", "recovery": "tried_rules:twice"}
    )
    folder = Folder.at(str(tmp_path / "own"))
    assert conflicts(own) == []
    list(run_trial(own, splits, storage, folder, CPU))
    facts = facts_of(folder)
    assert outcome_of(folder).status == "done"
    first, second = np.split(np.array(list(facts.parts.values())), [(len(facts.parts) + 1) // 2])
    assert second.mean() > 1.5 * first.mean()
    assert facts.params_kept <= round((1 - own.sparsity) * facts.params_total)


@pytest.mark.parametrize("stops", [1, 2])
def test_a_trial_trains_with_an_optimizer_of_the_users_own_and_goes_on_after_a_kill(
    stops: int, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    recipe = Recipe(epochs=3, lr=0.01, optimizer="tried_rules:factors")
    own = WEIGHT.model_copy(update={"finetune": recipe})
    whole, broken = (Folder.at(str(tmp_path / name)) for name in ("whole", "broken"))
    reports = list(run_trial(own, splits, storage, whole, CPU))
    list(islice(run_trial(own, splits, storage, broken, CPU), stops))
    assert without_times(list(run_trial(own, splits, storage, broken, CPU))) == without_times(reports)


def test_a_trial_trains_by_torchs_adam_as_torch_does(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    """AdamW without decay is Adam."""
    ours = Recipe(epochs=2, lr=0.01, optimizer="adamw", weight_decay=0.0)
    results = [
        list(run_trial(WEIGHT.model_copy(update={"finetune": recipe}), splits, storage, Folder.at(str(folder)), CPU))
        for folder, recipe in (
            (tmp_path / "ours", ours),
            (tmp_path / "own", ours.model_copy(update={"optimizer": "tried_rules:adam"})),
        )
    ]
    losses = [[report.val_loss for report in reports] for reports in results]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_code_counts_in_the_key_of_its_trials_only(rules: Path) -> None:
    names = {"policy": "tried_rules:halves", "dense": DENSE}
    before = {"tried_rules:halves": own_code.checksum("tried_rules"), "tried_rules:twice": "0" * 16}
    trial = TrialSpec.model_validate(names).with_code(before)
    assert trial.code == f"tried_rules:halves {before['tried_rules:halves']}"
    assert TrialSpec(dense=DENSE).with_code(before) == TrialSpec(dense=DENSE)
    reading = TrialSpec(policy="tried_rules:reads_all", dense=DENSE)
    assert reading.inputs == set()  # nothing is imported to read a trial
    assert reading.with_code(own_code.described(reading.functions)).inputs == {"samples", "profile"}
    rules.write_text(f"# a comment\n{RULES}")
    assert own_code.checksum("tried_rules") == before["tried_rules:halves"]
    rules.write_text(RULES.replace("1.0, 2.0", "1.0, 3.0"))
    after = {"tried_rules:halves": own_code.checksum("tried_rules")}
    assert TrialSpec.model_validate(names).with_code(after).key() != trial.key()
    assert trial.profile.code == ""
    scored = trial.model_copy(update={"criterion": "tried_rules:magnitudes"}).with_code({"tried_rules:magnitudes": "1"})
    assert scored.profile.code == "tried_rules:magnitudes 1"

"""Functions of the user's own as policies, criteria and recoveries: what they get, and how faults are named."""

import re
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.trials import CPU, DENSE, WEIGHT, facts_of, outcome_of, without_times
from trainables.allocation.policies import policy
from trainables.catalog.checks import conflicts
from trainables.catalog.contract import check_function
from trainables.data.splits import Splits
from trainables.models import own_code
from trainables.names import GranularityName
from trainables.plugins import FunctionKind, needs, needs_of
from trainables.pruning.criteria import CRITERIA
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

RULES = """
import numpy as np
import torch
from trainables.allocation.from_shapes import erk
from trainables.data.batches import Drawn
from trainables.plugins import needs
from trainables.pruning.criteria import l1
from trainables.training.recovery import finetune


@needs(granularities=("weight", "channel"))
def halves(problem):
    parts = problem.prunable.parts
    density = np.where(np.arange(len(parts)) < len(parts) / 2, 1.0, 2.0)
    return lambda scale: scale * density * np.array([part.units for part in parts])


@needs("samples", "profile", granularities=("weight",))
def reads_all(problem):
    assert len(problem.measured.levels) > 1 and len(problem.context.samples.inputs) > 1
    return erk(problem)


def magnitudes(context):
    return l1(context)


def twice(pruned):
    return finetune(pruned)


def falls(problem):
    units = np.array([part.units for part in problem.prunable.parts])
    return lambda scale: units / scale


def too_few(problem):
    return lambda scale: np.ones(1)


def nothing(problem):
    return lambda scale: np.full(len(problem.prunable.parts), np.nan)


def breaks(problem):
    raise KeyError("layer7")


def changes(problem):
    with torch.no_grad():
        next(problem.prunable.model.parameters()).add_(1.0)
    return erk(problem)


def dices(problem):
    densities = np.random.default_rng().uniform(0.1, 1.0, len(problem.prunable.parts))
    return lambda scale: scale * densities * np.array([part.units for part in problem.prunable.parts])


def scores_parts(context):
    return {part.name: torch.ones(1) for part in context.prunable.parts}


def not_finite(context):
    return {part.name: torch.full((part.units,), torch.inf) for part in context.prunable.parts}


def no_plan(pruned):
    return pruned.spec.finetune


def two(first, second):
    pass


def few_scores(records):
    return records.hits


def no_number(records):
    return records.margins.mean(axis=0)


def chance(records):
    return np.random.default_rng().random(len(records.ids))


def no_draw(context):
    return context.order


def too_few_samples(context):
    return lambda epoch: Drawn(torch.from_numpy(context.order[:300]))


def weightless(context):
    return lambda epoch: Drawn(torch.from_numpy(context.order), torch.full((600,), -1.0))


def gambles(context):
    return lambda epoch: Drawn(torch.randperm(len(context.order)))


def easiest(context):
    first = torch.from_numpy(context.order[:100])
    return lambda epoch: Drawn(first.repeat(len(context.order))[: len(context.order)])


def adam(parameters, recipe):
    return torch.optim.Adam(parameters, lr=recipe.lr)


def factors(parameters, recipe):
    return torch.optim.Adafactor(parameters, lr=recipe.lr)  # its state has other shapes than the weights


def no_optimizer(parameters, recipe):
    return [parameter for _, parameter in parameters]


def closes(parameters, recipe):
    return torch.optim.LBFGS(parameters, lr=recipe.lr)


def nothing_learns(parameters, recipe):
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=recipe.lr)


class Counting(torch.optim.SGD):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.count = 0

    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            group["lr"] /= self.count
        return super().step(closure)


def forgets(parameters, recipe):
    return Counting(parameters, recipe.lr)


class Replacing(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data = parameter.data - group["lr"] * parameter.grad


def replaces(parameters, recipe):
    return Replacing(parameters, recipe.lr)


class Naming(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["count"] = 1
        return super().step(closure)


def names(parameters, recipe):
    return Naming(parameters, recipe.lr)
"""


@pytest.fixture(autouse=True)
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "tried_rules", raising=False)  # of another test's folder
    file = tmp_path / "tried_rules.py"
    file.write_text(RULES)
    monkeypatch.syspath_prepend(tmp_path)
    return file


@pytest.mark.parametrize(
    ("kind", "name", "granularities"),
    [
        ("policy", "halves", ["weight", "channel"]),
        ("policy", "reads_all", ["weight"]),
        ("criterion", "magnitudes", ["weight", "channel", "block", "projected-block"]),
    ],
)
def test_a_sound_function_passes(kind: FunctionKind, name: str, granularities: list[str]) -> None:
    held = check_function(kind, f"tried_rules:{name}")
    assert [line.partition(":")[0] for line in held] == granularities


def test_a_sound_recovery_passes() -> None:
    assert check_function("recovery", "tried_rules:twice")[0].startswith("3 epochs for a trial with finetune.epochs 3")


@pytest.mark.parametrize("name", ["adam", "factors"])
def test_a_sound_optimizer_passes(name: str) -> None:
    (held,) = check_function("optimizer", f"tried_rules:{name}")
    assert held.endswith("and go on from a saved state")


def test_the_functions_of_the_readme_hold(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "trainables" / "README.md").read_text()
    section = text[text.index("## Functions of your own") : text.index("## Recipes")]
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", section, re.DOTALL)):
        assert len(code.splitlines()) <= 20
        (tmp_path / f"shown_{number}.py").write_text(code)
    assert check_function("policy", "shown_0:halves")
    assert check_function("criterion", "shown_1:largest")
    (planned,) = check_function("recovery", "shown_1:longer")
    assert planned.startswith("6 epochs for a trial with finetune.epochs 3")
    assert check_function("optimizer", "shown_2:radam")
    (scored,), (drawn,) = check_function("measure", "shown_3:late"), check_function("curriculum", "shown_3:halving")
    assert scored == "600 samples scored, from -4 (hard) to 0 (easy)"
    assert drawn.startswith("4 epochs of 600 samples drawn, 600 of them different")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("policy", "falls", "must give no part fewer units at a larger scale"),
        ("policy", "too_few", r"an array of shape \(6,\), but at scale 1 it gives array\(\[1\.\]\)"),
        ("policy", "nothing", r"finite units of each part.* gives array\(\[nan"),
        ("policy", "breaks", "tried_rules:breaks must run on small_cnn, but failed with KeyError: 'layer7'"),
        ("policy", "changes", "policy 'tried_rules:changes' must leave the network as it is"),
        ("policy", "dices", "must share a budget the same way twice"),
        ("criterion", "scores_parts", r"must score each unit of each part: .*'block1\.conv': \d+.* gives .*\(1,\)"),
        ("criterion", "not_finite", "the scores of criterion 'tried_rules:not_finite' must be finite"),
        ("recovery", "no_plan", "must return a TrainingPlan, but returned a Recipe"),
        ("recovery", "two", r"must be callable as two\(pruned\), but: missing a required argument: 'second'"),
        ("policy", "half", "did you mean 'halves'"),
        (
            "measure",
            "few_scores",
            r"^measure .*must return a number for each sample.* \(600,\), but returned one of shape \(4, 600",
        ),
        ("measure", "no_number", "must be finite, but are not for 1 of 600 samples, of which one was never drawn"),
        ("measure", "chance", "must score the same way twice"),
        ("curriculum", "no_draw", "must return a draw: epoch -> Drawn, but returned array"),
        ("curriculum", "too_few_samples", "must draw as many samples as there are: .* but in epoch 0 draws tensor"),
        ("curriculum", "weightless", "must be 600 finite numbers, at least 0, but in epoch 0 are tensor"),
        ("curriculum", "gambles", r"must draw the same for an epoch twice, .* draw by context\.generator\(epoch\)"),
        ("curriculum", "two", r"^curriculum .* must be callable as two\(context\)"),
        ("optimizer", "no_optimizer", "must return an optimizer of torch .* but returned a list"),
        ("optimizer", "closes", "must run on small_cnn, but failed with TypeError"),
        ("optimizer", "nothing_learns", "must change weights, but changes none"),
        ("optimizer", "forgets", "must go on from the state of each parameter, as after a kill, but goes on otherwise"),
        ("optimizer", "replaces", "must change weights in place"),
        ("optimizer", "names", r"must keep its state as tensors, .* but \['count'\] is none"),
        ("optimizer", "halves", r"must be callable as halves\(parameters, recipe\)"),
    ],
)
def test_a_fault_is_named(kind: FunctionKind, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_function(kind, f"tried_rules:{name}")


@pytest.mark.parametrize("name", ["uniform-plus", "lamp", "snip", "rdp"])
def test_our_own_policies_keep_the_contract(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.catalog.contract.policy", lambda _: policy(name))
    monkeypatch.setattr("trainables.catalog.contract.needs_of", lambda kind, _: needs_of(kind, name))
    assert check_function("policy", name)


@pytest.mark.parametrize("name", sorted(set(CRITERIA) - {"gates", "probe", "bn-scale"}))
def test_our_own_criteria_keep_the_contract(name: str) -> None:
    """Those that read trained gates or probes have none here. Not every layer of small_cnn has a batch norm."""
    assert check_function("criterion", name)


def test_only_what_a_function_may_read_can_be_declared() -> None:
    with pytest.raises(ValueError, match="may read 'samples' or 'profile', but got 'gates'"):
        needs("gates")  # type: ignore[arg-type]


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

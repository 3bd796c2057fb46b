"""Functions of the user's own keep their contract, or their fault is named."""

import re
from pathlib import Path

import pytest

from trainables.allocation.policies import policy
from trainables.catalog.contract import check_function
from trainables.plugins import FunctionKind, needs, needs_of
from trainables.pruning.criteria import CRITERIA

pytestmark = pytest.mark.usefixtures("rules")


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

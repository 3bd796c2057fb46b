"""Rules for layers in a study: read, refused before anything runs, named in tables, kept by searches and trials."""

import re
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage

from search.comparison.compare import compare
from search.comparison.wording import network_of
from search.methods.spaces import SPACES
from search.results.constraints import conditions, value_of
from search.results.rows import row_of
from search.searching import networks
from search.searching.density_search import DensitySearch
from search.searching.search_history import SearchHistory
from search.study.reading import read_study
from search.study.rules import read_rules
from search.study.search_spec import SearchSpec
from search.study.spec import StudySpec
from search.tracking.params import study_params, trial_params
from tests.search.comparison.test_compare import outcome, study_of
from tests.search.in_process import run_in_process
from trainables.catalog.planned_parts import planned_parts
from trainables.catalog.remarks import ruled
from trainables.names import SEARCHES
from trainables.pruning_spec import LayerRule, Schedule
from trainables.spec import DenseSpec, TrialSpec

RULES = [{"match": "head", "keep": 1.0}, {"match": "*conv*", "at_least": 0.3}, {"type": "Linear", "density": 0.5}]
FIXED = [{"match": "[!h]*", "density": 0.5}, {"match": "hidden", "density": 0.5}]
SHORT = "head keep 1; *conv* at least 0.3; Linear 0.5"


def study(**settings: Any) -> StudySpec:
    return read_study({"name": "s", "policies": ["uniform"], "sparsities": [0.5], "layers": RULES, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"sparsities": [0.95]},
            "small_cnn: budget must leave 23,393 to 65,424 of 69,520 params, but sparsity 0.95 leaves 3,476; use a "
            "sparsity of 0.059 to 0.6635, or change the rules in layers; not pruned: head (a rule keeps it dense)",
        ),
        ({"sparsities": [0.01]}, "budget must leave 23,393 to 65,424 of 69,520 params, but sparsity 0.01 leaves"),
        ({"layers": [{"match": "haed", "keep": 1.0}]}, "no layer matches 'haed'; the nearest names are head"),
        ({"layers": [{"match": "head", "keep": 1.0, "density": 0.5}]}, "layers.0 is wrong: a rule must have only one"),
        ({"layers": [{"match": "head", "at_least": 0.6, "at_most": 0.5}]}, "at_least must not exceed at_most"),
        (
            {"granularity": "channel", "criteria": ["l1"], "layers": [{"match": "head", "density": 0.5}]},
            "all units of head stay (the network's output)",
        ),
        (
            {"policies": ["searched"], "layers": [{"match": "*conv*", "density": 0.5}, {"match": "head", "keep": 1.0}]},
            "search.space must vary at least 2 densities, but 'layers' has 1",
        ),
        (
            {
                "policies": ["searched"],
                "search": {"space": "family"},
                "layers": [{"match": "*conv*", "density": 0.5}, {"match": "head", "keep": 1.0}],
            },
            "take the searches out of policies",
        ),
    ],
)
def test_rules_that_cannot_be_kept_are_refused_before_anything_runs(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        study(**settings)


def test_a_rule_may_be_for_one_of_several_models() -> None:
    rules = [{"match": "head", "keep": 1.0}, {"match": "hidden", "density": 0.5}]
    both = study(models=["small_cnn", "resnet20"], layers=rules)
    assert {trial.layers for trial in both.trials()} == {tuple(map(LayerRule.model_validate, rules))}
    with pytest.raises(ValueError, match=r"resnet20: rule 'hidden 0.5' in layers must change what a part keeps"):
        study(models=["resnet20"], layers=rules)


def test_a_run_says_what_rules_do_and_what_they_round() -> None:
    cells = study(granularity="channel", criteria=["l1"], layers=[{"match": "block1*", "density": 0.3}]).cells()
    assert ruled(cells) == [
        "small_cnn: rules for layers bind 1 of 5 parts and fix 1",
        "small_cnn: parts keep whole units: block1.conv (5 of 16 units (0.3125), not 0.3)",
    ]
    assert ruled([cell.model_copy(update={"layers": ()}) for cell in cells]) == []


def test_studies_without_rules_keep_their_keys() -> None:
    assert (
        study(layers=[]).trials()[0].key()
        == read_study({"name": "t"}).cells()[0].model_copy(update={"policy": "uniform"}).key()
    )


def test_rules_are_read_from_yaml_and_from_files(tmp_path: Path) -> None:
    text = "[{match: head, keep: 1.0}]"
    file = tmp_path / "rules.yaml"
    file.write_text("- {match: head, keep: 1.0}\n")
    whole = tmp_path / "study.yaml"
    whole.write_text(f"name: s\nlayers: {text}\n")
    assert read_rules(text) == read_rules(str(file)) == read_rules(str(whole)) == [{"match": "head", "keep": 1.0}]
    with pytest.raises(ValueError, match=r"--layers must be a YAML file with rules, but 'no.yaml' does not exist"):
        read_rules("no.yaml")
    file.write_text("head: 1.0\n")
    with pytest.raises(ValueError, match=r"--layers must hold a list of rules, but .* has none"):
        read_rules(str(file))


def test_rows_of_other_rules_are_others_and_name_them(tmp_path: Path) -> None:
    rules = (LayerRule(match="a", keep=1.0), LayerRule(type="Linear", at_most=0.8))
    done = [outcome(policy, 0.5, seed, 0.5) for policy in ("uniform", "erk") for seed in (0, 1)]
    ruled = [outcome(policy, 0.5, seed, 0.7, layers=rules) for policy in ("uniform", "erk") for seed in (0, 1)]
    rows = [row_of(each) for each in ruled]
    assert {row.rules for row in rows} == {"a keep 1; Linear at most 0.8"}
    (condition,) = conditions(["rules==a keep 1; Linear at most 0.8"], rows)
    assert [condition.holds(value_of(row_of(each), "rules")) for each in (*done, *ruled)] == [False] * 4 + [True] * 4
    comparison = compare([study_of(tmp_path / "one", done), study_of(tmp_path / "two", ruled)])
    named = {network_of(row): (row.policy, row.differs, row.best_val_accuracy.mean) for row in comparison.rows}
    assert len(comparison.rows) == 4
    assert set(named) == {
        "small_cnn, weights by magnitude, finetune",
        "small_cnn, weights by magnitude, layers a keep 1; Linear at most 0.8, finetune",
    }
    assert {row.differs for row in comparison.rows} == {""}
    assert set(comparison.headline) == {"erk", "erk, a keep 1; Linear at most 0.8"}


def test_mlflow_has_rules_in_short() -> None:
    spec = study()
    assert study_params(spec)["layers"] == trial_params(spec.trials()[0])["layers"] == SHORT
    given = read_study(
        {"name": "s", "policies": ["given"], "given": {"densities": {"head": 1.0}}, "layers": FIXED}
        | {"sparsities": [0.5]}
    )
    assert study_params(given)["densities"] == trial_params(given.trials()[0])["densities"] == {"head": 1.0}


@pytest.mark.parametrize("space", ["layers", "stages", "blocks", "family"])
@pytest.mark.parametrize("policy", SEARCHES)
def test_a_search_varies_the_free_parts_and_its_networks_keep_the_rules(space: str, policy: str) -> None:
    rules = (
        LayerRule(match="head", keep=1.0),
        LayerRule(match="block3*", density=0.25),
        LayerRule(match="*", at_least=0.2),
    )
    cell = TrialSpec(dense=DenseSpec(model="small_cnn"), sparsity=0.6, layers=rules)
    start = row_of(outcome("capacity", 0.6, 0, 0.5))
    densities = {
        "block1.conv": 0.9,
        "block2.conv": 0.5,
        "block3.conv": 0.25,
        "block4.conv": 0.4,
        "hidden": 0.3,
        "head": 1.0,
    }
    start = start.model_copy(update={"parts": densities, "layers": densities})
    settings = SearchSpec(space=space, trials=9, warm_start=("capacity",))
    history = SearchHistory(policy, [cell], settings, starts=[start])
    search = DensitySearch(history, InMemoryStorage(), lambda key: None, networks.network_of)
    free = {"block1.conv", "block2.conv", "block4.conv", "hidden"}
    for _ in range(3):
        proposed = search.ask()
        assert proposed is not None
        assert proposed.densities is not None
        assert set(proposed.densities) == free
        (parts,) = planned_parts(proposed) or ()
        assert (parts["head"], parts["block3.conv"]) == (1.0, 0.25)
        assert min(parts.values()) >= 0.2
        sizes = {
            "block1.conv": 144,
            "block2.conv": 4608,
            "block3.conv": 18432,
            "block4.conv": 36864,
            "hidden": 8192,
            "head": 1280,
        }
        assert sum(parts[name] * size for name, size in sizes.items()) == pytest.approx(0.4 * 69520)
    if space == "layers" and policy == "searched":
        known = SPACES[space](cell, densities)
        assert set(known.distributions) == free
        assert known.expresses(densities)


SMALL = {
    "data": {"name": "digits", "max_train": 150, "max_val": 60},
    "dense": {"epochs": 1},
    "finetune": {"epochs": 1},
    "seeds": [0],
    "width": 0.5,
    "calibration": 32,
    "tracking": "off",
}


def test_trials_keep_rules_through_schedules_and_training(tmp_path: Path) -> None:
    asked = study(
        name="steps", policies=["uniform", "lamp", "capacity"], schedule=Schedule(name="gradual", steps=3), **SMALL
    )
    folder = run_in_process(tmp_path, asked)
    for row in folder.rows():
        assert row.status == "done", row.error
        assert row.parts["head"] == row.layers["head"] == 1.0
        assert row.layers["hidden"] == 0.5
        assert min(row.layers.values()) >= 0.3
        assert row.params_kept == round(0.5 * (row.params_total or 0))


def test_channels_keep_rules_and_so_do_earlier_prunings(tmp_path: Path) -> None:
    asked = read_study(
        {
            "name": "chain",
            "models": ["resnet20"],
            "policies": ["uniform"],
            "sparsities": [0.8],
            "granularity": "weight",
            "before": [{"granularity": "channel", "criterion": "l1", "policy": "uniform", "sparsity": 0.5}],
            "layers": [{"match": "block2_1.conv1", "keep": 1.0}, {"match": "block3*", "at_most": 0.3}],
            **SMALL,
            "width": 0.25,
        }
    )
    folder = run_in_process(tmp_path, asked)
    (row,) = folder.rows()
    assert row.status == "done", row.error
    assert row.parts["block2_1.conv1"] == row.layers["block2_1.conv1"] == 1.0
    assert all(share <= 0.31 for name, share in row.parts.items() if name.startswith("block3"))
    assert row.params_kept == round(0.2 * (row.params_total or 0))

"""Policy "given": densities from tables and trials, their keys, their names in tables, and how they meet a budget."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.comparison.compare import compare
from search.networks.allocation import allocation
from search.networks.network import fresh
from search.results.rows import row_of
from search.results.to_json import to_json
from search.study.given import Given, densities_of, read_given
from search.study.reading import read_study
from search.study.spec import StudySpec
from tests.search.comparison.test_compare import outcome, study_of
from tests.search.conftest import howcompact
from tests.search.in_process import run_in_process
from tests.search.latency_budgets import of_device
from tests.search.study.test_rules import SMALL
from tests.trainables.allocation.test_policies import NETWORKS
from tests.trainables.problems import problem, quotas
from trainables.catalog.remarks import bent
from trainables.pruning.granularity import Prunable
from trainables.storage.columns import to_parquet

PARTS = ("block1.conv", "block2.conv", "block3.conv", "block4.conv", "hidden", "head")
DENSITIES = dict(zip(PARTS, (1.0, 0.75, 0.5, 0.25, 0.125, 0.5), strict=True))


def study(given: object, **settings: Any) -> StudySpec:
    return read_study({"name": "s", "policies": ["given"], "sparsities": [0.5], "given": given, **settings})


def tables(folder: Path, densities: Mapping[str, float]) -> list[str]:
    rows = [{"part": name, "density": density} for name, density in densities.items()]
    written = {
        "plain.json": json.dumps(densities).encode(),
        "parts.json": json.dumps({"policy": "erk", "parts": densities, "layers": []}).encode(),
        "plain.yaml": "".join(f"{name}: {density}\n" for name, density in densities.items()).encode(),
        "plain.csv": "".join(["name,density\n", *(f"{n},{d}\n" for n, d in densities.items())]).encode(),
        "plain.parquet": to_parquet(pa.Table.from_pylist(rows)),
    }
    for name, content in written.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in written]


def test_all_formats_give_the_same_trials_and_no_path_is_in_their_keys(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    files = [*tables(tmp_path, DENSITIES), *tables(elsewhere, DENSITIES)]
    assert [densities_of(file) for file in files] == [DENSITIES] * 10
    keys = {trial.key() for file in files for trial in study(file).trials()}
    keys |= {trial.key() for trial in study({"densities": DENSITIES}).trials()}
    other = {trial.key() for trial in study({"densities": DENSITIES | {"head": 0.6}}).trials()}
    assert len(keys) == 3  # one for each seed
    assert not keys & other


def test_a_relative_table_counts_from_where_the_command_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables(tmp_path, DENSITIES)
    monkeypatch.chdir(tmp_path)
    assert study("plain.csv").given == Given(densities=DENSITIES)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"a": 1.5}', "given must have densities from 0 to 1, but .* has 1.5 for a"),
        ("a.json", '{"a": "x"}', "has 'x' for a"),
        ("a.json", '{"a": 0.0}', "given must have a density above 0"),
        ("a.json", "[1]", "it must map names to densities"),
        ("a.json", "{", "given.table must hold the density of each part, but .* does not"),
        ("a.yaml", "a: [", "given.table must hold the density of each part"),
        ("a.csv", "layer,keep\na,0.5\n", "it must have a column part or layer or name, and a column density or share"),
        ("a.csv", "layer,density\na,0.5\na,0.6\n", "it names a more than once"),
        ("a.parquet", "no", "a Parquet file must be whole"),
        ("a.txt", "a 0.5", r"given.table must end with .json, .yaml, .yml, .csv, .parquet"),
    ],
)
def test_tables_that_say_nothing_are_refused(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        study(str(tmp_path / name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"given": {}}, "policy 'given' must have its densities"),
        ({"policies": ["uniform"]}, "given must come with policy 'given'"),
        ({"given": {"table": "a.csv", "densities": DENSITIES}}, "but has table, densities; name one of them"),
        ({"given": {"study": "s"}}, "given must name a table, or a study and a trial"),
        ({"given": {"trial": "0" * 16}}, "but has trial; name one"),
        ({"given": {"study": "s", "trial": "../../x"}}, "given.trial must match the pattern"),
        ({"given": {"study": "nowhere", "trial": "0" * 16}}, "has no trial 0000000000000000"),
        ({"given": "nowhere.csv"}, r"given.table must be a file, but .*nowhere.csv is not there"),
        ({"given": "s3://key:secret@bucket/a.csv"}, "must"),
        ({"given": {"densities": {**DENSITIES, "haed": 0.5}}}, "small_cnn: densities .* haed are unknown"),
        ({"given": {"densities": {"head": 0.5}}}, "block1.conv, block2.conv, block3.conv and 2 more are missing"),
        (
            {"policies": ["given", "searched"], "search": {"warm_start": ["given", "uniform"]}},
            "search.warm_start must name policies that find densities by a rule, but got 'given'",
        ),
        (
            {
                "policies": ["given"],
                "before": [{"granularity": "channel", "criterion": "l1", "policy": "given", "sparsity": 0.3}],
            },
            "an earlier pruning must use a policy that decides without training",
        ),
    ],
)
def test_studies_that_give_nothing_or_too_much_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(**({"given": {"densities": DENSITIES}} | settings))


def test_a_part_that_a_rule_fixes_needs_no_density() -> None:
    fewer = {name: density for name, density in DENSITIES.items() if name != "head"}
    assert study({"densities": fewer}, layers=[{"match": "head", "keep": 1.0}]).trials()


def allowed(prunable: Prunable) -> st.SearchStrategy[list[int]]:
    return st.tuples(*(st.integers(part.floor, part.units) for part in prunable.parts)).map(list)


@pytest.mark.parametrize("network", ["small_cnn-weight", "resnet20-channel"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_table_with_the_budget_is_kept_as_it_is(network: str, data: st.DataObject) -> None:
    _, prunable = NETWORKS[network]
    keep = np.array(data.draw(allowed(prunable)))
    dense = np.array([part.units for part in prunable.parts])
    sparsity = 1.0 - prunable.cost(keep, "params") / prunable.cost(dense, "params")
    densities = dict(zip((part.name for part in prunable.parts), (keep / dense).tolist(), strict=True))
    assert quotas("given", problem(prunable, sparsity, densities=densities)).tolist() == keep.tolist()


def test_one_factor_bends_a_table_to_another_budget() -> None:
    _, prunable = NETWORKS["small_cnn-weight"]
    densities = dict(zip((part.name for part in prunable.parts), (0.9, 0.5, 0.4, 0.2, 0.1, 0.3), strict=True))
    keep = quotas("given", problem(prunable, 0.9, densities=densities))
    ratios = keep / [densities[part.name] * part.units for part in prunable.parts]
    assert ratios.tolist() == pytest.approx([ratios.mean()] * 6, rel=0.02)
    assert ratios.mean() < 1


def test_a_run_says_to_which_sparsities_densities_are_bent() -> None:
    sizes = dict(zip(PARTS, (144, 4608, 18432, 36864, 8192, 1280), strict=True))
    own = 1.0 - sum(DENSITIES[name] * size for name, size in sizes.items()) / 69520
    asked = study({"densities": DENSITIES}, sparsities=[0.5, own, 0.9])
    assert bent(asked.trials()) == [
        f"small_cnn: the given densities have sparsity {own:.4f}; one factor bends them to 0.5, 0.9"
    ]
    assert bent(study({"densities": DENSITIES}, sparsities=[own]).trials()) == []


def test_densities_bend_to_a_time_that_a_table_knows(latency_table: Path) -> None:
    settings = {"policies": ["given"], "given": {"densities": {"block1.conv": 0.5}}}
    (line,) = bent(of_device(latency_table, **settings).trials())
    assert re.fullmatch(r"small_cnn: the given densities have sparsity 0\.\d{4}; one factor bends them to 0\.3", line)
    assert bent(of_device("torch-cpu", **settings).trials()) == []  # nothing is measured yet


def test_other_densities_are_other_policies_in_a_comparison(tmp_path: Path) -> None:
    outcomes = [
        outcome("given", 0.5, seed, accuracy, densities={"a": density})
        for seed in (0, 1)
        for density, accuracy in ((0.5, 0.6), (0.6, 0.7))
    ]
    names = [row_of(each).policy for each in outcomes]
    assert names[:2] == names[2:]
    assert len(set(names)) == 2
    assert all(name.startswith("given-") for name in names)
    comparison = compare([study_of(tmp_path / "s", outcomes)])
    assert {row.policy: row.best_val_accuracy.mean for row in comparison.rows} == {names[0]: 0.6, names[1]: 0.7}


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_allocations_that_were_printed_are_given_again(granularity: str, tmp_path: Path) -> None:
    shared = {"granularity": granularity, "criterion": "l1" if granularity == "channel" else "magnitude"}
    network = fresh("small_cnn", "1x8x8", 10, 0)
    printed = allocation(network, {"policy": "igq", "sparsity": 0.8, **shared}, 0)
    (tmp_path / "printed.json").write_text(to_json(printed))
    settings = {"policy": "given", "sparsity": 0.8, **shared, "densities": densities_of(str(tmp_path / "printed.json"))}
    again = allocation(fresh("small_cnn", "1x8x8", 10, 0), settings, 0)
    assert again.parts == printed.parts
    assert [layer.keep for layer in again.layers] == [layer.keep for layer in printed.layers]


def test_the_command_line_takes_rules_and_tables(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("- {match: head, keep: 1.0}\n- {type: Conv2d, at_most: 0.6}\n")
    (tmp_path / "table.csv").write_text("".join(["part,density\n", *(f"{n},{d}\n" for n, d in DENSITIES.items())]))
    network = ("allocate", "small_cnn", "--image", "1x8x8", "--policy", "given", "--given", "table.csv")
    told = howcompact(*network, "--sparsity", "0.7", "--layers", "rules.yaml", "--json", cwd=tmp_path)
    printed = json.loads(told.stdout)
    assert printed["params_kept"] == round(0.3 * 69520)
    assert printed["parts"]["head"] == 1.0
    assert max(printed["parts"][name] for name in PARTS[:4]) <= 0.6
    rules = {layer["name"]: layer["rule"] for layer in printed["layers"]}
    assert rules == {**dict.fromkeys(PARTS[:4], "Conv2d at most 0.6"), "hidden": "", "head": "head keep 1"}
    wrong = howcompact(*network, "--sparsity", "0.7", "--layers", "[{match: haed, keep: 1.0}]", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "no layer matches 'haed'; the nearest names are head" in wrong.stderr


def test_a_study_takes_the_densities_of_another_studys_trial(tmp_path: Path) -> None:
    first = run_in_process(
        tmp_path, read_study({"name": "first", "policies": ["lamp"], "sparsities": [0.9], **SMALL, "seeds": [1]})
    )
    (source,) = first.rows()
    place = {"study": str(tmp_path / "first"), "trial": source.trial}
    second = study(place, name="second", **(SMALL | {"sparsities": [0.9]}))
    (row,) = run_in_process(tmp_path, second).rows()
    assert row.status == "done", row.error
    assert row.parts == source.parts
    assert row.params_kept == source.params_kept
    with pytest.raises(ValueError, match="given must name a trial of granularity 'channel'"):
        read_given(Given.model_validate(place), "channel")

"""Which densities decided: against made-up searches whose answer is known, and against plain loops."""

import json
import math
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from search.cli.search_tables import print_importances
from search.comparison.compare import compare
from search.comparison.estimates import Estimate
from search.comparison.importance import EVALUATORS, importances, importances_of, part_importances
from search.report.sections.evidence import gather
from search.report.sections.importance import importance_section
from search.results.rows import TrialRow
from search.results.to_json import FORMAT
from tests.search.conftest import howcompact
from tests.search.reports import study_of, trial_row

STARTS = ("uniform", "capacity")
PARTS = [f"block{i}.conv" for i in range(6)]


Rule = Callable[[Mapping[str, float]], float]


def cell(seed: int, accuracy: Rule, trials: int = 40, sparsity: float = 0.9, **given: object) -> list[TrialRow]:
    """A search of random densities, whose accuracies follow a rule, and two policies that it starts from."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, policy in enumerate((*STARTS, *["searched"] * trials)):
        parts = dict(zip(PARTS, np.exp(rng.uniform(-4, 0, len(PARTS))).tolist(), strict=True))
        told = {"trial": f"{policy}-{seed}-{number}", "parts": parts, **given}
        rows.append(trial_row(policy, sparsity, seed, accuracy(parts), len(PARTS), **told))
    return rows


def peaked(part: str) -> Rule:
    return lambda parts: 0.9 - 0.1 * (math.log(parts[part]) + 2) ** 2


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("part", [PARTS[0], PARTS[4]])
def test_the_part_that_alone_decides_comes_first(evaluator: str, part: str) -> None:
    found = part_importances(cell(0, peaked(part)), evaluator)
    assert list(found) == PARTS
    assert sum(found.values()) == pytest.approx(1)
    assert found[part] > 0.5


def test_fanova_gives_the_shares_of_variance() -> None:
    """Of a sum of independent terms a and 2 b, uniform alike, b has four times the variance."""

    def accuracy(parts: Mapping[str, float]) -> float:
        return 0.5 + 0.05 * math.log(parts[PARTS[1]]) + 0.1 * math.log(parts[PARTS[3]])

    found = part_importances(cell(1, accuracy, trials=80), "fanova")
    assert found[PARTS[3]] == pytest.approx(0.8, abs=0.1)
    assert found[PARTS[1]] == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_only_the_logarithm_of_a_density_counts_and_not_its_unit(evaluator: str) -> None:
    rows = cell(2, peaked(PARTS[2]), trials=20)
    scaled = [row.model_copy(update={"parts": {p: v / 10 for p, v in row.parts.items()}}) for row in rows]
    assert part_importances(scaled, evaluator) == pytest.approx(part_importances(rows, evaluator), abs=1e-6)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_density_that_never_varied_has_no_importance(evaluator: str) -> None:
    rows = cell(3, peaked(PARTS[2]), trials=20)
    fixed = [row.model_copy(update={"parts": row.parts | {PARTS[5]: 0.3}}) for row in rows]
    assert part_importances(fixed, evaluator)[PARTS[5]] == 0


def test_trials_at_chance_are_never_among_the_best() -> None:
    """Where 4 of 42 trials work at all, and one part decides which, the best third are these."""
    rows = cell(4, lambda parts: 0.1)
    for row in sorted(rows, key=lambda row: -row.parts[PARTS[1]])[:4]:
        rows[rows.index(row)] = row.model_copy(update={"best_val_accuracy": 0.8})
    found = part_importances(rows, "ped-anova")
    assert max(found, key=found.__getitem__) == PARTS[1]


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_pooled_importances_are_those_of_a_plain_loop(evaluator: str) -> None:
    cells = {seed: cell(seed, peaked(PARTS[seed]), trials=12 + seed) for seed in range(3)}
    stopped = [row.model_copy(update={"trial": f"{row.trial}s", "status": "stopped"}) for row in cells[0][2:9]]
    (row,), left_out = importances_of([*stopped, *(t for own in cells.values() for t in own)], STARTS, evaluator)
    assert (row.seeds, row.trials, left_out) == ([0, 1, 2], 3 * (2 + 12) + 3, [])
    shares, correlations = [], []
    densities: dict[str, list[float]] = {part: [] for part in PARTS}
    for own in cells.values():
        shares.append(part_importances(own, evaluator))
        (capacity,) = (trial.parts for trial in own if trial.policy == "capacity")
        for part in PARTS:
            densities[part].append(capacity[part])
        correlations.append(spearmanr([shares[-1][p] for p in PARTS], [capacity[p] for p in PARTS]).statistic)
    for told, part in zip(row.parts, PARTS, strict=True):
        assert told.part == part
        expected = Estimate.of([share[part] for share in shares])
        assert (told.importance.mean, told.importance.n) == (expected.mean, 3)
        assert told.importance.low == max(0.0, expected.low or 0.0)
        assert told.capacity == pytest.approx(np.mean(densities[part]))
    assert row.agreement is not None
    assert row.agreement.mean == pytest.approx(np.mean(correlations))
    assert row.agreement.n == 3


def test_capacity_is_told_where_searches_do_not_start_from_it() -> None:
    rows = cell(0, peaked(PARTS[0]))
    with_it, without = (importances_of(rows, starts)[0][0] for starts in (STARTS, ("uniform",)))
    assert (with_it.trials, without.trials) == (42, 41)
    assert [told.capacity for told in with_it.parts] == [told.capacity for told in without.parts]


def test_searches_that_cannot_tell_are_left_out_with_the_reason(tmp_path: Path) -> None:
    few, alike = cell(1, peaked(PARTS[0]), trials=7), cell(2, lambda parts: 0.1)
    rows, left_out = importances_of([*cell(0, peaked(PARTS[0])), *few, *alike], STARTS)
    assert [row.seeds for row in rows] == [[0]]
    assert rows[0].parts[0].importance.low is None
    place = "cifar10: resnet56 x 0.5 at sparsity 0.9, seed"
    assert left_out == [
        f"{place} 1: fewer than 10 finished trials; raise search.trials",
        f"{place} 2: finished trials of one and the same accuracy",
    ]
    search = {"warm_start": STARTS, "trials": 20}
    with pytest.raises(ValueError, match=r"importance must have a search of 10 .*\n.*seed 1: fewer than 10"):
        importances(study_of(tmp_path / "few", few, search=search))
    with pytest.raises(ValueError, match="add 'searched' to the policies"):
        importances(study_of(tmp_path / "none", few[:2], search=search))
    with pytest.raises(ValueError, match="did you mean 'fanova'"):
        importances(study_of(tmp_path / "typo", few, search=search), "anova")


def test_settings_and_sparsities_stay_apart() -> None:
    rows = []
    for setting, sparsity in product(("a", "b"), (0.5, 0.9)):
        rule, name = peaked(PARTS[0 if sparsity == 0.5 else 4]), f"{setting}{sparsity}"
        rows += cell(0, rule, sparsity=sparsity, setting=setting, cell=name)
    found, _ = importances_of(rows, STARTS)
    assert [(row.setting, row.sparsity) for row in found] == [("a", 0.5), ("a", 0.9), ("b", 0.5), ("b", 0.9)]
    for row in found:
        best = max(row.parts, key=lambda told: told.importance.mean)
        assert best.part == PARTS[0 if row.sparsity == 0.5 else 4]


def test_the_command_tells_what_python_does(tmp_path: Path) -> None:
    rows = [trial for seed in range(2) for trial in cell(seed, peaked(PARTS[4]))]
    folder = study_of(tmp_path, rows, search={"warm_start": STARTS, "trials": 42})
    told = json.loads(howcompact("importance", str(tmp_path / "made-up"), "--json", cwd=tmp_path).stdout)
    assert told == {"format": FORMAT, **importances(folder).model_dump(mode="json")}


def test_the_most_important_part_is_shown_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [trial for seed in range(3) for trial in cell(seed, peaked(PARTS[4]))]
    print_importances(importances(study_of(tmp_path, rows, search={"warm_start": STARTS, "trials": 42})))
    shown = capsys.readouterr().out
    assert shown.index(PARTS[4]) < min(shown.index(part) for part in PARTS if part != PARTS[4])
    assert "seeds 0, 1, 2; 126 trials" in shown
    assert "not how much of" in shown


def test_the_section_shows_every_part_beside_capacity(tmp_path: Path) -> None:
    rows = [trial for seed in range(2) for trial in cell(seed, peaked(PARTS[4]))]
    folder = study_of(tmp_path, rows, search={"warm_start": STARTS, "trials": 42})
    section = importance_section(gather(compare([folder]), [folder]))
    (row,), _ = importances_of(rows, STARTS)
    parts, agreement = section.tables
    assert [shown[1] for shown in parts.rows] == PARTS
    assert [shown[4] for shown in parts.rows] == [f"{100 * (told.capacity or 0):.1f}" for told in row.parts]
    assert row.agreement is not None
    assert f"{row.agreement.mean:.2f}" in agreement.rows[0][-1]
    ((panel,),) = section.groups.values()
    assert f"Most important: {PARTS[4]}" in panel.description

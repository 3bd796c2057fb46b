"""Artificial trials, a study folder of them, and its report."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.comparison.compare import Comparison, compare
from search.report.write import write_report
from search.results.folder import StudyFolder
from search.results.rows import TABLE, TrialRow, to_table
from search.study.spec import StudySpec
from trainables.storage.columns import to_parquet
from trainables.storage.folder import Folder

POLICIES = ("uniform", "capacity", "erk", "lamp")
DENSE = 100_000


def trial_row(policy: str, sparsity: float, seed: int, accuracy: float, layers: int, **fields: object) -> TrialRow:
    names = [f"block{i // 2 + 1}.conv{i % 2 + 1}" for i in range(layers)]
    rng = np.random.default_rng([seed, round(100 * sparsity), len(policy)])
    density = dict(zip(names, rng.uniform(0, 2 * (1 - sparsity), layers).tolist(), strict=True))
    known = {
        "trial": f"{policy}-{sparsity}-{seed}",
        "cell": f"cell-{sparsity}-{seed}",
        "setting": "setting",
        "policy": policy,
        "criterion": "magnitude",
        "granularity": "weight",
        "model": "resnet56",
        "width": 0.5,
        "dataset": "cifar10",
        "sparsity": sparsity,
        "budget": "params",
        "seed": seed,
        "status": "done",
        "dense_accuracy": 0.93,
        "one_shot_accuracy": accuracy / 3,
        "recalibrated_accuracy": accuracy / 2,
        "best_val_accuracy": accuracy,
        "best_epoch": 2,
        "epochs": 3,
        "params_kept": round(DENSE * (1 - sparsity)),
        "params_total": DENSE,
        "macs_kept": round(1e7 * (1 - sparsity) * rng.uniform(0.8, 1.5)),
        "macs_total": 10_000_000,
        "seconds": 60.0,
        "allocation_seconds": 0.02 + 20 * (policy == "capacity"),
        "hardware": "cpu",
        "ended": "2026-01-01T00:00:00.000+00:00",
        "layers": density,
        "parts": density,
    }
    return TrialRow.model_validate(known | fields)


def trial_rows(
    searched: int, seeds: int = 3, sparsities: Sequence[float] = (0.5, 0.8, 0.95), layers: int = 10
) -> list[TrialRow]:
    """Make trials of policies that differ by a point or two, and of searches that slowly get ahead of them."""
    rng = np.random.default_rng(0)
    rows = []
    for sparsity, seed in itertools.product(sparsities, range(seeds)):
        reached = 0.94 - 0.3 * sparsity**6
        for rank, policy in enumerate(POLICIES):
            accuracy = reached + 0.01 * rank + rng.normal(0, 0.004)
            rows.append(trial_row(policy, sparsity, seed, accuracy, layers))
        for number in range(searched):
            accuracy = reached + 0.03 - abs(rng.normal(0, 0.1))
            name, ended = f"searched-{sparsity}-{seed}-{number:05d}", f"2026-01-02T00:00:00.{number:05d}+00:00"
            rows.append(trial_row("searched", sparsity, seed, accuracy, layers, trial=name, ended=ended))
    return rows


def study_of(storage: Path, rows: Sequence[TrialRow], **settings: object) -> StudyFolder:
    folder = StudyFolder(Folder.at(str(storage)) / "made-up")
    spec = {"name": "made-up", "models": ["resnet56"], "policies": [*POLICIES, "searched"], **settings}
    folder.write_study(StudySpec.model_validate(spec))
    folder.folder.write(TABLE, to_parquet(to_table(rows)))
    return folder


@dataclass(frozen=True)
class Report:
    """A written report, and the comparison and the study folder behind it."""

    out: Path
    comparison: Comparison
    folder: StudyFolder

    @property
    def page(self) -> Path:
        return self.out / "index.html"


def report_of(home: Path, rows: Sequence[TrialRow]) -> Report:
    folder = study_of(home, rows)
    comparison = compare([folder])
    write_report(comparison, home / "report", [folder])
    return Report(home / "report", comparison, folder)

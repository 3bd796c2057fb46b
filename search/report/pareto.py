"""Accuracy of every trial against what it keeps, and the front that no trial beats."""

import math
from collections import defaultdict
from collections.abc import Sequence

from matplotlib.axes import Axes

from search.fronts import pareto
from search.headline import network
from search.report.chart import INK, Panel, key, label_room, log_ticks
from search.report.evidence import Evidence, Section, Table
from search.results import TrialRow

GRID = 110  # cells along an axis: of a policy's trials that fall into one cell, one is drawn
KEPT = {
    "params": ("weights", "params_kept", "params_total"),
    "macs": ("multiply-accumulates", "macs_kept", "macs_total"),
}


def pareto_section(evidence: Evidence) -> Section:
    """Accuracy of every trial against what it keeps, the front marked."""
    networks: dict[str, list[TrialRow]] = defaultdict(list)
    for trial in evidence.finished:
        networks[network(trial)].append(trial)
    groups = {name: [_scatter(evidence, rows, kind) for kind in KEPT] for name, rows in networks.items()}
    rows = [
        (
            name,
            trial.policy,
            f"{trial.sparsity:g}",
            str(trial.seed),
            f"{trial.params_kept:,}",
            f"{trial.macs_kept:,}",
            f"{100 * (trial.val_accuracy or 0):.2f}",
            " and ".join("MACs" if kind == "macs" else "weights" for kind in KEPT if trial in fronts[kind]),
            trial.trial,
        )
        for name, own in networks.items()
        for fronts in [{kind: front(own, kind) for kind in KEPT}]
        for trial in sorted({t.trial: t for kind in KEPT for t in fronts[kind]}.values(), key=_accuracy, reverse=True)
    ]
    head = ("network", "policy", "sparsity", "seed", "weights kept", "MACs kept", "accuracy (%)", "front of", "trial")
    text = (
        f"Each of the {len(evidence.finished):,} finished trials, one seed each, by the accuracy of its best epoch on "
        "validation samples. Ringed and joined: the front, which no trial beats with as little or less. Trials of a "
        "policy that would cover one another are drawn once; the front is exact."
    )
    return Section(
        "pareto",
        "Pareto front",
        text,
        groups,
        [Table("Trials on a front, by accuracy", head, rows, words=2)],
        columns=2,
    )


def front(trials: Sequence[TrialRow], kind: str) -> list[TrialRow]:
    """Trials that no other one beats in accuracy and in what is kept, "params" or "macs": the smallest first."""
    return [trials[place] for place in pareto([(_kept(trial, kind), -_accuracy(trial)) for trial in trials])]


def _scatter(evidence: Evidence, trials: Sequence[TrialRow], kind: str) -> Panel:
    policies = evidence.policies(trials)
    name, _, total = KEPT[kind]
    dense = max(getattr(trial, total) for trial in trials)
    best = front(trials, kind)

    def place(trial: TrialRow) -> tuple[float, float]:
        return 100 * _kept(trial, kind) / dense, 100 * _accuracy(trial)

    def draw(axis: Axes) -> None:
        axis.set_xscale("log")
        for policy in policies:
            points = _thinned([place(trial) for trial in trials if trial.policy == policy])
            look = {**evidence.looks[policy].point, "markersize": 3.2, "alpha": 0.75}
            axis.plot(*zip(*points, strict=True), **look)
        fronted = [place(trial) for trial in best]
        axis.step(*zip(*fronted, strict=True), where="post", color=INK, lw=0.8)
        axis.plot(*zip(*fronted, strict=True), "o", markersize=6.5, mfc="none", mec=INK, mew=0.7)
        log_ticks(axis)
        axis.set_xlabel(f"{name} kept (% of dense)")
        axis.set_ylabel("validation accuracy (%)")
        key(axis, policies, evidence.looks)

    told = "; ".join(f"{100 * _accuracy(t):.1f} % with {place(t)[0]:.2g} % ({t.policy})" for t in best[-8:])
    description = f"{len(trials)} trials. Front, accuracy with {name} kept: {told}."
    return Panel(f"by {name}", description, draw, right=label_room(policies))


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep one point of each cell of a grid that is even in accuracy and in the logarithm of what is kept."""
    cells = {
        (round(GRID * math.log10(kept) / 2.5), round(GRID * accuracy / 100)): (kept, accuracy)
        for kept, accuracy in points
    }
    return list(cells.values())


def _kept(trial: TrialRow, kind: str) -> int:
    return int(getattr(trial, KEPT[kind][1]))


def _accuracy(trial: TrialRow) -> float:
    return trial.val_accuracy or 0.0

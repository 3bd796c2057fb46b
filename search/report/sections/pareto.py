"""Accuracy of every trial against what it keeps, and the front that no trial beats."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from search.figures.axes import log_ticks
from search.figures.chart import INK, Panel, key, label_room
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.results.names import network_name
from search.results.pareto import pareto
from search.results.rows import TrialRow

GRID = 110  # cells along an axis: of a policy's trials that fall into one cell, one is drawn


@dataclass(frozen=True)
class Price:
    """What accuracy is paid with: the less, the better."""

    name: str
    label: str  # of its axis
    of: Callable[[TrialRow], float | None]  # None: not measured


PRICES = {
    "params": Price(
        "weights", "weights kept (% of dense)", lambda trial: _share(trial.params_kept, trial.params_total)
    ),
    "macs": Price(
        "MACs", "multiply-accumulates kept (% of dense)", lambda trial: _share(trial.macs_kept, trial.macs_total)
    ),
    "latency": Price("latency", "latency of one image (ms)", lambda trial: trial.latency_ms),
}


def pareto_section(evidence: Evidence) -> Section:
    """Accuracy of every trial against what it keeps, the front marked."""
    networks: dict[str, list[TrialRow]] = defaultdict(list)
    for trial in evidence.finished:
        networks[network_name(trial)].append(trial)
    fronts = {name: {kind: front(own, kind) for kind in PRICES} for name, own in networks.items()}
    groups = {
        name: [_scatter(evidence, networks[name], kind) for kind, best in own.items() if best]
        for name, own in fronts.items()
    }
    rows = [
        (
            name,
            trial.policy,
            f"{trial.sparsity:g}",
            str(trial.seed),
            f"{trial.params_kept:,}",
            f"{trial.macs_kept:,}",
            f"{100 * (trial.best_val_accuracy or 0):.2f}",
            "" if trial.latency_ms is None else f"{trial.latency_ms:.2f}",
            ", ".join(PRICES[kind].name for kind, best in own.items() if trial in best),
            trial.trial,
        )
        for name, own in fronts.items()
        for trial in sorted({t.trial: t for best in own.values() for t in best}.values(), key=_accuracy, reverse=True)
    ]
    head = ("network", "policy", "sparsity", "seed", "weights", "MACs", "accuracy (%)", "ms", "front of", "trial")
    text = (
        f"Each of the {len(evidence.finished):,} finished trials, one seed each, by the accuracy of its best epoch on "
        "validation samples, against what is kept and, where it was measured, latency. Ringed and joined: the front, "
        "which no trial beats with as little or less. Trials of a policy that would cover one another are drawn once; "
        "the front is exact."
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
    """Trials that no other one beats in accuracy and in a price, by its name in `PRICES`: the lowest first."""
    priced = [(price, trial) for trial in trials if (price := PRICES[kind].of(trial)) is not None]
    return [priced[place][1] for place in pareto([(price, -_accuracy(trial)) for price, trial in priced])]


def _scatter(evidence: Evidence, trials: Sequence[TrialRow], kind: str) -> Panel:
    price = PRICES[kind]
    priced = [trial for trial in trials if price.of(trial) is not None]
    policies = evidence.policies(priced)

    def places(own: Sequence[TrialRow]) -> list[tuple[float, float]]:
        return [(paid, 100 * _accuracy(trial)) for trial in own if (paid := price.of(trial)) is not None]

    fronted = places(best := front(trials, kind))

    def draw(axis: Axes) -> None:
        axis.set_xscale("log")
        for policy in policies:
            look = {**evidence.looks[policy].point, "markersize": 3.2, "alpha": 0.75}
            points = _thinned(places([trial for trial in priced if trial.policy == policy]))
            axis.plot(*zip(*points, strict=True), **look)
        axis.step(*zip(*fronted, strict=True), where="post", color=INK, lw=0.8)
        axis.plot(*zip(*fronted, strict=True), "o", markersize=6.5, mfc="none", mec=INK, mew=0.7)
        log_ticks(axis)
        axis.set_xlabel(price.label)
        axis.set_ylabel("validation accuracy (%)")
        key(axis, policies, evidence.looks)

    shown = zip(best[-8:], fronted[-8:], strict=True)
    told = "; ".join(f"{accuracy:.1f} % at {paid:.2g} ({trial.policy})" for trial, (paid, accuracy) in shown)
    description = f"{len(priced)} trials. Front, accuracy at {price.label}: {told}."
    return Panel(f"by {price.name}", description, draw, right=label_room(policies))


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep one point of each cell of a grid that is even in accuracy and in the logarithm of what is kept."""
    cells = {
        (round(GRID * math.log10(kept) / 2.5), round(GRID * accuracy / 100)): (kept, accuracy)
        for kept, accuracy in points
    }
    return list(cells.values())


def _share(kept: int | None, total: int | None) -> float | None:
    return 100 * kept / total if kept is not None and total else None


def _accuracy(trial: TrialRow) -> float:
    return trial.best_val_accuracy or 0.0

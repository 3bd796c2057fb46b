"""Accuracy of each trial against what it keeps, and the Pareto front."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from search.figures.axes import log_ticks
from search.figures.chart import INK, Panel, label_width, legend
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.results.names import network_name
from search.results.pareto import pareto
from search.results.rows import TrialRow
from search.results.scale import PERCENT, rank, scale_of
from trainables.counts import quantity

GRID = 110  # cells along an axis; a policy has one marker in a cell, at most


@dataclass(frozen=True)
class Price:
    """What accuracy costs: less is better."""

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
    "latency": Price("latency", "latency of one batch (ms)", lambda trial: trial.latency_ms),
}


def pareto_section(evidence: Evidence) -> Section:
    """Accuracy of each trial against what it keeps, with the Pareto front."""
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
            scale_of(trial.metric).number(trial.best_val_accuracy or 0.0, more_digits=1),
            "" if trial.latency_ms is None else f"{trial.latency_ms:.2f}",
            ", ".join(PRICES[kind].name for kind, best in own.items() if trial in best),
            trial.trial,
        )
        for name, own in fronts.items()
        for trial in sorted({t.trial: t for best in own.values() for t in best}.values(), key=rank, reverse=True)
    ]
    head = (
        "network",
        "policy",
        "sparsity",
        "seed",
        "weights",
        "MACs",
        evidence.head_of_metrics,
        "ms",
        "front of",
        "trial",
    )
    text = (
        f"Each marker is one of the {len(evidence.finished):,} finished trials, one seed each: the validation metric "
        "of its best epoch against what it keeps and, where it was measured, latency. Circles joined by a line are the "
        "Pareto front: no other trial is better at the same or lower cost. Where markers of a policy would "
        "cover each other, one is drawn; the front is exact."
    )
    return Section(
        "pareto",
        "Pareto front",
        text,
        groups,
        [Table(f"Trials on a front, by {evidence.metrics}", head, rows, words=2)],
        columns=2,
    )


def front(trials: Sequence[TrialRow], kind: str) -> list[TrialRow]:
    """Give the trials of the Pareto front of the metric and a price in `PRICES`, the lowest price first."""
    priced = [(price, trial) for trial in trials if (price := PRICES[kind].of(trial)) is not None]
    return [priced[position][1] for position in pareto([(price, -rank(trial)) for price, trial in priced])]


def _scatter(evidence: Evidence, trials: Sequence[TrialRow], kind: str) -> Panel:
    price = PRICES[kind]
    priced = [trial for trial in trials if price.of(trial) is not None]
    policies, scale = evidence.policies(priced), scale_of(trials[0].metric)

    def points(own: Sequence[TrialRow]) -> list[tuple[float, float]]:
        shown = ((price.of(trial), scale.factor * (trial.best_val_accuracy or 0.0)) for trial in own)
        return [(paid, value) for paid, value in shown if paid is not None]

    front_points = points(best := front(trials, kind))
    values_of_all = [value for _, value in points(priced)]
    spread = (0.0, 100.0) if scale is PERCENT else (min(values_of_all), max(values_of_all))

    def draw(axis: Axes) -> None:
        axis.set_xscale("log")
        for policy in policies:
            style = {**evidence.style_of[policy].point, "markersize": 3.2, "alpha": 0.75}
            shown = _thinned(points([trial for trial in priced if trial.policy == policy]), *spread)
            axis.plot(*zip(*shown, strict=True), **style)
        axis.step(*zip(*front_points, strict=True), where="post", color=INK, lw=0.8)
        axis.plot(*zip(*front_points, strict=True), "o", markersize=6.5, mfc="none", mec=INK, mew=0.7)
        log_ticks(axis)
        axis.set_xlabel(price.label)
        axis.set_ylabel(f"validation {scale.axis}")
        legend(axis, policies, evidence.style_of)

    last = zip(best[-8:], front_points[-8:], strict=True)
    values = "; ".join(
        f"{scale.text(trial.best_val_accuracy)} at {paid:.2g} ({trial.policy})" for trial, (paid, _) in last
    )
    description = f"{quantity(len(priced), 'trial')}. Front, {scale.metric} at {price.label}: {values}."
    return Panel(f"by {price.name}", description, draw, right=label_width(policies))


def _thinned(points: Sequence[tuple[float, float]], low: float, high: float) -> list[tuple[float, float]]:
    """Keep one point in each cell of a grid. The grid is even in the metric and in the logarithm of what is kept."""
    length = (high - low) or 1.0
    cells = {
        (round(GRID * math.log10(kept) / 2.5), round(GRID * (value - low) / length)): (kept, value)
        for kept, value in points
    }
    return list(cells.values())


def _share(kept: int | None, total: int | None) -> float | None:
    return 100 * kept / total if kept is not None and total else None

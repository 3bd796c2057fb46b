"""How well accuracy before fine-tuning ranks the trials of a search. Early stopping relies on this ranking."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from search.comparison.rank_correlation import Ranking, accuracies, fine_tuned, rankings
from search.comparison.wording import correlation
from search.figures.chart import Panel, label_width, legend
from search.figures.section import Section, Table
from search.report.sections.accuracy_tables import STAGES
from search.report.sections.evidence import Evidence
from search.results.rows import TrialRow
from search.results.scale import Scale, scale_of
from trainables.counts import quantity

GRID = 60  # cells along an axis; a policy has one marker in a cell, at most


def ranking_section(evidence: Evidence) -> Section:
    """First against final accuracy of each trial of a search, and their rank correlation."""
    title = f"How well {evidence.metrics} before fine-tuning ranks trials"
    ranked = rankings(evidence.trials, evidence.starts)
    if not ranked:
        return Section("ranking", title, "No search has three fine-tuned trials that differ in it.")
    names = {rows[0].setting: name for name, rows in evidence.settings.items()}
    groups: dict[str, list[Panel]] = {}
    for by_seed in fine_tuned(evidence.trials, evidence.starts):
        trials = [trial for own in by_seed.values() for trial in own]
        for row in ranked:
            if (row.setting, row.sparsity) == (trials[0].setting, trials[0].sparsity):
                groups.setdefault(names[row.setting], []).append(_scatter(evidence, row, trials))
    rows = [
        (
            names[row.setting],
            STAGES[row.first],
            f"{row.sparsity:g}",
            correlation(row.correlation),
            str(row.trials),
            ", ".join(map(str, row.seeds)),
        )
        for row in ranked
    ]
    text = (
        "Each marker is a finished trial of a search: its metric before fine-tuning, recalibrated or also "
        "compensated, and the metric of its best epoch. Above each chart is Spearman's rank correlation ρ, the mean "
        "over searches, with its 95 % interval over seeds. At 1, the first values give the final order without "
        "training; at 0, they say nothing about it. Trials that a scheduler stopped have no final value. The others "
        "began well, which tends to lower ρ."
    )
    head = ("network", "first value", "sparsity", "rank correlation", "trials", "seeds")
    table = Table(f"Rank correlation of first and final {evidence.metrics}", head, rows, words=2)
    return Section("ranking", title, text, groups, [table])


def _scatter(evidence: Evidence, row: Ranking, trials: Sequence[TrialRow]) -> Panel:
    title = f"{STAGES[row.first]}, sparsity {row.sparsity:g}: ρ {correlation(row.correlation)}"
    policies, scale = evidence.policies(trials), scale_of(trials[0].metric)
    first, final = ([scale.factor * value for value in values] for values in accuracies(trials, row.first))
    columns, rows = _cells(first), _cells(final)

    def draw(axis: Axes) -> None:
        for policy in reversed(policies):  # the few named policies on top of a search's many trials
            at = [place for place, trial in enumerate(trials) if trial.policy == policy]
            points = {(columns[place], rows[place]): (first[place], final[place]) for place in at}
            style = {**evidence.style_of[policy].point, "markersize": 3.2, "alpha": 0.75}
            axis.plot(*zip(*points.values(), strict=True), **style)
        axis.set_xlabel(f"{STAGES[row.first]} {scale.axis}")
        axis.set_ylabel(f"final validation {scale.axis}")
        legend(axis, policies, evidence.style_of)

    description = (
        f"{quantity(len(trials), 'trial')}, from {_range(first, scale)} before fine-tuning and from "
        f"{_range(final, scale)} in the end."
    )
    return Panel(title, description, draw, right=label_width(policies))


def _range(values: Sequence[float], scale: Scale) -> str:
    """Write the least and the largest of values that are as they are shown."""
    return f"{min(values):.{scale.digits}f} to {max(values):.{scale.digits}f}{scale.unit}"


def _cells(values: Sequence[float]) -> list[int]:
    """Divide the range of the values into `GRID` cells; return the cell of each value."""
    low, high = min(values), max(values)
    return [round(GRID * (value - low) / (high - low)) for value in values]

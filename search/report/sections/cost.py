"""Accuracy, or another metric, against search cost: the time that finding the densities took."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes

from search.comparison.compare import ComparisonRow
from search.comparison.wording import written
from search.figures.axes import log_ticks
from search.figures.chart import INK, SMALL, Panel, label_heights, label_width, legend
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.results.scale import scale_of, sign_of

LEAST_SECONDS = 0.001  # shorter times are drawn here, as the axis is logarithmic


def cost_section(evidence: Evidence) -> Section:
    """Accuracy against search cost: a line for each sparsity, a marker for each policy."""
    groups = {name: [_cost(evidence, rows)] for name, rows in evidence.settings.items()}
    rows = [
        (
            name,
            row.policy,
            f"{row.sparsity:g}",
            f"{row.search_cost_seconds:.2f}",
            *map(_counted, (row.search_cost_evaluations, row.search_cost_images)),
            str(row.trials),
            str(row.networks),
            written(row.best_val_accuracy, scale=scale_of(row.metric)),
        )
        for name, own in evidence.settings.items()
        for row in own
    ]
    counted = ("evaluations", "images", "trials", "different networks")
    head = ("network", "policy", "sparsity", "search cost (s)", *counted, evidence.head_of_metrics)
    text = (
        "Search cost is the time that finding the densities took, as a mean over seeds. It includes the allocation, "
        "the profile that the allocation uses, and all trials of a search. Each thin line is the best that was "
        "reached in the time at one sparsity. A search chooses its winner on the same samples, which favours it. The "
        "table has more counts. Evaluations are forward passes of all calibration samples, each from the first "
        "changed layer on, and trials of a search. Images are those of all passes, with training and validation of "
        "these trials. A count is blank where an older version, which did not count, ran a trial. Trials and the "
        "different networks among them are counted over all seeds."
    )
    title = f"{evidence.metrics.capitalize()} against search cost"
    return Section("cost", title, text, groups, [Table("Search cost", head, rows, words=2)])


def _cost(evidence: Evidence, rows: Sequence[ComparisonRow]) -> Panel:
    policies, scale, sign = evidence.policies(rows), scale_of(rows[0].metric), sign_of(rows[0])
    costs = [_seconds(row) for row in rows]
    longest, span = max(costs), 3 * max(costs) / min(costs)

    def draw(axis: Axes) -> None:
        axis.set_xscale("log")
        ends: dict[str, float] = {}
        for sparsity in sorted({row.sparsity for row in rows}):
            own = sorted((row for row in rows if row.sparsity == sparsity), key=_seconds)
            seconds, values = [_seconds(row) for row in own], [scale.factor * row.best_val_accuracy.mean for row in own]
            for row, cost, value in zip(own, seconds, values, strict=True):
                axis.plot([cost], [value], **evidence.style_of[row.policy].point)
            best = [sign * value for value in accumulate((sign * value for value in values), max)]
            axis.step([*seconds, longest * span**0.04], [*best, best[-1]], where="post", color=INK, lw=0.6, alpha=0.4)
            ends[f"{sparsity:g}"] = best[-1]
        axis.set_xlim(right=longest * span**0.17)
        for name, (_, height) in label_heights(axis, ends).items():
            axis.text(0.985, height, name, transform=axis.transAxes, fontsize=SMALL, ha="right", va="center_baseline")
        log_ticks(axis)
        axis.set_xlabel("search cost (s); at the right: sparsity")
        axis.set_ylabel(f"validation {scale.axis}")
        legend(axis, policies, evidence.style_of)

    largest = ", ".join(f"{p}: {max(r.search_cost_seconds for r in rows if r.policy == p):.2g} s" for p in policies)
    return Panel(
        f"best {scale.metric} for the time",
        f"Largest mean search cost of each policy: {largest}.",
        draw,
        right=label_width(policies),
    )


def _counted(mean: float | None) -> str:
    return "" if mean is None else f"{mean:,.0f}"


def _seconds(row: ComparisonRow) -> float:
    return max(row.search_cost_seconds, LEAST_SECONDS)

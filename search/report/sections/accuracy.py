"""Accuracy, or another metric, of each policy against sparsity, multiply-accumulates and latency."""

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from search.comparison.compare import ComparisonRow, Estimate
from search.comparison.estimates import telling
from search.comparison.wording import written
from search.figures.axes import readable, round_numbers
from search.figures.bands import LEFT_OUT, band
from search.figures.chart import INK, Panel, Style, end_labels, label_width
from search.figures.section import Section
from search.report.sections.accuracy_tables import int8_files, kept, measured, other_metrics, reached, timed
from search.report.sections.evidence import Evidence, seeds_of
from search.results.scale import ACCURACY, PERCENT, Scale, scale_of, sign_of

WORDS = {"finetune": "fine-tuned", "distill": "distilled", "rewind": "rewound", "scratch": "from scratch"}
INTERVALS = (
    f"Lines are means over seeds. Bands, or bars at a single sparsity, are their 95 % intervals. {LEFT_OUT} The dotted "
    "line is the dense network."
)
TICK_GAP = 19.0  # points between two ticks, at least
STEP = 7.0  # points between policies that have the same x

X = Callable[[ComparisonRow], float]


def sparsity_section(evidence: Evidence) -> Section:
    """Accuracy against sparsity: one-shot, recalibrated, compensated, recovered and in int8."""
    groups = {
        name: [_curve(evidence, rows, stage, title, _depth, _sparsity_axis) for stage, title in _stages(rows).items()]
        for name, rows in evidence.settings.items()
    }
    text = f"{INTERVALS} The axis is logarithmic in the kept fraction, so that high sparsities are spread out."
    name = ACCURACY if evidence.metrics == ACCURACY else "sparsity"
    tables = [reached(evidence), *other_metrics(evidence), *int8_files(evidence)]
    return Section(name, f"{evidence.metrics.capitalize()} against sparsity", text, groups, tables)


def macs_section(evidence: Evidence) -> Section:
    """Accuracy against the multiply-accumulates that the pruned network keeps."""
    groups = {
        name: [_curve(evidence, rows, stage, title, _fewer, _macs_axis) for stage, title in _stages(rows).items()]
        for name, rows in evidence.settings.items()
    }
    text = (
        f"{INTERVALS} Multiply-accumulates are counted on the pruned network. Those of masked weights count as saved, "
        "but dense hardware still computes them."
    )
    title = f"{evidence.metrics.capitalize()} against multiply-accumulates"
    return Section("macs", title, text, groups, [kept(evidence)])


def latency_section(evidence: Evidence) -> Section:
    """Accuracy against the time that the pruned network takes, where it was measured."""
    groups = {
        name: [_curve(evidence, rows, stage, title, _faster, _time_axis) for stage, title in _stages(rows).items()]
        for name, rows in evidence.settings.items()
        if all(row.latency_density for row in rows)
    }
    text = f"{INTERVALS} Times are those of the pruned network, measured in turns with the dense one."
    return Section("latency", f"{evidence.metrics.capitalize()} against latency", text, groups, timed(evidence))


def _stages(rows: Sequence[ComparisonRow]) -> dict[str, str]:
    """Give the stages that differ from the stage before: field -> title."""
    found: dict[str, str] = {}
    for stage, title in measured(rows).items():
        before = next(reversed(found), None)
        if before is None or any(getattr(row, stage) != getattr(row, before) for row in rows):
            found[stage] = WORDS.get(rows[0].recovery, title) if stage == "best_val_accuracy" else title
    return found


def _curve(
    evidence: Evidence, rows: Sequence[ComparisonRow], stage: str, title: str, x: X, set_axis: Callable[..., None]
) -> Panel:
    policies = evidence.policies(rows)
    style_of, one = evidence.style_of, len({row.sparsity for row in rows}) == 1
    scale = scale_of(rows[0].metric)
    same_x = len(set(map(x, rows))) == 1  # policies are drawn side by side, or they would cover each other

    def draw(axis: Axes) -> None:
        dense = max(
            (scale.factor * row.dense_accuracy.mean for row in rows), key=lambda value: sign_of(rows[0]) * value
        )
        shown = [scale.factor * getattr(row, stage).mean for row in rows]
        if one:  # intervals are bars, which must be visible from end to end
            shown += [scale.factor * end for row in rows for end in _ends(getattr(row, stage), scale)]
            axis.set_xlim(min(map(x, rows)) - 0.1, max(map(x, rows)) + 0.1)
        low, high = min(*shown, dense), max(*shown, dense)
        margin = 0.06 * (high - low) + 0.003 * scale.factor
        least, most = (0.0, 100.0) if scale is PERCENT else (-math.inf, math.inf)
        axis.set_ylim(max(least, low - margin), min(most, high + margin))
        axis.axhline(dense, color=INK, lw=0.8, ls=(0, (1, 2)))
        ends = {}
        for i, policy in enumerate(policies):
            own = sorted((row for row in rows if row.policy == policy), key=x)
            xs, estimates = [x(row) for row in own], [getattr(row, stage) for row in own]
            transform = _shifted(axis, i - (len(policies) - 1) / 2 if same_x else 0.0)
            if one:
                _bar(axis, xs[0], estimates[0], style_of[policy], transform, scale)
            else:
                found = (telling(estimate.low, estimate.high, scale.length / scale.factor) for estimate in estimates)
                shown_ends = [ends and (scale.factor * ends[0], scale.factor * ends[1]) for ends in found]
                band(axis, xs, shown_ends, style_of[policy].hue)
            axis.plot(xs, [scale.factor * e.mean for e in estimates], **style_of[policy].line, transform=transform)
            ends[policy] = scale.factor * max(zip(xs, estimates, strict=True), key=lambda pair: pair[0])[1].mean
        axis.set_ylabel(f"validation {scale.axis}")
        set_axis(axis, rows)
        end_labels(axis, ends, style_of)

    last = max(row.sparsity for row in rows)
    values = ", ".join(
        f"{row.policy} {written(getattr(row, stage), scale=scale)}" for row in rows if row.sparsity == last
    )
    description = f"Validation {scale.title}, {title}, {seeds_of(rows)}. At sparsity {last:g}: {values}."
    return Panel(title, description, draw, right=label_width(policies))


def _shifted(axis: Axes, steps: float) -> Transform:
    """Shift to the right by steps of `STEP` points, on any scale of the axis."""
    return axis.transData + ScaledTranslation(steps * STEP / 72, 0, axis.figure.dpi_scale_trans)


def _bar(axis: Axes, x: float, estimate: Estimate, style: Style, transform: Transform, scale: Scale) -> None:
    ends = [scale.factor * end for end in _ends(estimate, scale)]
    axis.plot([x, x], ends, color=style.hue, lw=0.9, alpha=0.6, transform=transform)


def _ends(estimate: Estimate, scale: Scale) -> tuple[float, float]:
    """Give the ends of an interval; the mean twice where too few seeds give none. Those of accuracy end at 0 and 1."""
    low, high = telling(estimate.low, estimate.high, scale.length / scale.factor) or (estimate.mean, estimate.mean)
    return (max(0.0, low), min(1.0, high)) if scale is PERCENT else (low, high)


def _depth(row: ComparisonRow) -> float:
    return -math.log10(1 - row.sparsity)


def _fewer(row: ComparisonRow) -> float:
    return -math.log10(row.macs_density)


def _faster(row: ComparisonRow) -> float:
    assert row.latency_density is not None, "only rows that were timed are drawn against time"
    return -math.log10(row.latency_density)


def _sparsity_axis(axis: Axes, rows: Sequence[ComparisonRow]) -> None:
    _ticks(axis, {_depth(row): f"{row.sparsity:g}" for row in rows})
    axis.set_xlabel(f"sparsity (fraction of {rows[0].budget} removed)")


def _macs_axis(axis: Axes, rows: Sequence[ComparisonRow]) -> None:
    _share_axis(axis)
    axis.set_xlabel("multiply-accumulates kept (% of dense)")


def _time_axis(axis: Axes, rows: Sequence[ComparisonRow]) -> None:
    _share_axis(axis)
    axis.set_xlabel(f"time on {rows[0].device} (% of dense)")


def _share_axis(axis: Axes) -> None:
    low, high = axis.get_xlim()
    least, most = readable(100 / 10**high, 100 / 10**low)
    axis.set_xlim(-math.log10(most / 100), -math.log10(least / 100))
    _ticks(axis, {-math.log10(share / 100): f"{share:g}" for share in round_numbers(least, most)})


def _ticks(axis: Axes, names: Mapping[float, str]) -> None:
    """Set ticks of the x axis: x -> text. Leave out a text that would touch its right neighbour."""
    low, high = axis.get_xlim()
    points = axis.get_position().width * axis.figure.get_figwidth() * 72  # type: ignore[union-attr]
    shown: dict[float, str] = {}
    for x in sorted(names, reverse=True):
        if not shown or (min(shown) - x) / (high - low) * points >= TICK_GAP:
            shown[x] = names[x]
    axis.set_xticks(list(shown), list(shown.values()))
    axis.xaxis.set_minor_locator(NullLocator())

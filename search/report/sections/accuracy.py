"""What each policy reaches: accuracy against sparsity and against multiply-accumulates."""

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from search.comparison.compare import BASELINE, ComparisonRow, Estimate
from search.comparison.wording import percent
from search.figures.axes import readable, round_numbers
from search.figures.chart import INK, Panel, Style, end_labels, label_room
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence, seeds_of

STAGES = {"one_shot_accuracy": "one-shot", "recalibrated_accuracy": "recalibrated", "best_val_accuracy": "recovered"}
WORDS = {"finetune": "fine-tuned", "distill": "distilled", "rewind": "rewound", "scratch": "from scratch"}
INTERVALS = (
    "Lines are means over seeds; bands, or bars where there is one sparsity, their 95 % intervals; the dotted "
    "line is the dense network."
)
TICK_GAP = 15.0  # points
ASIDE = 7.0  # points, from one policy to the next, where there is one sparsity

X = Callable[[ComparisonRow], float]


def sparsity_section(evidence: Evidence) -> Section:
    """Accuracy against sparsity: one-shot, recalibrated and recovered."""
    groups = {
        name: [_curve(evidence, rows, stage, title, _depth, _sparsity_axis) for stage, title in _stages(rows).items()]
        for name, rows in evidence.settings.items()
    }
    text = f"{INTERVALS} The axis is logarithmic in what is kept, so that high sparsities have room."
    return Section("accuracy", "Accuracy against sparsity", text, groups, [_reached(evidence)])


def macs_section(evidence: Evidence) -> Section:
    """Accuracy against the multiply-accumulates that are left."""
    groups = {
        name: [_curve(evidence, rows, stage, title, _fewer, _macs_axis) for stage, title in _stages(rows).items()]
        for name, rows in evidence.settings.items()
    }
    text = (
        f"{INTERVALS} Multiply-accumulates are counted on the pruned network; those of masked weights are saved in "
        "theory only."
    )
    return Section("macs", "Accuracy against multiply-accumulates", text, groups, [_kept(evidence)])


def _stages(rows: Sequence[ComparisonRow]) -> dict[str, str]:
    """Stages that differ from the one before: without recalibration or recovery there is nothing new to show."""
    found: dict[str, str] = {}
    for stage, title in STAGES.items():
        before = next(reversed(found), None)
        if before is None or any(getattr(row, stage) != getattr(row, before) for row in rows):
            found[stage] = WORDS.get(rows[0].recovery, title) if stage == "best_val_accuracy" else title
    return found


def _reached(evidence: Evidence) -> Table:
    tested = any(row.test_accuracy for row in evidence.comparison.rows)
    head = ("network", "policy", "sparsity", "one-shot", "recalibrated", "recovered", *(["test"] if tested else []))
    rows = [
        (
            name,
            row.policy + (" (control)" if row.control else ""),
            f"{row.sparsity:g}",
            *(percent(getattr(row, stage)) for stage in STAGES),
            *([percent(row.test_accuracy)] if tested else []),
            "" if row.policy == BASELINE else percent(row.gap_to_uniform, signed=True),
            ", ".join(map(str, row.seeds)),
        )
        for name, own in evidence.settings.items()
        for row in own
    ]
    caption = "Accuracy in %, mean ± half of the 95 % interval over seeds"
    return Table(caption, (*head, "gap to uniform", "seeds"), rows, words=2)


def _kept(evidence: Evidence) -> Table:
    head = ("network", "policy", "sparsity", "weights kept", "MACs kept", "MACs kept (%)", "accuracy (%)")
    rows = [
        (
            name,
            row.policy,
            f"{row.sparsity:g}",
            f"{row.params_kept:,}",
            f"{row.macs_kept:,}",
            f"{100 * row.macs_density:.1f}",
            percent(row.best_val_accuracy),
        )
        for name, own in evidence.settings.items()
        for row in own
    ]
    return Table("What is kept, and the accuracy of the recovered network", head, rows, words=2)


def _curve(
    evidence: Evidence, rows: Sequence[ComparisonRow], stage: str, title: str, x: X, dress: Callable[..., None]
) -> Panel:
    policies = evidence.policies(rows)
    looks, one = evidence.looks, len({row.sparsity for row in rows}) == 1
    at_one_place = len(set(map(x, rows))) == 1  # where policies would cover one another; what is measured stays put

    def draw(axis: Axes) -> None:
        dense = max(100 * row.dense_accuracy.mean for row in rows)
        shown = [100 * getattr(row, stage).mean for row in rows]
        if one:  # whose intervals are bars, and to be seen whole
            shown += [100 * end for row in rows for end in _ends(getattr(row, stage))]
            axis.set_xlim(min(map(x, rows)) - 0.1, max(map(x, rows)) + 0.1)
        margin = 0.06 * (max(*shown, dense) - min(shown)) + 0.3
        axis.set_ylim(max(0.0, min(shown) - margin), min(100.0, max(*shown, dense) + margin))
        axis.axhline(dense, color=INK, lw=0.8, ls=(0, (1, 2)))
        ends = {}
        for i, policy in enumerate(policies):
            own = sorted((row for row in rows if row.policy == policy), key=x)
            places, estimates = [x(row) for row in own], [getattr(row, stage) for row in own]
            where = _aside(axis, i - (len(policies) - 1) / 2 if at_one_place else 0.0)
            if one:
                _bar(axis, places[0], estimates[0], looks[policy], where)
            else:
                _band(axis, places, estimates, looks[policy])
            axis.plot(places, [100 * e.mean for e in estimates], **looks[policy].line, transform=where)
            ends[policy] = 100 * max(zip(places, estimates, strict=True), key=lambda pair: pair[0])[1].mean
        axis.set_ylabel("validation accuracy (%)")
        dress(axis, rows)
        end_labels(axis, ends, looks)

    last = max(row.sparsity for row in rows)
    told = ", ".join(f"{row.policy} {percent(getattr(row, stage))}" for row in rows if row.sparsity == last)
    description = f"Validation accuracy in %, {title}, {seeds_of(rows)}. At sparsity {last:g}: {told}."
    return Panel(title, description, draw, right=label_room(policies))


def _aside(axis: Axes, steps: float) -> Transform:
    """Move what is drawn so many steps to the right, however the axis is scaled."""
    return axis.transData + ScaledTranslation(steps * ASIDE / 72, 0, axis.figure.dpi_scale_trans)


def _bar(axis: Axes, place: float, estimate: Estimate, look: Style, where: Transform) -> None:
    ends = [100 * end for end in _ends(estimate)]
    axis.plot([place, place], ends, color=look.hue, lw=0.9, alpha=0.6, transform=where)


def _ends(estimate: Estimate) -> tuple[float, float]:
    """Both ends of an interval; the mean twice where there is none. Accuracies stay within [0, 1]."""
    if estimate.low is None or estimate.high is None:
        return estimate.mean, estimate.mean
    return max(0.0, estimate.low), min(1.0, estimate.high)


def _band(axis: Axes, places: Sequence[float], estimates: Sequence[Estimate], look: Style) -> None:
    low, high = [e.low for e in estimates], [e.high for e in estimates]
    if None not in low and None not in high:
        axis.fill_between(places, [100 * v for v in low if v is not None], [100 * v for v in high if v is not None],
                          color=look.hue, alpha=0.09, lw=0)  # fmt: skip


def _depth(row: ComparisonRow) -> float:
    return -math.log10(1 - row.sparsity)


def _fewer(row: ComparisonRow) -> float:
    return -math.log10(row.macs_density)


def _sparsity_axis(axis: Axes, rows: Sequence[ComparisonRow]) -> None:
    _ticks(axis, {_depth(row): f"{row.sparsity:g}".lstrip("0") or "0" for row in rows})
    axis.set_xlabel(f"sparsity (fraction of {rows[0].budget} removed)")


def _macs_axis(axis: Axes, rows: Sequence[ComparisonRow]) -> None:
    low, high = axis.get_xlim()
    least, most = readable(100 / 10**high, 100 / 10**low)
    axis.set_xlim(-math.log10(most / 100), -math.log10(least / 100))
    _ticks(axis, {-math.log10(share / 100): f"{share:g}" for share in round_numbers(least, most)})
    axis.set_xlabel("multiply-accumulates kept (% of dense)")


def _ticks(axis: Axes, places: Mapping[float, str]) -> None:
    """Name places of the x axis, leaving out those that would touch the one to their right."""
    low, high = axis.get_xlim()
    points = axis.get_position().width * axis.figure.get_figwidth() * 72  # type: ignore[union-attr]
    named: dict[float, str] = {}
    for place in sorted(places, reverse=True):
        if not named or (min(named) - place) / (high - low) * points >= TICK_GAP:
            named[place] = places[place]
    axis.set_xticks(list(named), list(named.values()))
    axis.xaxis.set_minor_locator(NullLocator())

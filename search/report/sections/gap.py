"""Which policy is ahead: the gap of each to uniform, and pairs of policies against each other."""

from matplotlib.axes import Axes

from search.comparison.compare import BASELINE
from search.comparison.estimates import telling, tells_nothing
from search.comparison.headline import Gap, Headline
from search.comparison.wording import TOO_FEW, holm_of, seeds_more_of, verdict_of, written
from search.figures.chart import INK, Panel, Style
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.results.scale import Scale, scale_of

STAGES = {
    "one_shot": "one-shot",
    "recalibrated": "recalibrated",
    "compensated": "compensated",
    "": "recovered",  # the headline itself
}


def gap_section(evidence: Evidence) -> Section:
    """Gap to uniform over all sparsities, before and after recovery, and pairs of policies."""
    headline = evidence.comparison.headline
    if not headline:
        text = f"No policy was run at the same budget and seeds as {BASELINE}, so there is no gap to show."
        return Section("gap", f"Gap to {BASELINE}", text, tables=[_versus(evidence), _pairs(evidence)])
    stages: dict[str, dict[str, Gap]] = {}
    for stage, title in STAGES.items():
        found = {name: _gap(policy, stage) for name, policy in headline.items()}
        gaps = {name: gap for name, gap in found.items() if gap}
        if gaps and gaps not in stages.values():  # a study without recalibration or recovery repeats the stage before
            stages[title] = gaps
    panels = [_forest(evidence, title, gaps) for title, gaps in stages.items()]
    rows = [
        (
            name,
            title,
            scale_of(headline[name].metric).number(gap.mean_gap, 1, signed=True),
            _interval(gap, scale_of(headline[name].metric)),
            scale_of(headline[name].metric).number(gap.max_gap, 1, signed=True),
            f"{gap.max_sparsity:g}",
        )
        for name in headline
        for title, gaps in stages.items()
        if (gap := gaps.get(name))
    ]
    unit = _unit(evidence)
    head = ("policy", "stage", f"mean gap{unit}", "95 % interval", f"largest{unit}", "at sparsity")
    text = (
        f"How far validation {evidence.metrics} is ahead of {BASELINE}'s at the same budget and seed{unit}. Above 0 "
        "is better. The marker is the mean over networks and sparsities, the bar its 95 % interval over seeds, the "
        "tick the largest mean at one sparsity."
    )
    table = Table(f"Gap to {BASELINE}", head, rows, words=2)
    return Section("gap", f"Gap to {BASELINE}", text, {"": panels}, [table, _versus(evidence), _pairs(evidence)])


def _interval(gap: Gap, scale: Scale) -> str:
    if ends := telling(gap.low, gap.high, scale.length / scale.factor):
        return " to ".join(scale.number(end, 1, signed=True) for end in ends)
    return TOO_FEW if tells_nothing(gap.low, gap.high, scale.length / scale.factor) else ""


def _gap(headline: Headline, stage: str) -> Gap | None:
    gap: Gap | None = getattr(headline, stage) if stage else headline
    return gap and Gap.model_validate({name: getattr(gap, name) for name in Gap.model_fields})


def _forest(evidence: Evidence, title: str, gaps: dict[str, Gap]) -> Panel:
    scales = {name: scale_of(evidence.comparison.headline[name].metric) for name in gaps}
    units = " or ".join(sorted({scale.points or scale.metric for scale in scales.values()}))

    def style(name: str) -> Style:
        return evidence.style_of[name.split(", ")[0]]

    def draw(axis: Axes) -> None:
        for row, (name, gap) in enumerate(gaps.items()):
            hue, factor = style(name).hue, scales[name].factor
            if ends := telling(gap.low, gap.high, scales[name].length / factor):
                axis.plot([factor * end for end in ends], [row, row], color=hue, lw=1.6, alpha=0.6)
            axis.plot([factor * gap.mean_gap], [row], **{**style(name).point, "markersize": 6})
            axis.plot([factor * gap.max_gap], [row], "|", color=hue, markersize=8, markeredgewidth=1.4)
        axis.axvline(0, color=INK, lw=0.8)
        axis.set_yticks(range(len(gaps)), list(gaps))
        axis.set_ylim(len(gaps) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.set_xlabel(f"ahead of {BASELINE} ({units})")

    values = "; ".join(
        f"{name} {scales[name].number(gap.mean_gap, signed=True)}, at most "
        f"{scales[name].number(gap.max_gap, signed=True)}"
        for name, gap in gaps.items()
    )
    left = 10 + 4.3 * max(map(len, gaps))
    return Panel(
        title, f"{units.capitalize()} ahead of {BASELINE}: {values}.", draw, height=54 + 15 * len(gaps), left=left
    )


def _unit(evidence: Evidence) -> str:
    """Write the unit of differences in brackets; an empty text for metrics without a unit."""
    points = {scale_of(row.metric).points for row in evidence.comparison.rows} - {""}
    return f" ({' or '.join(points)})" if points else ""


def _versus(evidence: Evidence) -> Table:
    rows = [
        (
            ", ".join(filter(None, (pair.policy, pair.arm))),
            pair.rival,
            f"{pair.wins}",
            f"{pair.ties}",
            f"{pair.losses}",
            "" if pair.mean_difference is None else scale_of(pair.metric).number(pair.mean_difference, 1, signed=True),
            *("" if p is None else f"{p:.3f}" for p in (pair.p, pair.smallest_p, pair.holm_p)),
        )
        for pair in evidence.comparison.versus
    ]
    head = (
        "policy",
        "against",
        "wins",
        "ties",
        "losses",
        f"mean{_unit(evidence)}",
        "p",
        "smallest possible p",
        "p after Holm",
    )
    caption = "Pairs of policies, by network, sparsity and seed. p: sign-flip test of the seeds' mean differences"
    return Table(caption, head, rows, words=2)


def _pairs(evidence: Evidence) -> Table:
    names = {rows[0].setting: name for name, rows in evidence.settings.items()}
    several = len(names) > 1
    rows = [
        (
            *([names[pair.setting]] if several else []),
            *(pair.policy, pair.rival, verdict_of(pair), f"{pair.sparsity:g}"),
            written(pair.gap, signed=True, more_digits=1, scale=scale_of(pair.metric)),
            *(seeds_more_of(pair), holm_of(pair)),
            ", ".join(map(str, pair.seeds)),
        )
        for pair in sorted(evidence.comparison.pairs, key=lambda pair: [*names].index(pair.setting))
    ]
    network = ["network"] if several else []
    words = (*network, "policy", "against", "verdict")
    numbers = ("sparsity", f"gap{_unit(evidence)}", "seeds more to decide", "p after Holm", "seeds")
    margin = scale_of(evidence.comparison.rows[0].metric).difference(evidence.comparison.margin or 0.0)
    caption = (
        f"Pairs of policies in each cell, with a margin of {margin}. Better, "
        "worse: the 95 % interval excludes 0. Equivalent: the 90 % interval lies within the margin"
    )
    return Table(caption, (*words, *numbers), rows, words=len(words))

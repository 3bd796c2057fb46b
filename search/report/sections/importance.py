"""Which parts' densities decided in the searches, beside what capacity keeps of them."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from search.comparison.estimates import Estimate
from search.comparison.importance import FEWEST, Importance, importances_of
from search.comparison.wording import correlation, percent
from search.figures.chart import HUES, INK, SMALL, WIDTH, Panel
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.study.search_spec import CAPACITY

HUE = HUES[1]
ROW = 13.0  # points
BESIDE = 34.0  # points for capacity's densities


def importance_section(evidence: Evidence) -> Section:
    """Importance of every part's density, a chart for each sparsity."""
    title = "Which parts' densities decided"
    found, left_out = importances_of(evidence.trials, evidence.starts)
    without = f" Left out: {'; '.join(left_out)}." if left_out else ""
    if not found:
        text = f"No search has {FEWEST} finished trials whose accuracies differ, so none can tell which parts decided."
        return Section("importance", title, text + without)
    names = {rows[0].setting: name for name, rows in evidence.settings.items()}
    groups: dict[str, list[Panel]] = {}
    for row in found:
        groups.setdefault(names[row.setting], []).append(_panel(row))
    text = (
        "How much the density of each part decided about the accuracy among the trials seen, in % of all parts: mean "
        "over searches, one for each seed (marker), with its 95 % interval (bar); dotted where each would be if all "
        "were alike. By PED-ANOVA, which asks how far a density sets the best third of a search's trials apart from "
        "all of them. It is not how much of a part is needed, and the budget ties densities to each other. At the "
        f"right: % of its units that {CAPACITY} keeps." + without
    )
    return Section("importance", title, text, groups, [_parts(names, found), _agreement(names, found)])


def _panel(row: Importance) -> Panel:
    parts, shown = [told.part for told in row.parts], [told.importance for told in row.parts]
    means, lows, highs = ([100 * _end(e, end) for e in shown] for end in ("mean", "low", "high"))
    room = 8 + 3.9 * max(map(len, parts))

    def draw(axis: Axes) -> None:
        places, rows = range(len(parts)), axis.get_yaxis_transform()
        edge = 1 + (BESIDE - 4) / (WIDTH - room - BESIDE)
        texts = [f"{CAPACITY} keeps %", *("" if t.capacity is None else f"{100 * t.capacity:.1f}" for t in row.parts)]
        for place, text in zip((-1, *places), texts, strict=True):
            axis.text(edge, place, text, transform=rows, fontsize=SMALL, ha="right", va="center_baseline")
        axis.hlines(places, lows, highs, color=HUE, lw=1.2, alpha=0.5)
        axis.plot(means, places, "o", color=HUE, markersize=4.2, markeredgewidth=0)
        axis.axvline(100 / len(parts), color=INK, lw=0.8, ls=(0, (1, 2)))
        axis.set_yticks(places, parts, fontsize=6.5)
        axis.set_ylim(len(parts) - 0.4, -0.6)
        axis.set_xlim(left=0)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("importance (% of all)")

    most = sorted(row.parts, key=lambda told: -told.importance.mean)[:3]
    told = f"{len(parts)} parts. Most important: {', '.join(f'{m.part} {percent(m.importance)} %' for m in most)}."
    height = 66 + ROW * len(parts)
    return Panel(f"sparsity {row.sparsity:g}", told, draw, height=height, left=room, right=BESIDE, top=30)


def _end(estimate: Estimate, end: str) -> float:
    """An end of the interval; the mean where a single seed has none."""
    value: float | None = getattr(estimate, end)
    return estimate.mean if value is None else value


def _parts(names: Mapping[str, str], found: Sequence[Importance]) -> Table:
    rows = [
        (
            names[row.setting],
            told.part,
            f"{row.sparsity:g}",
            percent(told.importance),
            "" if told.capacity is None else f"{100 * told.capacity:.1f}",
            str(row.trials),
            ", ".join(map(str, row.seeds)),
        )
        for row in found
        for told in row.parts
    ]
    head = ("network", "part", "sparsity", "importance (%)", f"{CAPACITY} keeps (%)", "trials", "seeds")
    return Table(f"Importance of each part's density, beside what {CAPACITY} keeps of its units", head, rows, words=2)


def _agreement(names: Mapping[str, str], found: Sequence[Importance]) -> Table:
    rows = [
        (names[row.setting], f"{row.sparsity:g}", correlation(row.agreement) if row.agreement else "") for row in found
    ]
    caption = f"Rank correlation over parts of importances with the densities of {CAPACITY}"
    return Table(caption, ("network", "sparsity", "rank correlation"), rows)

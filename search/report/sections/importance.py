"""How important the density of each part was in the searches, beside what capacity keeps of the part."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from search.comparison.estimates import Estimate
from search.comparison.importance import FEWEST, Importance, importances_of
from search.comparison.wording import correlation, written
from search.figures.chart import HUES, INK, SMALL, WIDTH, Panel
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.study.search_spec import CAPACITY
from trainables.counts import quantity

HUE = HUES[1]
ROW = 13.0  # points
BESIDE = 34.0  # points at the right, for the densities of capacity


def importance_section(evidence: Evidence) -> Section:
    """Importance of each part's density, a chart for each sparsity."""
    title = "Which parts' densities matter"
    found, left_out = importances_of(evidence.trials, evidence.starts)
    without = f" Left out: {'; '.join(left_out)}." if left_out else ""
    if not found:
        text = f"No search has {FEWEST} finished trials with different results. An estimate needs that many."
        return Section("importance", title, text + without)
    names = {rows[0].setting: name for name, rows in evidence.settings.items()}
    groups: dict[str, list[Panel]] = {}
    for row in found:
        groups.setdefault(names[row.setting], []).append(_panel(row))
    text = (
        "How much the density of each part influenced accuracy in the trials of a search, in % of all parts. The "
        "marker is the mean over searches, one for each seed; the bar is its 95 % interval. If all parts were equally "
        "important, all markers would be on the dotted line. PED-ANOVA estimates importance: it compares the densities "
        "of the best third of a search's trials with those of all its trials. Importance is not the share of a part "
        "that is needed, and the budget makes densities depend on each other. At the right: % of the part's units "
        f"that {CAPACITY} keeps." + without
    )
    return Section("importance", title, text, groups, [_parts(names, found), _agreement(names, found)])


def _panel(row: Importance) -> Panel:
    parts, shown = [part.part for part in row.parts], [part.importance for part in row.parts]
    means, lows, highs = ([100 * _end(e, end) for e in shown] for end in ("mean", "low", "high"))
    left = 8 + 3.9 * max(map(len, parts))

    def draw(axis: Axes) -> None:
        rows, transform = range(len(parts)), axis.get_yaxis_transform()
        edge = 1 + (BESIDE - 4) / (WIDTH - left - BESIDE)
        texts = [f"{CAPACITY} keeps %", *("" if t.capacity is None else f"{100 * t.capacity:.1f}" for t in row.parts)]
        for height, text in zip((-1, *rows), texts, strict=True):
            axis.text(edge, height, text, transform=transform, fontsize=SMALL, ha="right", va="center_baseline")
        axis.hlines(rows, lows, highs, color=HUE, lw=1.2, alpha=0.5)
        axis.plot(means, rows, "o", color=HUE, markersize=4.2, markeredgewidth=0)
        axis.axvline(100 / len(parts), color=INK, lw=0.8, ls=(0, (1, 2)))
        axis.set_yticks(rows, parts, fontsize=6.5)
        axis.set_ylim(len(parts) - 0.4, -0.6)
        axis.set_xlim(left=0)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("importance (% of all)")

    most = sorted(row.parts, key=lambda part: -part.importance.mean)[:3]
    description = (
        f"{quantity(len(parts), 'part')}. Most important: "
        f"{', '.join(f'{m.part} {written(m.importance)} %' for m in most)}."
    )
    height = 66 + ROW * len(parts)
    return Panel(f"sparsity {row.sparsity:g}", description, draw, height=height, left=left, right=BESIDE, top=30)


def _end(estimate: Estimate, end: str) -> float:
    """Give an end of the interval; the mean where a single seed gives no interval."""
    value: float | None = getattr(estimate, end)
    return estimate.mean if value is None else value


def _parts(names: Mapping[str, str], found: Sequence[Importance]) -> Table:
    rows = [
        (
            names[row.setting],
            part.part,
            f"{row.sparsity:g}",
            written(part.importance),
            "" if part.capacity is None else f"{100 * part.capacity:.1f}",
            str(row.trials),
            ", ".join(map(str, row.seeds)),
        )
        for row in found
        for part in row.parts
    ]
    head = ("network", "part", "sparsity", "importance (%)", f"{CAPACITY} keeps (%)", "trials", "seeds")
    return Table(
        f"Importance of each part's density, and the share of its units that {CAPACITY} keeps", head, rows, words=2
    )


def _agreement(names: Mapping[str, str], found: Sequence[Importance]) -> Table:
    rows = [
        (names[row.setting], f"{row.sparsity:g}", correlation(row.agreement) if row.agreement else "") for row in found
    ]
    caption = f"Rank correlation over parts: importances and the densities of {CAPACITY}"
    return Table(caption, ("network", "sparsity", "rank correlation"), rows)

"""Which parts' densities decided in the searches, beside what capacity keeps of them."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from search.importance import CAPACITY, FEWEST, Importance, importances_of
from search.report.chart import HUES, INK, SMALL, Panel
from search.report.evidence import Evidence, Section, Table
from search.search_tables import correlation
from search.tables import percent

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
        "over searches, one for each seed (marker), with its 95 % interval (bar); dotted where all would be alike. By "
        "PED-ANOVA, which asks how far a density sets the best third of a search's trials apart from all of them. It "
        "is not how much of a part is needed, and the budget ties densities to each other. At the right: % of its "
        f"units that {CAPACITY} keeps." + without
    )
    return Section("importance", title, text, groups, [_parts(names, found), _agreement(names, found)])


def _panel(row: Importance) -> Panel:
    parts = [told.part for told in row.parts]
    even = 100 / len(parts)

    def draw(axis: Axes) -> None:
        for place, told in enumerate(row.parts):
            shown = told.importance
            if shown.low is not None and shown.high is not None:
                axis.plot([100 * shown.low, 100 * shown.high], [place, place], color=HUE, lw=1.2, alpha=0.5)
            axis.plot([100 * shown.mean], [place], "o", color=HUE, markersize=4.2, markeredgewidth=0)
            if told.capacity is not None:
                kept, where = f"{100 * told.capacity:.1f}", axis.get_yaxis_transform()
                axis.text(1.04, place, kept, transform=where, fontsize=SMALL, va="center_baseline")
        axis.axvline(even, color=INK, lw=0.8, ls=(0, (1, 2)))
        axis.set_yticks(range(len(parts)), parts, fontsize=6.5)
        axis.set_ylim(len(parts) - 0.4, -0.6)
        axis.set_xlim(left=0)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("importance (% of all)")

    most = sorted(row.parts, key=lambda told: -told.importance.mean)[:3]
    told = f"{len(parts)} parts. Most important: {', '.join(f'{m.part} {percent(m.importance)} %' for m in most)}."
    room = 8 + 3.9 * max(map(len, parts))
    return Panel(f"sparsity {row.sparsity:g}", told, draw, height=54 + ROW * len(parts), left=room, right=BESIDE)


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

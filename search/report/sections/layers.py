"""What each layer keeps under each policy."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm

from search.comparison.compare import ComparisonRow
from search.figures.chart import Panel
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from trainables.counts import quantity

SHADES = LinearSegmentedColormap.from_list("kept", ("#f7fbff", "#c9dff0", "#8abcdc", "#3f8cc4", "#135a9c", "#08306b"))
MOST_NUMBERS = 4000  # in all heat maps of a report; a larger report shows shades without numbers
ROW, COLUMN = 12.0, 22.0  # points


def kept_section(evidence: Evidence) -> Section:
    """Density of each layer under each policy, a heat map for each sparsity."""
    numbers = sum(len(row.layers) for row in evidence.comparison.rows) <= MOST_NUMBERS
    groups = {
        name: [
            _heat_map(evidence, [row for row in rows if row.sparsity == sparsity], numbers)
            for sparsity in sorted({row.sparsity for row in rows})
        ]
        for name, rows in evidence.settings.items()
    }
    tables = [_densities(evidence, name, rows) for name, rows in evidence.settings.items()]
    text = (
        "Weights that each layer keeps, in % of the layer's weights, as a mean over seeds. Layers go from input to "
        "output. Darker means more weights. Shades follow the square root, so that sparse layers differ visibly."
    )
    return Section("layers", "What each layer keeps", text, groups, tables, columns=4)


def _heat_map(evidence: Evidence, rows: Sequence[ComparisonRow], numbers: bool) -> Panel:
    policies = evidence.policies(rows)
    by_policy = {row.policy: row.layers for row in rows}
    layers = list(rows[0].layers)
    density = np.array([[by_policy[policy][layer] for policy in policies] for layer in layers])

    def draw(axis: Axes) -> None:
        extent = (-0.5, len(policies) - 0.5, len(layers) - 0.5, -0.5)
        norm = PowerNorm(0.5, 0, 1)
        axis.imshow(density, cmap=SHADES, norm=norm, aspect="auto", interpolation="none", extent=extent)
        if numbers:
            for (row, column), value in np.ndenumerate(density):
                colour = "#ffffff" if value > 0.42 else "#10243a"
                axis.text(
                    column, row, _figures(100 * value), color=colour, fontsize=6.5, ha="center", va="center_baseline"
                )
        axis.grid(visible=False)
        axis.set_yticks(range(len(layers)), layers, fontsize=6.5)
        axis.set_xticks(range(len(policies)), policies, rotation=45, ha="left", rotation_mode="anchor", fontsize=6.5)
        axis.xaxis.tick_top()
        axis.tick_params(length=0, pad=2)
        axis.spines[:].set_visible(False)

    sparsity = rows[0].sparsity
    extremes = "; ".join(
        f"{policy} keeps the largest share of {max(kept, key=kept.__getitem__)}, "
        f"the smallest of {min(kept, key=kept.__getitem__)}"
        for policy, kept in by_policy.items()
    )
    left = 6 + 3.9 * max(map(len, layers))
    beside = max(2.2 * len(policies[-1]) + 4, 150 - left - COLUMN * len(policies))  # at least as wide as the title
    above = 26 + 2.7 * max(map(len, policies))
    return Panel(
        f"sparsity {sparsity:g}: weights kept (%)",
        f"{quantity(len(layers), 'layer')}, {quantity(len(policies), 'policy', 'policies')}. {extremes}.",
        draw,
        width=left + COLUMN * len(policies) + beside,
        height=above + ROW * len(layers) + 4,
        left=left,
        right=beside,
        top=above,
        bottom=4,
    )


def _figures(percent: float) -> str:
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}"


def _densities(evidence: Evidence, name: str, rows: Sequence[ComparisonRow]) -> Table:
    policies = evidence.policies(rows)
    kept = {(row.sparsity, row.policy): row.layers for row in rows}
    body = [
        (layer, f"{sparsity:g}", *(_cell(kept.get((sparsity, policy), {}), layer) for policy in policies))
        for sparsity in sorted({row.sparsity for row in rows})
        for layer in rows[0].layers
    ]
    return Table(f"Weights kept, in % of each layer's weights, {name}", ("layer", "sparsity", *policies), body)


def _cell(layers: Mapping[str, float], layer: str) -> str:
    return f"{100 * layers[layer]:.2f}" if layer in layers else ""

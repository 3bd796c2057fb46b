"""What a comparison looks like: a plot, and one page that needs no network."""

import html
from collections import defaultdict
from io import StringIO
from pathlib import Path

from matplotlib.figure import Figure

from search.comparison import BASELINE, Comparison, ComparisonRow
from search.pictures import image
from search.tables import in_order, network_of, percent, warnings_of

STYLES = ("o-", "s--", "^-.", "D:", "v-", "P--", "X-.", "*:")  # told apart without colour, too

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }}
th:nth-child(-n+3), td:nth-child(-n+3) {{ text-align: left; }}
figure {{ margin: 1rem 0; background: #fff; border-radius: .5rem; }} svg {{ width: 100%; height: auto; }}
</style></head><body><h1>{title}</h1><p>{headline}</p><figure>{plot}</figure>
<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>
<p>Accuracy on validation samples in %, mean and Student's 95 % interval over seeds; the winner of a search is the best
of all its trials by the same samples, which favours it: the test column, where read, does not. {warnings}</p>
</body></html>
"""


def write_report(comparison: Comparison, out: Path) -> list[Path]:
    """Write comparison.json, the plot as PNG and SVG, and index.html into a folder; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    figure = plot(comparison)
    written = {
        "comparison.json": comparison.model_dump_json(indent=1).encode(),
        "accuracy.png": image(figure, "png"),
        "accuracy.svg": image(figure, "svg"),
    }
    written["index.html"] = _page(comparison, written["accuracy.svg"].decode()).encode()
    for name, content in written.items():
        (out / name).write_bytes(content)
    return [out / name for name in written]


def plot(comparison: Comparison) -> Figure:
    """Accuracy against sparsity, one line a policy with its interval, one-shot above recovered; a column a network."""
    networks: dict[tuple[str, str], list[ComparisonRow]] = defaultdict(list)
    for row in in_order(comparison.rows):
        networks[f"{row.dataset}: {network_of(row)}", row.setting].append(row)
    policies = list(dict.fromkeys(row.policy for row in in_order(comparison.rows)))
    figure = Figure(figsize=(6.4 * len(networks), 8), layout="constrained")
    axes = figure.subplots(2, len(networks), sharex="col", sharey=True, squeeze=False)
    for column, ((title, _), rows) in enumerate(networks.items()):
        for line, (field, label) in enumerate((("one_shot_accuracy", "one-shot"), ("val_accuracy", "recovered"))):
            axis = axes[line][column]
            for style, policy in zip(STYLES * len(policies), policies, strict=False):
                own = [row for row in rows if row.policy == policy]
                estimates = [getattr(row, field) for row in own]
                sparsities = [row.sparsity for row in own]
                axis.plot(sparsities, [100 * e.mean for e in estimates], style, label=policy, markersize=5)
                if all(e.low is not None for e in estimates):
                    low, high = ([100 * getattr(e, end) for e in estimates] for end in ("low", "high"))
                    axis.fill_between(sparsities, low, high, alpha=0.15)
            dense = [100 * row.dense_accuracy.mean for row in rows]
            axis.axhline(max(dense), color="grey", linewidth=1, linestyle=(0, (1, 3)), label="dense")
            axis.set_ylim(0, 100)
            axis.grid(alpha=0.3)
            axis.set_title(f"{title}, {label}", fontsize=10)
            axis.set_ylabel("validation accuracy (%)" if column == 0 else "")
        axes[1][column].set_xlabel(f"sparsity (fraction of {rows[0].budget} removed)")
    axes[1][0].legend(fontsize=9)
    return figure


def _page(comparison: Comparison, svg: str) -> str:
    head = ["network", "sparsity", "policy", "one-shot", "recalibrated", "recovered", "test", "gap to uniform"]
    head += ["params kept", "MACs kept", "search cost (s)", "trials", "seeds"]
    body = StringIO()
    for row in in_order(comparison.rows):
        cells = [
            network_of(row),
            f"{row.sparsity:g}",
            row.policy,
            percent(row.one_shot_accuracy),
            percent(row.recalibrated_accuracy),
            percent(row.val_accuracy),
            percent(row.test_accuracy) or "not read",
            "" if row.policy == BASELINE else percent(row.gap_to_uniform, signed=True),
            f"{row.params_kept:,}",
            f"{row.macs_kept:,}",
            f"{row.search_cost_seconds:.2f}",
            str(row.trials),
            ", ".join(map(str, row.seeds)),
        ]
        body.write("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    gaps = [
        f"{policy}: {100 * h.mean_gap:+.1f} points on average, at most {100 * h.max_gap:+.1f}"
        for policy, h in comparison.headline.items()
    ]
    return PAGE.format(
        title=html.escape(f"howcompact: {comparison.study}"),
        headline=html.escape("Gap to uniform after recovery. " + "; ".join(gaps)) if gaps else "",
        plot=svg[svg.index("<svg") :],
        head="".join(f"<th>{name}</th>" for name in head),
        body=body.getvalue(),
        warnings=html.escape("; ".join(warnings_of(comparison.rows))),
    )

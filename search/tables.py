"""Tables for the terminal, narrow enough for 80 columns."""

from collections import defaultdict
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from search.allocating import Allocation
from search.comparison import BASELINE, Comparison, ComparisonRow, Estimate
from search.profiling import FALLS, Compactness
from trainables.spec import Schedule

MOST_LAYERS = 6  # columns; a deeper network's layers are in compare --json and on its page
WIDTH = 100  # of what is printed to a file or a pipe


def print_comparison(comparison: Comparison) -> None:
    """Print what each policy reached and what each layer keeps, network by network."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    networks: dict[tuple[str, str], list[ComparisonRow]] = defaultdict(list)
    for row in in_order(comparison.rows):
        networks[network_of(row), row.setting].append(row)
    for (network, _), rows in networks.items():
        console.print(_reached(f"{rows[0].dataset}, {network}", rows))
        console.print(_kept(rows))
    for policy, headline in comparison.headline.items():
        low, high = headline.low, headline.high
        interval = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if low is not None and high is not None else ""
        gap = f"{100 * headline.mean_gap:+.1f}{interval} points on average, at most {100 * headline.max_gap:+.1f}"
        console.print(f"{policy} against uniform, recovered: {gap}", highlight=False)
    for text in warnings_of(comparison.rows):
        console.print(f"! {text}", highlight=False)


def print_allocation(allocation: Allocation) -> None:
    """Print what each layer would keep."""
    table = _table(f"{allocation.policy} at sparsity {allocation.sparsity:g} of {allocation.budget}")
    for name in ("layer", "weights", "kept", "density %", "MACs kept"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for layer in allocation.layers:
        table.add_row(layer.name, f"{layer.size:,}", f"{layer.keep:,}", f"{100 * layer.density:.2f}", f"{layer.macs:,}")
    table.add_row("all", "", f"{allocation.params_kept:,}", "", f"{allocation.macs_kept:,}")
    Console().print(table)


def print_compactness(found: Compactness) -> None:
    """Print how much of each part can go before accuracy falls, the most compact part of each column marked."""
    unit, dense = found.granularity, 100 * found.profile.dense_accuracy
    print(f"{found.model}, {unit}s by {found.criterion}; dense {dense:.1f} % of {found.calibration:,} training samples")
    print("% of a part that can go, it alone and nothing retrained, before accuracy falls by so many points:")
    table = _table("")
    for name in ("part", "weights", f"{unit}s", *(f"{points} point{'s' if points > 1 else ''}" for points in FALLS)):
        table.add_column(name, justify="left" if name == "part" else "right")
    for part in found.parts:
        marked = (f"{'* ' if found.most_compact[p] == part.name else ''}{100 * part.tolerated[p]:.1f}" for p in FALLS)
        table.add_row(part.name, f"{part.weights:,}", f"{part.units:,}", *marked)
    Console().print(table)
    print("* the most compact: the part that can lose the largest share")


def in_order(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """By network, then sparsity, then policy with uniform first."""
    return sorted(
        rows, key=lambda row: (network_of(row), row.setting, row.sparsity, row.policy != BASELINE, row.policy)
    )


def network_of(row: ComparisonRow) -> str:
    """Name what was pruned, how its units were chosen, and how it was pruned and recovered."""
    schedule = "" if row.schedule == Schedule().name else f", {row.schedule}"
    return f"{row.model}, {row.granularity}s by {row.criterion}{schedule}, {row.recovery}"


def percent(value: Estimate | None, signed: bool = False) -> str:
    """Write an accuracy in percent with half its interval."""
    if value is None:
        return ""
    mean = f"{100 * value.mean:{'+' if signed else ''}.1f}"
    return mean if value.high is None else f"{mean} ±{100 * (value.high - value.mean):.1f}"


def warnings_of(rows: Sequence[ComparisonRow]) -> list[str]:
    """Say which rows may not be comparable, and why."""
    return list(dict.fromkeys(f"{row.policy} at {row.sparsity:g}: {text}" for row in rows for text in row.warnings))


def _reached(title: str, rows: Sequence[ComparisonRow]) -> Table:
    seeds = ", ".join(map(str, rows[0].seeds))
    title = f"{title}: validation accuracy in %, dense {percent(rows[0].dense_accuracy)}"
    table = _table(f"{title}\nmean ± 95 % interval over seeds {seeds} of dense training, pruning and recovery")
    test = any(row.test_accuracy for row in rows)
    names = ["sparsity", "policy", "one-shot", "recalibrated", "recovered", "vs uniform"]
    for name in [*names, *(["test"] if test else []), "cost s", "trials"]:
        table.add_column(name, justify="left" if name == "policy" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row.sparsity:g}",
            f"{row.policy} !" if row.warnings else row.policy,
            percent(row.one_shot_accuracy),
            percent(row.recalibrated_accuracy),
            percent(row.val_accuracy),
            "" if row.policy == BASELINE else percent(row.gap_to_uniform, signed=True),
            *([percent(row.test_accuracy)] if test else []),
            f"{row.search_cost_seconds:.2f}",
            str(row.trials),
            end_section=row.sparsity != rows[min(rows.index(row) + 1, len(rows) - 1)].sparsity,
        )
    return table


def _kept(rows: Sequence[ComparisonRow]) -> Table:
    layers = list(rows[0].layers)
    shown = layers[:MOST_LAYERS]
    more = f" (first {MOST_LAYERS} of {len(layers)} layers)" if len(layers) > MOST_LAYERS else ""
    table = _table(f"what is kept: weights, multiply-accumulates, and % of each layer's weights{more}")
    for name in ("sparsity", "policy", "params", "MACs", *shown):
        fixed = name not in shown
        table.add_column(name.replace(".", "\n."), justify="left" if name == "policy" else "right", no_wrap=fixed)
    for row in rows:
        density = (f"{100 * row.layers[name]:.1f}" for name in shown)
        table.add_row(f"{row.sparsity:g}", row.policy, f"{row.params_kept:,}", f"{row.macs_kept:,}", *density)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)

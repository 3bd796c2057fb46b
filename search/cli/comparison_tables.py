"""A comparison as tables for the terminal."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import groupby

from rich.table import Table

from search.cli.pair_tables import against_best_table
from search.cli.terminal import plain, terminal
from search.comparison.best_rivals import against_best, key_of
from search.comparison.compare import BASELINE, Comparison, ComparisonRow
from search.comparison.estimates import Estimate, tells_nothing
from search.comparison.headline import Gap
from search.comparison.int8_cells import int8_cells
from search.comparison.wording import (
    TOO_FEW,
    after,
    covered,
    fixed_in,
    in_order,
    network_of,
    of_dense,
    recovery_of,
    warnings_of,
    written,
)
from search.results.names import differing, policy_name
from search.results.scale import ACCURACY, Scale, scale_of
from trainables.counts import quantity

MOST_LAYERS = 6  # columns; a deeper network's layers are in compare --json and on its page
NO_INTERVAL = "±?"  # in a narrow table, for an interval that tells nothing
MOST_ROWS = 200  # policies and sparsities

_written = partial(written, too_few=f" {NO_INTERVAL}")


def print_comparison(comparison: Comparison) -> None:
    """Print for each network the accuracies of the policies and what each layer keeps, then the gaps to uniform."""
    console = terminal()
    families: dict[tuple[str, str], list[ComparisonRow]] = defaultdict(list)
    for row in in_order(comparison.rows)[:MOST_ROWS]:
        families[network_of(row, trained=False), row.family].append(row)
    pairs = against_best(comparison)
    for (network, _), rows in families.items():
        console.print(_reached(network, rows))
        console.print(_kept(rows))
        if any(row.other_metrics for row in rows):
            console.print(_other_metrics(rows))
        if quantised := [row for row in rows if row.quantised_accuracy]:
            console.print(_int8_files(quantised))
        if any(row.gap_to_standard for row in rows):
            console.print(_against_control(rows))
        if comparison.margin is not None and any(key_of(row) in pairs for row in rows):
            console.print(against_best_table(rows, pairs, comparison.margin))
    if len(comparison.rows) > MOST_ROWS:
        console.print(
            f"{quantity(len(comparison.rows) - MOST_ROWS, 'more row is', 'more rows are')} in --json and on the "
            "page of --out"
        )
    if comparison.headline:
        console.print(_against_uniform(comparison))
    if comparison.held_out:
        reads = comparison.held_out
        earlier = reads.trials - reads.read_now
        repeated = f"; {earlier} of them had read it before, the first on {reads.first}" if earlier else ""
        console.print(f"{quantity(reads.trials, 'trial has', 'trials have')} read the test split{repeated}")
    estimates = [value for row in comparison.rows for _, value in row if isinstance(value, Estimate)]
    intervals: list[Estimate | Gap] = [*estimates, *comparison.headline.values()]
    fractions = any(row.metric == ACCURACY for row in comparison.rows)
    if fractions and any(tells_nothing(each.low, each.high) for each in intervals):
        console.print(f"{NO_INTERVAL}: {TOO_FEW}, the interval is longer than the scale of all accuracies")
    for text in [*warnings_of(comparison.rows), *comparison.warnings]:
        console.print(f"! {text}")


def _reached(network: str, rows: Sequence[ComparisonRow]) -> Table:
    differs, test, scale = differing(rows), any(row.test_accuracy for row in rows), scale_of(rows[0].metric)
    shown = partial(_written, scale=scale)
    intervals = sorted({row.best_val_accuracy.method for row in rows if row.best_val_accuracy.method})
    kind = {"student": "Student's", "bootstrap": "studentised bootstrap"}
    interval = f", 95 % interval ({', '.join(kind[name] for name in intervals)})" if intervals else ""
    recovery = "" if "recovery" in differs else f", {recovery_of(rows[0])}"
    recovery += "" if "curriculum" in differs else after(rows[0])
    title = (
        f"{rows[0].dataset}: {network}{recovery}",
        f"validation {scale.title}, mean{interval} over",
        f"{covered(rows[0])}; * is a control, ! has a warning below",
        fixed_in(rows),
    )
    table = plain("\n".join(filter(None, title)))
    compensated = ["compensated"] if any(row.compensated_accuracy for row in rows) else []
    names = ["sparsity", "policy", "one-shot", "recalibrated", *compensated, "recovered", "vs uniform"]
    for name in [*names, "test" if test else "images", "cost s", "networks"]:  # the width holds one of the two
        table.add_column(name, justify="left" if name == "policy" else "right", no_wrap=name != "policy")
    dense = {of_dense(row.curriculum): row.dense_accuracy for row in reversed(rows)}
    for name, accuracy in sorted(dense.items()):
        table.add_row("0", f"{name or 'dense'} *", "", "", *["" for _ in compensated], shown(accuracy))
    table.add_section()
    for _, same_sparsity in groupby(rows, key=lambda row: row.sparsity):
        for row in same_sparsity:
            table.add_row(
                f"{row.sparsity:g}",
                _label(row, differs),
                shown(row.one_shot_accuracy),
                shown(row.recalibrated_accuracy),
                *(shown(row.compensated_accuracy) for _ in compensated),
                shown(row.best_val_accuracy),
                "" if row.policy == BASELINE else shown(row.gap_to_uniform, signed=True),
                shown(row.test_accuracy) if test else _short(row.search_cost_images),
                f"{row.search_cost_seconds:.2f}",
                str(row.networks),
            )
        table.add_section()
    return table


def _kept(rows: Sequence[ComparisonRow]) -> Table:
    once = {
        (row.policy, row.compensation, row.recovery, row.sparsity, of_dense(row.curriculum)): row
        for row in reversed(rows)
    }
    rows = list(once.values())[::-1]  # curricula of fine-tuning do not change what is kept
    differs = differing(rows)
    layers = list(rows[0].layers)
    shown = layers[:MOST_LAYERS]
    more = f" (first {MOST_LAYERS} of {len(layers)} layers)" if len(layers) > MOST_LAYERS else ""
    timed = any(row.latency_ms is not None for row in rows)
    devices = dict.fromkeys(row.device for row in rows if row.device)
    time = f", latency on {' and '.join(devices)}" if devices else ", latency" if timed else ""
    table = plain(f"kept weights and multiply-accumulates{time}, and kept % of each layer's weights{more}")
    for name in ("sparsity", "policy", "params", "%", "MACs", "% ", *(("ms", "%  ") if timed else ()), *shown):
        fixed = name not in shown
        table.add_column(name.replace(".", "\n."), justify="left" if name == "policy" else "right", no_wrap=fixed)
    table.add_row("0", "dense *", f"{rows[0].params_total:,}", "100", f"{rows[0].macs_total:,}", "100")
    for row in rows:
        params, macs = f"{100 * row.params_density:.1f}", f"{100 * row.macs_density:.1f}"
        density = (f"{100 * row.layers[name]:.1f}" for name in shown)
        sizes = [f"{row.params_kept:,}", params, f"{row.macs_kept:,}", macs]
        if timed:
            sizes.append("" if row.latency_ms is None else f"{row.latency_ms:.2f}")
            sizes.append("" if row.latency_density is None else f"{100 * row.latency_density:.1f}")
        table.add_row(f"{row.sparsity:g}", _label(row, differs), *sizes, *density)
    return table


def _other_metrics(rows: Sequence[ComparisonRow]) -> Table:
    differs = differing(rows)
    columns = {
        f"{split}{name}": (field, name)
        for split, field in (("", "other_metrics"), ("test ", "test_other_metrics"))
        for name in dict.fromkeys(name for row in rows for name in getattr(row, field))
    }
    test = "; test: on the test split" if any(row.test_other_metrics for row in rows) else ""
    table = plain(f"other metrics of the epoch with the best {rows[0].metric}, on validation samples{test}")
    for head in ("sparsity", "policy", *columns):
        table.add_column(head, justify="left" if head == "policy" else "right", no_wrap=head != "policy")
    for row in rows:
        values = (_written(getattr(row, field).get(name), scale=scale_of(name)) for field, name in columns.values())
        table.add_row(f"{row.sparsity:g}", _label(row, differs), *values)
    return table


def _int8_files(rows: Sequence[ComparisonRow]) -> Table:
    differs = differing(rows)
    title, head, found = int8_cells(rows, _written)
    table = plain(title)
    for name in ("sparsity", "policy", *head):
        table.add_column(name, justify="left" if name == "policy" else "right", no_wrap=name != "policy")
    for row, cells in zip(rows, found, strict=True):
        table.add_row(f"{row.sparsity:g}", _label(row, differs), *cells)
    return table


def _against_control(rows: Sequence[ComparisonRow]) -> Table:
    differs = [name for name in differing(rows) if name != "curriculum"]  # which has a column
    names = {(row.setting, row.sparsity, row.policy): row.curriculum for row in rows}
    scale = scale_of(rows[0].metric)
    shown = partial(_written, scale=scale)
    table = plain(
        f"curricula: {scale.ahead} ahead of the control (the same draws by shuffled scores) and of no curriculum,\n"
        "with the same policy, sparsity, epochs and images; mean and 95 % interval over paired seeds"
    )
    for name in ("sparsity", "policy", "curriculum", "recovered", "vs control", "vs none", "control"):
        words = name in ("policy", "curriculum", "control")
        table.add_column(name, justify="left" if words else "right", no_wrap=not words)
    for row in rows:
        if row.standard_setting:
            table.add_row(
                f"{row.sparsity:g}",
                policy_name(row, differs),
                f"{row.curriculum}{' *' if row.control else ''}",
                shown(row.best_val_accuracy),
                shown(row.gap_to_control, signed=True),
                shown(row.gap_to_standard, signed=True),
                names.get((row.control_setting, row.sparsity, row.policy), ""),
            )
    return table


def _against_uniform(comparison: Comparison) -> Table:
    rivals = {", ".join(filter(None, (v.policy, v.arm))): v for v in comparison.versus if v.rival == BASELINE}
    metrics = {headline.metric for headline in comparison.headline.values()}
    smallest = max(v.smallest_p or 0.0 for v in rivals.values())
    ahead = " and ".join(scale_of(metric).ahead for metric in sorted(metrics))
    table = plain(
        f"{ahead} ahead of uniform: mean over sparsities, 95 % interval\n"
        "over seeds, and maximum; w-t-l: cells of equal budgets won, tied and lost;\n"
        f"p: sign-flip test over seeds, at least {smallest:.2g} with these; Holm: the corrected p"
    )
    table.add_column("policy")
    compensated = ("compensated", "max") if any(each.compensated for each in comparison.headline.values()) else ()
    for name in ("one-shot", "max", "recalibrated", "max", *compensated, "recovered", "max", "w-t-l", "p", "Holm"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, headline in comparison.headline.items():
        versus = rivals[name]
        scale = scale_of(headline.metric)
        before = (headline.one_shot, headline.recalibrated, *([headline.compensated] if compensated else []))
        gaps = (text for gap in (*before, headline) for text in _gap(gap, scale))
        tests = ("" if p is None else f"{p:.2g}" for p in (versus.p, versus.holm_p))
        table.add_row(name, *gaps, f"{versus.wins}-{versus.ties}-{versus.losses}", *tests)
    return table


def _short(count: float | None) -> str:
    """Write a count in thousands or millions if it is long; return nothing if it is unknown."""
    if count is None:
        return ""
    return f"{count:.0f}" if count < 1e4 else f"{count / 1e3:.0f}k" if count < 1e7 else f"{count / 1e6:.0f}M"


def _gap(gap: Gap | None, scale: Scale) -> tuple[str, str]:
    largest = "" if gap is None else scale.number(gap.max_gap, signed=True)
    return _written(gap, signed=True, scale=scale), largest


def _label(row: ComparisonRow, differs: Sequence[str]) -> str:
    marks = (" *" if row.control else "") + (" !" if row.warnings else "")
    return policy_name(row, differs) + marks

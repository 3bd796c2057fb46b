"""What one network can lose, as tables for the terminal."""

from search.cli.terminal import plain, terminal
from search.networks.allocation import Allocation
from search.networks.probe import KINDS, Probing
from search.networks.profile import Compactness
from search.results.scale import scale_of, sign_of
from trainables.allocation.profiles import FALLS
from trainables.counts import quantity
from trainables.pruning.held import Held, much_fixed, outside_budgets, with_reasons


def print_allocation(allocation: Allocation) -> None:
    """Print what each layer would keep."""
    table = plain(f"{allocation.policy} at sparsity {allocation.sparsity:g} of {allocation.budget}")
    for name in ("layer", "weights", "kept", "density %", "MACs kept"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    ruled = any(layer.rule for layer in allocation.layers)
    if ruled:
        table.add_column("rule")
    for layer in allocation.layers:
        kept = (f"{layer.size:,}", f"{layer.keep:,}", f"{100 * layer.density:.2f}", f"{layer.macs:,}")
        table.add_row(layer.name, *kept, *([layer.rule] if ruled else []))
    if allocation.macs_fixed:
        table.add_row("products without weights", "", "", "", f"{allocation.macs_fixed:,}")
    table.add_row("all", "", f"{allocation.params_kept:,}", "", f"{allocation.macs_kept:,}")
    terminal().print(table)
    weights = sum(layer.size for layer in allocation.layers)
    if fixed := outside_budgets([(allocation.params_fixed, weights)]):
        print(fixed)
    if line := much_fixed(allocation.params_fixed, weights + allocation.params_fixed):
        print(f"warning: {line}")
    _print_held(allocation.held)
    if allocation.rounded:
        print(f"whole units: {with_reasons(allocation.rounded)}")


def print_compactness(result: Compactness) -> None:
    """Print how much of each part can be removed before accuracy falls, and mark the most compact part."""
    unit, scale = result.granularity, scale_of(result.metric)
    dense = scale.text(sign_of(result) * result.profile.dense_accuracy)
    named = f"{dense} of" if scale.unit else f"{scale.metric} {dense} on"
    print(
        f"{result.model}, {unit}s by {result.criterion}; dense {named} "
        f"{quantity(result.calibration, 'training sample')}"
    )
    print(f"% of each part that can be removed before {scale.fallen('1, 2 or 5')};")
    fitted = "its layers are fitted again by least squares, " if result.compensated else ""
    print(f"only this part is pruned, {fitted}and nothing is retrained:")
    table = plain("")
    for name in ("part", "weights", f"{unit}s", *map(scale.step, FALLS)):
        table.add_column(name, justify="left" if name == "part" else "right")
    for part in result.parts:
        marked = (f"{'* ' if result.most_compact[p] == part.name else ''}{100 * part.tolerated[p]:.1f}" for p in FALLS)
        table.add_row(part.name, f"{part.weights:,}", f"{part.units:,}", *marked)
    terminal().print(table)
    print("* the most compact part: the largest share of it can be removed")
    _print_held(result.held)


def print_probes(result: Probing) -> None:
    """Print the accuracy of the probe behind each block, and what the network keeps at the threshold."""
    print(f"{result.model}, a linear probe behind each block, fitted to {quantity(result.samples, 'training sample')}")
    table = plain("")
    for name in ("block", "output", "train %", "validation %", "gain", ""):
        table.add_column(name, justify="left" if name in ("block", "") else "right")
    for block in result.blocks:
        gain = "" if block.gain is None else f"{100 * block.gain:+.2f}"
        decision = "" if block.kept and block.removable else "always kept" if block.kept else "removed"
        shape = " x ".join(map(str, block.shape))
        accuracies = (f"{100 * accuracy:.2f}" for accuracy in (block.train_accuracy, block.val_accuracy))
        table.add_row(block.name, shape, *accuracies, gain, decision)
    terminal().print(table)
    print("gain: in points, over the kept block before; the block with the smallest gain is removed,")
    print(f"until every removable block gains at least {100 * result.threshold:g} points. Kept:")
    for kind in KINDS:
        share = 100 * result.kept[kind] / result.total[kind]
        print(f"  {result.kept[kind]:,} of {result.total[kind]:,} {kind} ({share:.1f} %)")
    settings = f"granularity={result.granularity} criteria=[probe] policies=[by-score]"
    print(f"a study with the same result: {settings} budget=params sparsities=[{result.sparsity['params']}]")
    kept = {block.name for block in result.blocks if block.kept}
    instead = {
        "keep": [name for name in result.scanned if name not in kept],
        "drop": sorted(kept - {*result.scanned}),
    }
    if changes := " and ".join(f"{word} {', '.join(names)}" for word, names in instead.items() if names):
        print(f"one pass from input to output would {changes}")


def _print_held(held: Held) -> None:
    if held:
        print(f"not pruned: {with_reasons(held)}")

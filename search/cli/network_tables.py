"""What one network can lose, as tables for the terminal."""

from search.cli.terminal import plain, terminal
from search.networks.allocation import Allocation
from search.networks.probe import KINDS, Probing
from search.networks.profile import Compactness
from trainables.allocation.profiles import FALLS


def print_allocation(allocation: Allocation) -> None:
    """Print what each layer would keep."""
    table = plain(f"{allocation.policy} at sparsity {allocation.sparsity:g} of {allocation.budget}")
    for name in ("layer", "weights", "kept", "density %", "MACs kept"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for layer in allocation.layers:
        table.add_row(layer.name, f"{layer.size:,}", f"{layer.keep:,}", f"{100 * layer.density:.2f}", f"{layer.macs:,}")
    table.add_row("all", "", f"{allocation.params_kept:,}", "", f"{allocation.macs_kept:,}")
    terminal().print(table)


def print_compactness(found: Compactness) -> None:
    """Print how much of each part can go before accuracy falls, the most compact part of each column marked."""
    unit, dense = found.granularity, 100 * found.profile.dense_accuracy
    print(f"{found.model}, {unit}s by {found.criterion}; dense {dense:.1f} % of {found.calibration:,} training samples")
    print("% of a part that can go, it alone and nothing retrained, before accuracy falls by so many points:")
    table = plain("")
    for name in ("part", "weights", f"{unit}s", *(f"{points} point{'s' if points > 1 else ''}" for points in FALLS)):
        table.add_column(name, justify="left" if name == "part" else "right")
    for part in found.parts:
        marked = (f"{'* ' if found.most_compact[p] == part.name else ''}{100 * part.tolerated[p]:.1f}" for p in FALLS)
        table.add_row(part.name, f"{part.weights:,}", f"{part.units:,}", *marked)
    terminal().print(table)
    print("* the most compact: the part that can lose the largest share")


def print_probes(found: Probing) -> None:
    """Print the probe behind each block, and what the threshold leaves of the network."""
    print(f"{found.model}, a linear probe behind each block, fitted to {found.samples:,} training samples")
    table = plain("")
    for name in ("block", "gives", "train %", "validation %", "gain", ""):
        table.add_column(name, justify="left" if name in ("block", "") else "right")
    for block in found.blocks:
        gain = "" if block.gain is None else f"{100 * block.gain:+.2f}"
        told = "" if block.kept and block.removable else "always stays" if block.kept else "goes"
        shape = " x ".join(map(str, block.shape))
        accuracies = (f"{100 * accuracy:.2f}" for accuracy in (block.train_accuracy, block.val_accuracy))
        table.add_row(block.name, shape, *accuracies, gain, told)
    terminal().print(table)
    print(f"the least gain over the last kept block goes, until all that may go gain {100 * found.threshold:g} points:")
    for kind in KINDS:
        share = 100 * found.kept[kind] / found.total[kind]
        print(f"  {found.kept[kind]:,} of {found.total[kind]:,} {kind} ({share:.1f} %)")
    settings = f"granularity={found.granularity} criteria=[probe] policies=[by-score]"
    print(f"the same in a study: {settings} budget=params sparsities=[{found.sparsity['params']}]")
    kept = {block.name for block in found.blocks if block.kept}
    instead = {"keep": [name for name in found.scanned if name not in kept], "drop": sorted(kept - {*found.scanned})}
    if told := " and ".join(f"{word} {', '.join(names)}" for word, names in instead.items() if names):
        print(f"one pass from input to output would {told}")

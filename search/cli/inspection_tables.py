"""What a network consists of, as tables for the terminal."""

from collections import Counter, defaultdict

from search.cli.terminal import plain, terminal
from search.networks.inspection import GRANULARITIES, InspectedPart, Inspection, RuleBound
from trainables.counts import quantity
from trainables.pruning.held import much_fixed, some


def print_inspection(found: Inspection) -> None:
    """Print the layers, why some cannot be pruned, and what is fixed."""
    layers = [part for part in found.parts if part.units]
    table = plain(f"{found.params:,} parameters, {found.macs:,} multiply-accumulates for one input")
    table.add_column("layer")
    for name in ("kind", "units", "weights", "MACs", "prunable by", "coupled with"):
        table.add_column(name, justify="right" if name in ("units", "weights", "MACs") else "left")
    for part in layers:
        by = ", ".join(name for name in GRANULARITIES if part.prunable[name] is True)
        sizes = (f"{size:,}" for size in (part.units, part.weights, part.macs))
        table.add_row(part.name, part.kind, *sizes, by, some(part.coupled))
    terminal().print(table)
    for granularity in GRANULARITIES:
        names: dict[str, list[str]] = defaultdict(list)
        for part in layers:
            if isinstance(reason := part.prunable[granularity], str):
                names[reason].append(part.name)
        for reason, kept in names.items():
            print(f"not by {granularity}: {'all layers' if len(kept) == len(layers) else some(kept)}: {reason}")
    _print_rules(found)
    _print_products([part for part in found.parts if part.kind == "products"])
    fixed = Counter[str]()
    for part in found.parts:
        if not part.units and part.weights:
            fixed[f"{part.kind}: {part.prunable['weight']}"] += part.weights
    share = 100 * found.params_fixed / found.params
    print(f"prunable: {quantity(found.params_prunable, 'weight')}; budgets count these")
    print(f"fixed: {quantity(found.params_fixed, 'parameter')} ({share:.1f} %); no budget counts these:")
    for what, size in fixed.most_common():
        print(f"  {size:,} of {what}")
    if line := much_fixed(found.params_fixed, found.params):
        print(f"warning: {line}")


def _print_rules(found: Inspection) -> None:
    """Print which rule takes which layer, and how many units its part may keep, at each granularity."""
    if found.trial_rules:
        print(f"rules of its trial: {found.trial_rules}")
    seen = [name for name in GRANULARITIES if any(name in part.rules for part in found.parts)]
    if seen:
        table = plain("what the rules let each part keep, in units")
        table.add_column("layer")
        for name in ("rule", *seen):
            table.add_column(name)
        for part in found.parts:
            for rule in dict.fromkeys(bound.rule for bound in part.rules.values()):
                bounds = (part.rules.get(name) for name in seen)
                table.add_row(part.name, rule, *(_in_units(b) if b and b.rule == rule else "" for b in bounds))
        terminal().print(table)
    for granularity, idle in found.idle_rules.items():
        for rule, reason in idle.items():
            print(f"no effect by {granularity}: {rule}: {reason}")


def _in_units(bound: RuleBound) -> str:
    if bound.least == bound.units:
        return f"all {bound.units:,}"
    least = "" if bound.least == bound.most else f"{bound.least:,} to "
    return f"{least}{bound.most:,} of {bound.units:,}"


def _print_products(products: list[InspectedPart]) -> None:
    if products:
        macs, names = sum(part.macs for part in products), some(part.name for part in products)
        print(f"products without weights: {macs:,} multiply-accumulates, in {names}; masked weights do not save them")

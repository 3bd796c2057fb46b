"""What cannot be pruned at a granularity, and why, in words."""

from collections.abc import Iterable, Mapping

SHOWN = 3  # names in a message

MUCH = 0.1  # share of fixed parameters above which a budget says little of the network

Held = Mapping[str, str]  # layer or block -> what keeps all of it, the most expensive first


def some(names: Iterable[str]) -> str:
    """List the first names, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def not_pruned(held: Held) -> str:
    """Name what is not pruned, each with its reason, to end a message; empty if all can be pruned."""
    return f"; not pruned: {with_reasons(held)}" if held else ""


def with_reasons(held: Held) -> str:
    """List the first names, each with its reason, and the number of the others."""
    return some(f"{name} ({reason})" for name, reason in held.items())


def outside_budgets(counts: Iterable[tuple[float, float]]) -> str:
    """Say how many parameters of some networks are in no budget; empty if there are none.

    counts: of each network, the fixed parameters and the others.
    """
    counts = [(fixed, others) for fixed, others in counts if fixed]
    if not counts:
        return ""
    sizes = [f"{fixed:,.0f}" for fixed in sorted({fixed for fixed, _ in counts})]
    shares = [f"{share:.1f}" for share in sorted(100 * fixed / (fixed + others) for fixed, others in counts)]
    size, share = (f"{each[0]} to {each[-1]}" if each[0] != each[-1] else each[0] for each in (sizes, shares))
    return f"fixed: {size} other parameters ({share} % of all), in no budget"


def much_fixed(fixed: int, params: int) -> str:
    """Warn of a network of which budgets count only a part; empty if at most a tenth of its parameters is fixed."""
    if fixed <= MUCH * params:
        return ""
    share = 100 * fixed / params
    return f"{fixed:,} of {params:,} parameters ({share:.1f} %) are fixed: never pruned, and in no budget"

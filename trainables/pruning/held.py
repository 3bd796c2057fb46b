"""What cannot be pruned at a granularity, and why, in words."""

from collections.abc import Iterable, Mapping

SHOWN = 3  # names in a message

OUTPUT = "the network's output"  # what keeps the channels of the last layers

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


def much_fixed(fixed: int, params: int) -> str:
    """Warn of a network in which budgets are over a part of the parameters; empty if at most a tenth is fixed."""
    if fixed <= MUCH * params:
        return ""
    share = 100 * fixed / params
    return f"{fixed:,} of {params:,} parameters ({share:.1f} %) are fixed: never pruned, and in no budget"

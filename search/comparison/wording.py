"""How tables, plots and pages word a comparison: names of networks, estimates, warnings."""

import math
from collections import defaultdict
from collections.abc import Sequence

from search.comparison.compare import BASELINE, RECOVERY, ComparisonRow
from search.comparison.estimates import Estimate
from trainables.spec import Curriculum, Schedule

MOST_NAMED = 4  # rows that one warning names


STANDARD = Curriculum().name


def in_order(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """By network, then sparsity, then policy with uniform first, then recovery, then curriculum with none first."""
    return sorted(
        rows,
        key=lambda row: (
            *(network_of(row, trained=False), row.family, row.sparsity),
            *(row.policy != BASELINE, row.policy, row.recovery),
            *(row.curriculum != STANDARD, row.curriculum, row.setting),
        ),
    )


def network_of(row: ComparisonRow, trained: bool = True) -> str:
    """Name what was pruned, how its units were chosen, how it was pruned, and how it was trained."""
    width = "" if row.width == 1 else f" x {row.width:g}"
    schedule = "" if row.schedule == Schedule().name else f", {row.schedule}"
    recovered = f", {recovery_of(row)}{_after(row)}" if trained else ""
    before = f"{row.before}, then " if row.before else ""
    return f"{row.model}{width}, {before}{row.granularity}s by {row.criterion}{schedule}{recovered}"


def recovery_of(row: ComparisonRow) -> str:
    """Name how the network was trained again, if it was."""
    return row.recovery if RECOVERY in row.seeds_cover else "not recovered"


def of_dense(label: str) -> str:
    """Name the curriculum of the dense network, by that of the trial; nothing where it followed none."""
    return label if label.startswith("dense: ") else ""


def _after(row: ComparisonRow) -> str:
    return "" if row.curriculum == STANDARD else f", {row.curriculum}"


def percent(value: Estimate | None, signed: bool = False) -> str:
    """Write an accuracy in percent with its interval."""
    return "" if value is None else _interval(value.mean, value.low, value.high, "+" if signed else "")


def warnings_of(rows: Sequence[ComparisonRow]) -> list[str]:
    """Say which rows may not be comparable, and why."""
    places: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for text in row.warnings:
            places[text].append(f"{row.policy}{_after(row)} at {row.sparsity:g}")
    return [f"{_listed(list(dict.fromkeys(found)))}: {text}" for text, found in places.items()]


def covered(row: ComparisonRow) -> str:
    """Say what the row's seeds cover, and what they do not."""
    seeds = f"seed {row.seeds[0]}" if len(row.seeds) == 1 else f"seeds {', '.join(map(str, row.seeds))}"
    shared = "" if "dense training" in row.seeds_cover else "; the dense network is one for all"
    return f"{seeds} of {', '.join(row.seeds_cover)}{shared}"


def _interval(mean: float, low: float | None, high: float | None, sign: str) -> str:
    """In percent: half the interval, or both ends where they are not as far from the mean."""
    middle = f"{100 * mean:{sign}.1f}"
    if low is None or high is None:
        return middle
    if math.isclose(high - mean, mean - low, rel_tol=1e-6, abs_tol=1e-9):
        return f"{middle} ±{100 * (high - mean):.1f}"
    return f"{middle} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def correlation(value: Estimate) -> str:
    """Write a correlation with its interval."""
    interval = "" if value.low is None else f" ({value.low:.2f} to {value.high:.2f})"
    return f"{value.mean:.2f}{interval}"

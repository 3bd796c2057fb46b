"""How tables, figures and pages write a comparison: names of rows, estimates, warnings."""

import math
from collections import defaultdict
from collections.abc import Sequence

from search.comparison.compare import BASELINE, RECOVERY, ComparisonRow
from search.comparison.estimates import Estimate
from search.comparison.headline import Gap
from search.results.names import model_name, pruning_name
from trainables.curriculum_spec import Curriculum

MOST_NAMED = 4  # rows that one warning names at most
STANDARD = Curriculum().name


def in_order(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Sort by network, sparsity, policy with uniform first, recovery, and curriculum with none first."""
    return sorted(
        rows,
        key=lambda row: (
            *(network_of(row, trained=False), row.family, row.sparsity),
            *(row.policy != BASELINE, row.policy, row.recovery),
            *(row.curriculum != STANDARD, row.curriculum, row.setting),
        ),
    )


def network_of(row: ComparisonRow, trained: bool = True) -> str:
    """Name a row's model and how it was pruned, and how it was trained unless `trained` is false."""
    recovered = f", {recovery_of(row)}{after(row)}" if trained else ""
    return f"{model_name(row.model, row.width)}, {pruning_name(row)}{recovered}"


def recovery_of(row: ComparisonRow) -> str:
    """Name how the pruned network was trained, or "not recovered"."""
    return row.recovery if RECOVERY in row.seeds_cover else "not recovered"


def of_dense(label: str) -> str:
    """Keep the label of a curriculum where it is the dense network's; nothing otherwise."""
    return label if label.startswith("dense: ") else ""


def after(row: ComparisonRow) -> str:
    """Write the curriculum of a row behind a comma; nothing where it followed none."""
    return "" if row.curriculum == STANDARD else f", {row.curriculum}"


def percent(value: Estimate | Gap | None, signed: bool = False) -> str:
    """Write an accuracy, or a difference of two, in percent with its interval; nothing for None.

    The interval is half its length, or both ends where they are not as far from the mean.
    """
    if value is None:
        return ""
    mean = 100 * (value.mean_gap if isinstance(value, Gap) else value.mean)
    low, high = (None if end is None else 100 * end for end in (value.low, value.high))
    even = low is None or high is None or math.isclose(high - mean, mean - low, rel_tol=1e-6, abs_tol=1e-7)
    return (plus_minus if even else with_ends)(mean, low, high, digits=1, signed=signed)


def plus_minus(mean: float, low: float | None, high: float | None, digits: int = 3, signed: bool = False) -> str:
    """Write a mean and half the length of its interval: "0.812 ±0.010"; the mean alone where it has none."""
    half = "" if low is None or high is None else f" ±{(high - low) / 2:.{digits}f}"
    return f"{mean:{'+' * signed}.{digits}f}{half}"


def with_ends(mean: float, low: float | None, high: float | None, digits: int = 3, signed: bool = False) -> str:
    """Write a mean and the ends of its interval: "0.812 [0.799, 0.820]"; the mean alone where it has none."""
    if low is None or high is None:
        return plus_minus(mean, low, high, digits, signed)
    mean_text, low_text, high_text = (f"{number:{'+' * signed}.{digits}f}" for number in (mean, low, high))
    return f"{mean_text} [{low_text}, {high_text}]"


def correlation(value: Estimate) -> str:
    """Write a correlation with the ends of its interval: "0.53 (0.20 to 0.80)"."""
    ends = "" if value.low is None else f" ({value.low:.2f} to {value.high:.2f})"
    return f"{value.mean:.2f}{ends}"


def warnings_of(rows: Sequence[ComparisonRow]) -> list[str]:
    """List which rows may not be comparable, and why; rows with the same reason share a line."""
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for text in row.warnings:
            names[text].append(f"{row.policy}{after(row)} at {row.sparsity:g}")
    return [f"{_listed(list(dict.fromkeys(own)))}: {text}" for text, own in names.items()]


def covered(row: ComparisonRow) -> str:
    """Say what each of a row's seeds repeats, and what all seeds share."""
    seeds = f"seed {row.seeds[0]}" if len(row.seeds) == 1 else f"seeds {', '.join(map(str, row.seeds))}"
    shared = "" if "dense training" in row.seeds_cover else "; the dense network is one for all"
    return f"{seeds} of {', '.join(row.seeds_cover)}{shared}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more

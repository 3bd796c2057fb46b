"""Text of a comparison for tables, figures and pages: names of rows, estimates and warnings."""

import math
from collections import defaultdict
from collections.abc import Sequence

from search.comparison.compare import BASELINE, RECOVERY, ComparisonRow
from search.comparison.estimates import Estimate, tells_nothing
from search.comparison.headline import Gap
from search.comparison.pairs import MOST_MORE, Pair
from search.results.names import model_name, pruning_name
from search.results.scale import PERCENT, Scale
from trainables.counts import quantity
from trainables.curriculum_spec import Curriculum
from trainables.pruning.held import outside_budgets

TOO_FEW = "too few seeds"  # in place of an interval that tells nothing
IN_BRACKETS = f" ({TOO_FEW})"
MOST_NAMED = 4  # rows that one warning names at most
STANDARD = Curriculum().name


def in_order(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Sort rows by network, sparsity, policy and training; uniform, not compensated, standard training come first."""
    return sorted(
        rows,
        key=lambda row: (
            *(network_of(row, trained=False), row.family, row.sparsity),
            *(row.policy != BASELINE, row.policy, row.compensation, row.recovery),
            *(row.curriculum != STANDARD, row.curriculum, row.setting),
        ),
    )


def network_of(row: ComparisonRow, trained: bool = True) -> str:
    """Name the model of a row and its pruning; also its recovery and curriculum, unless `trained` is false.

    Settings that tell it from rows that look alike stand in brackets.
    """
    training = f", {recovery_of(row)}{after(row)}" if trained else ""
    differs = f" ({row.differs})" if row.differs else ""
    return f"{model_name(row.model, row.width)}, {pruning_name(row)}{training}{differs}"


def recovery_of(row: ComparisonRow) -> str:
    """Name how the pruned network was trained, or "not recovered"; before it stands whether it was compensated."""
    recovery = row.recovery if RECOVERY in row.seeds_cover else "not recovered"
    return ", ".join(filter(None, (row.compensation, recovery)))


def of_dense(label: str) -> str:
    """Return the label of a curriculum of dense training; an empty text for any other label."""
    return label if label.startswith("dense: ") else ""


def after(row: ComparisonRow) -> str:
    """Write the curriculum of a row after a comma; an empty text for standard training."""
    return "" if row.curriculum == STANDARD else f", {row.curriculum}"


def written(
    value: Estimate | Gap | None,
    signed: bool = False,
    too_few: str = IN_BRACKETS,
    more_digits: int = 0,
    scale: Scale = PERCENT,
) -> str:
    """Write the value of a metric, or a difference of two values, with its interval; an empty text for None.

    A symmetric interval is written as half its length, any other interval by its two ends. too_few: text in place of an
    interval that tells nothing. scale: of the metric; by default percent.
    """
    if value is None:
        return ""
    digits = scale.digits + more_digits
    mean = scale.factor * (value.mean_gap if isinstance(value, Gap) else value.mean)
    low, high = (None if end is None else scale.factor * end for end in (value.low, value.high))
    symmetric = low is None or high is None or math.isclose(high - mean, mean - low, rel_tol=1e-6, abs_tol=1e-7)
    if tells_nothing(low, high, scale=scale.length):
        return f"{mean:{'+' * signed}.{digits}f}{too_few}"
    return (_half_length if symmetric else _ends)(mean, low, high, digits=digits, signed=signed)


def plus_minus(mean: float, low: float | None, high: float | None) -> str:
    """Write a fraction and half the length of its interval: "0.812 ±0.010"; only the fraction if it has no interval."""
    return f"{mean:.3f}{IN_BRACKETS}" if tells_nothing(low, high) else _half_length(mean, low, high)


def with_ends(mean: float, low: float | None, high: float | None) -> str:
    """Write a fraction and the ends of its interval: "0.812 [0.799, 0.820]"; only the fraction if it has none."""
    return f"{mean:.3f}{IN_BRACKETS}" if tells_nothing(low, high) else _ends(mean, low, high)


def _half_length(mean: float, low: float | None, high: float | None, digits: int = 3, signed: bool = False) -> str:
    half = "" if low is None or high is None else f" ±{(high - low) / 2:.{digits}f}"
    return f"{mean:{'+' * signed}.{digits}f}{half}"


def _ends(mean: float, low: float | None, high: float | None, digits: int = 3, signed: bool = False) -> str:
    if low is None or high is None:
        return _half_length(mean, low, high, digits, signed)
    mean_text, low_text, high_text = (f"{number:{'+' * signed}.{digits}f}" for number in (mean, low, high))
    return f"{mean_text} [{low_text}, {high_text}]"


def verdict_of(pair: Pair, seeds: int | None = None) -> str:
    """Write a verdict; it tells where a policy is ahead or behind, but by less than the margin.

    seeds: of the rival; the verdict tells where the pair has fewer.
    """
    by_less = pair.within_margin and pair.verdict != "equivalent"
    some = "" if seeds is None or seeds == len(pair.seeds) else f" on {len(pair.seeds)} of {quantity(seeds, 'seed')}"
    return f"{pair.verdict}{some}{', within the margin' if by_less else ''}"


def seeds_more_of(pair: Pair) -> str:
    """Write how many seeds more would decide a pair; an empty text if it is decided or has too few seeds."""
    if pair.verdict != "undecided":
        return ""
    if pair.p is None:
        return "no spread"  # all gaps are the same, so nothing tells how far they vary
    return f"> {MOST_MORE}" if pair.seeds_more is None else str(pair.seeds_more)


def holm_of(pair: Pair) -> str:
    """Write the corrected p-value of the test that gave the verdict; an empty text where none gave it."""
    if pair.verdict == "equivalent":
        return _p(pair.equivalence_holm_p)
    return _p(pair.holm_p) if pair.verdict in ("better", "worse") else ""


def _p(p: float | None) -> str:
    return "" if p is None else f"{p:.2g}"


def correlation(value: Estimate) -> str:
    """Write a correlation with the ends of its interval: "0.53 (0.20 to 0.80)"."""
    ends = "" if value.low is None else f" ({value.low:.2f} to {value.high:.2f})"
    return f"{value.mean:.2f}{ends}"


def warnings_of(rows: Sequence[ComparisonRow]) -> list[str]:
    """List the rows that may not be comparable, with the reason. Rows with the same reason share a line."""
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for text in row.warnings:
            names[text].append(f"{row.policy}{after(row)} at {row.sparsity:g}")
    return [f"{_listed(list(dict.fromkeys(rows_named)))}: {text}" for text, rows_named in names.items()]


def fixed_in(rows: Sequence[ComparisonRow]) -> str:
    """Say how many parameters of the networks in these rows are never pruned; an empty text if there are none."""
    return outside_budgets((row.params_fixed or 0, row.params_kept) for row in rows)


def covered(row: ComparisonRow) -> str:
    """Name the seeds of a row and what each seed repeats; tell if all seeds share the dense network."""
    seeds = f"seed {row.seeds[0]}" if len(row.seeds) == 1 else f"seeds {', '.join(map(str, row.seeds))}"
    shared = "" if "dense training" in row.seeds_cover else "; all seeds share the dense network"
    return f"{seeds} of {', '.join(row.seeds_cover)}{shared}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more

"""The cost of finding densities, by a rule or by a whole search, in seconds, evaluations and images."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

KINDS = ("seconds", "evaluations", "images")
COLUMNS = ("seconds", "images", *(f"{stage}_{kind}" for stage in ("allocation", "profile") for kind in KINDS))


class Spent(NamedTuple):
    """The cost of one search. None: an older version ran some of its trials and did not count."""

    seconds: float
    evaluations: int | None
    images: int | None
    trials: int


def of_rules(trials: pa.Table) -> dict[str, list[float | None]]:
    """Compute each trial's cost of allocation, with the profile that it used: kind -> (trials,)."""
    return {kind: pc.add(trials[f"allocation_{kind}"], trials[f"profile_{kind}"]).to_pylist() for kind in KINDS}


def of_searches(seen: pa.Table) -> dict[tuple[str, str], Spent]:
    """Sum the cost of all trials that a search evaluated, by search and cell; each trial is one evaluation more."""
    complete = pc.ScalarAggregateOptions(skip_nulls=False)
    totals = [*((name, "sum", complete) for name in COLUMNS), ("cell", "count")]
    sums = seen.group_by(["search", "cell"]).aggregate(totals)
    count, of_profiles = sums["cell_count"], {kind: sums[f"profile_{kind}_sum"] for kind in KINDS}
    spent = (
        pc.add(sums["seconds_sum"], of_profiles["seconds"]),
        pc.add(pc.add(sums["allocation_evaluations_sum"], of_profiles["evaluations"]), count),
        pc.add(sums["images_sum"], of_profiles["images"]),
        count,
    )
    each = zip(*(column.to_pylist() for column in spent), strict=True)
    names = zip(sums["search"].to_pylist(), sums["cell"].to_pylist(), strict=True)
    return dict(zip(names, map(Spent._make, each), strict=True))

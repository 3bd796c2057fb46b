"""What finding densities took, in seconds, evaluations and images: a rule's own, and that of a whole search."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

KINDS = ("seconds", "evaluations", "images")
COLUMNS = ("seconds", "images", *(f"{stage}_{kind}" for stage in ("allocation", "profile") for kind in KINDS))


class Spent(NamedTuple):
    """The cost of one search. None: some of its trials ran by an older version, which did not count."""

    seconds: float
    evaluations: int | None
    images: int | None
    trials: int


def of_rules(trials: pa.Table) -> dict[str, list[float | None]]:
    """What sharing the budget took each trial, the profile that it looked at included: kind -> (trials,)."""
    return {kind: pc.add(trials[f"allocation_{kind}"], trials[f"profile_{kind}"]).to_pylist() for kind in KINDS}


def of_searches(seen: pa.Table) -> dict[tuple[str, str], Spent]:
    """Search and cell -> the whole cost of all trials that it looked at, each of them one evaluation more."""
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

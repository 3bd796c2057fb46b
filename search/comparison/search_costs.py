"""The cost of finding densities, by a rule or by a whole search, in seconds, evaluations and images."""

from itertools import pairwise
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
    networks: int  # different ones among these trials


def of_rules(trials: pa.Table) -> dict[str, list[float | None]]:
    """Compute each trial's cost of allocation, with the profile that it used: kind -> (trials,)."""
    return {kind: pc.add(trials[f"allocation_{kind}"], trials[f"profile_{kind}"]).to_pylist() for kind in KINDS}


def of_searches(seen: pa.Table) -> dict[tuple[str, str], Spent]:
    """Sum the cost of all trials that a search evaluated, by search and cell; each trial is one evaluation more.

    seen: has a column `network`, a mark of each trial's network; see `marks_of_networks`.
    """
    complete = pc.ScalarAggregateOptions(skip_nulls=False)
    totals = [*((name, "sum", complete) for name in COLUMNS), ("cell", "count"), ("network", "count_distinct")]
    sums = seen.group_by(["search", "cell"]).aggregate(totals)
    count, of_profiles = sums["cell_count"], {kind: sums[f"profile_{kind}_sum"] for kind in KINDS}
    spent = (
        pc.add(sums["seconds_sum"], of_profiles["seconds"]),
        pc.add(pc.add(sums["allocation_evaluations_sum"], of_profiles["evaluations"]), count),
        pc.add(sums["images_sum"], of_profiles["images"]),
        count,
        sums["network_count_distinct"],
    )
    each = zip(*(column.to_pylist() for column in spent), strict=True)
    names = zip(sums["search"].to_pylist(), sums["cell"].to_pylist(), strict=True)
    return dict(zip(names, map(Spent._make, each), strict=True))


def marks_of_networks(parts: pa.ChunkedArray) -> pa.Array:
    """Mark networks of one cell by what their parts keep; null for a trial that did not reach pruning.

    parts: (trials,) maps from a part to the fraction of its units kept.
    """
    maps = pa.concat_arrays(parts.chunks) if parts.num_chunks else pa.array([], parts.type)
    bounds, densities = maps.offsets.to_pylist(), maps.items.to_numpy()
    spans = (densities[start:end].tobytes() for start, end in pairwise(bounds))
    return pa.array([span or None for span in spans], pa.binary())

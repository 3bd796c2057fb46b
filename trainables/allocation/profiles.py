"""Profiles: how accuracy falls when one part alone is pruned further and further."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.pruning.granularity import Part
from trainables.storage import columns
from trainables.storage.strict_json import damage_as_error, from_json

CURVES = ("accuracy", "divergence", "distortion", "worst_distortion", "right")


@dataclass(frozen=True)
class Profile:
    """What the dense network loses when one part is pruned, for every part and level, on calibration samples."""

    levels: tuple[float, ...]  # (levels,) sparsities, rising from 0 to 1
    dense_accuracy: float  # or the metric of the task, negative where lower is better; so are the curves
    accuracy: Mapping[str, tuple[float, ...]]  # part name -> (levels,), as in the next three
    divergence: Mapping[str, tuple[float, ...]]  # KL(dense || pruned) of the predictions, in nats
    distortion: Mapping[str, tuple[float, ...]]  # squared difference of the logits, mean over classes and samples
    worst_distortion: Mapping[str, tuple[float, ...]]  # the same, mean over classes, of the worst sample
    right: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # mean hits; empty where a task has none


def levels_of(count: int) -> tuple[float, ...]:
    """Return that many equally spaced sparsities from 0 to 1; sparsity 1 leaves the floor of a part."""
    return tuple(level / (count - 1) for level in range(count))


def units_at(part: Part, level: float) -> int:
    """Return how many units a level leaves of a part."""
    return max(part.floor, round((1.0 - level) * part.units))


def levels_within(part: Part, levels: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Move each level to the nearest one whose number of units is within the bounds of the part.

    levels: rising. Returns the indices of these levels and their units, (levels,) each. If no level is within the
    bounds, the units are those of the nearest bound.
    """
    units = np.array([units_at(part, level) for level in levels])
    within = np.clip(units, part.least, part.most)
    allowed = np.flatnonzero(within == units)
    nearest = allowed if len(allowed) else np.abs(units - within).argmin(keepdims=True)
    index = np.clip(np.arange(len(units)), nearest[0], nearest[-1])
    return index, within[index]


def to_parquet(profile: Profile) -> bytes:
    """Write a profile as Parquet: one row for each part and level."""
    known = [curve for curve in CURVES if getattr(profile, curve)]
    rows = [
        {"part": name, "sparsity": level} | {curve: getattr(profile, curve)[name][i] for curve in known}
        for name in profile.accuracy
        for i, level in enumerate(profile.levels)
    ]
    table = pa.Table.from_pylist(rows)
    table = table.replace_schema_metadata({"profile": json.dumps({"dense_accuracy": profile.dense_accuracy})})
    return columns.to_parquet(table)


def from_parquet(content: bytes) -> Profile:
    """Read a profile. Raises ValueError where the content is no profile."""
    with damage_as_error("a profile"):
        table = columns.read_columns(content)
        header = from_json(table.schema.metadata[b"profile"].decode())
        rows: dict[str, list[dict[str, float]]] = {}
        for row in table.to_pylist():
            rows.setdefault(row["part"], []).append(row)
        levels = tuple(row["sparsity"] for row in next(iter(rows.values())))
        curves = {
            curve: {name: tuple(row[curve] for row in of_part) for name, of_part in rows.items()}
            for curve in CURVES
            if curve in table.column_names
        }
        return Profile(levels, header["dense_accuracy"], **curves)


FALLS = (1, 2, 5)  # points of accuracy, or % of the dense value of another metric


def tolerated(sparsities: Sequence[float], accuracies: Sequence[float], fall: float) -> float:
    """Find the sparsity at which accuracy has fallen by `fall`; the last sparsity where it never falls so far.

    The running minimum makes the curve fall. It is straight between two levels.
    """
    falling = np.minimum.accumulate(accuracies)
    least = accuracies[0] - fall
    below = np.flatnonzero(falling < least)
    if not len(below):
        return float(sparsities[-1])
    after = below[0]
    return float(np.interp(-least, -falling[after - 1 : after + 1], sparsities[after - 1 : after + 1]))

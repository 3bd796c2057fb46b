"""Profiles: how accuracy falls while one part alone is pruned further and further."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

from trainables.pruning.criteria import Criterion
from trainables.pruning.granularity import Part, Prunable, top_units

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # sparsity of the part; 1.0 leaves its floor


@dataclass(frozen=True)
class Profile:
    """Accuracy of the dense network with one part pruned, for every part and level."""

    levels: tuple[float, ...]  # (levels,) sparsities, rising from 0 to 1
    accuracy: Mapping[str, tuple[float, ...]]  # part name -> (levels,)
    dense_accuracy: float


def measure(
    fresh: Callable[[], tuple[nn.Module, Prunable]],
    criterion: Criterion,
    seed: int,
    evaluate: Callable[[nn.Module], float],
) -> Profile:
    """Measure a profile; `fresh` gives an unpruned copy of the network, `evaluate` judges it."""
    dense_model, dense_parts = fresh()
    dense = evaluate(dense_model)

    def pruned(part: Part, level: float) -> float:
        model, prunable = fresh()
        keep = {p.name: p.units for p in prunable.parts}
        keep[part.name] = max(part.floor, round((1.0 - level) * part.units))
        scores = criterion.score(prunable, seed)
        prunable.remove({name: top_units(scores[name], units) for name, units in keep.items()})
        return evaluate(model)

    accuracy = {p.name: (dense, *(pruned(p, level) for level in LEVELS[1:])) for p in dense_parts.parts}
    return Profile(LEVELS, accuracy, dense)


def to_parquet(profile: Profile) -> bytes:
    """Write a profile as Parquet: one row for each part and level."""
    rows = [
        (name, s, a) for name, curve in profile.accuracy.items() for s, a in zip(profile.levels, curve, strict=True)
    ]
    table = pa.table(dict(zip(("part", "sparsity", "accuracy"), map(list, zip(*rows, strict=True)), strict=True)))
    table = table.replace_schema_metadata({"profile": json.dumps({"dense_accuracy": profile.dense_accuracy})})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def from_parquet(content: bytes) -> Profile:
    """Read a profile back."""
    table = pq.read_table(io.BytesIO(content))
    told = json.loads(table.schema.metadata[b"profile"])
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in table.to_pylist():
        curves.setdefault(row["part"], []).append((row["sparsity"], row["accuracy"]))
    levels = tuple(s for s, _ in next(iter(curves.values())))
    return Profile(levels, {name: tuple(a for _, a in curve) for name, curve in curves.items()}, told["dense_accuracy"])

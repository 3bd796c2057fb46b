"""Rules for functions that move elements: views, joins, lookups, padding."""

from functools import reduce
from itertools import pairwise
from math import gcd

import numpy as np

from trainables.tracing.labels import Ids, Traced, combine, reshape, without
from trainables.tracing.operation import Operation, Rule, elementwise, hold_all, same


def _view(op: Operation) -> list[Traced]:
    """Split and merge dimensions."""
    if 0 in op.first.shape:
        return hold_all(op)
    sizes = op.arg(1, "size") if op.name in ("view", "unsafe_view") else None
    inferred = sizes.index(-1) if isinstance(sizes, list) and -1 in sizes else None
    out, splits = reshape(op.labels, op.first, op.shape, op.reason, inferred)
    for ids in splits:
        op.tracer.split(ids)
    return [out]


def _permute(op: Operation) -> list[Traced]:
    n = len(op.first.shape)
    return [op.first.moved(op.shape, {dim % n: at for at, dim in enumerate(op.args[1])})]


def _transpose(op: Operation) -> list[Traced]:
    n = len(op.first.shape)
    one, other = (op.args[1] % n, op.args[2] % n) if len(op.args) > 1 else (0, n - 1)
    order = {dim: dim for dim in range(n)} | {one: other, other: one}
    return [op.first.moved(op.shape, order)]


def _expand(op: Operation) -> list[Traced]:
    """Repeat dimensions."""
    before, more = op.first, len(op.shape) - len(op.first.shape)
    repeated = {dim for dim, extent in enumerate(before.shape) if extent != op.shape[dim + more]}
    kept = op.keep_whole(before, repeated)
    return [kept.moved(op.shape, {dim: dim + more for dim in range(len(before.shape))})]


def _select(op: Operation) -> list[Traced]:
    """Take one index of a dimension."""
    dim, index = op.arg(1, "dim", 0) % len(op.first.shape), op.arg(2, "index")
    return [_taken(op, dim, index, op.shape)]


def _taken(op: Operation, dim: int, index: int, shape: tuple[int, ...]) -> Traced:
    before = op.first
    rest = Traced(before.shape, {}, before.stored)
    for dims, ids in before.entries.items():
        if dim not in dims:
            rest.entries[dims] = ids
        elif dims == (dim,):
            op.hold(ids)
        else:
            axis = dims.index(dim)
            op.labels.collapse(ids, axis, op.reason)
            rest.entries[tuple(each for each in dims if each != dim)] = np.take(ids, [index], axis).squeeze(axis)
    return rest.moved(shape, {each: each - (each > dim) for each in range(len(before.shape)) if each != dim})


def _unbind(op: Operation) -> list[Traced]:
    dim = op.arg(1, "dim", 0) % len(op.first.shape)
    return [_taken(op, dim, index, tuple(each.shape)) for index, each in enumerate(op.outputs)]


def _slice(op: Operation) -> list[Traced]:
    """Take a range of a dimension: a whole number of equal parts, or all of it."""
    dim = op.arg(1, "dim", 0) % len(op.first.shape)
    extent, left = op.first.shape[dim], op.shape[dim]
    if extent == left:
        return same(op)
    start = op.arg(2, "start") or 0
    start = max(0, start + extent if start < 0 else start)
    aligned = op.arg(4, "step", 1) == 1 and left and not extent % left and not start % left
    return _ranges(op, dim, left if aligned else 0, [(start, start + left)])


def _split(op: Operation) -> list[Traced]:
    """Cut a dimension into ranges: equal parts of it, and multiples of these."""
    dim = op.arg(2, "dim", 0) % len(op.first.shape)
    edges = np.cumsum([0, *(each.shape[dim] for each in op.outputs)]).tolist()
    part = reduce(gcd, np.diff(edges).tolist())
    return _ranges(op, dim, part, list(pairwise(edges)))


def _ranges(op: Operation, dim: int, part: int, ranges: list[tuple[int, int]]) -> list[Traced]:
    """Take ranges of a dimension. Parts of `part` elements lose the same positions; 0: no parts are equal."""
    before, found = op.first, dict[tuple[int, ...], list[Ids]]()
    for dims, ids in before.entries.items():
        if dim not in dims:
            found[dims] = [ids] * len(ranges)
        elif len(dims) > 1 and (rest := without(op.labels, ids, dims, {dim}, op.reason)):
            found[rest[0]] = [rest[1]] * len(ranges)  # units go along another dimension
        elif not part:
            op.hold(ids)
        else:
            parts = ids.reshape(-1, part)
            op.tracer.split(parts)
            op.labels.collapse(parts, 0, op.reason)
            found[dims] = [ids[first:last] for first, last in ranges]
    return [
        Traced(tuple(each.shape), {dims: ids[n] for dims, ids in found.items()}, before.stored)
        for n, each in enumerate(op.outputs)
    ]


def _cat(op: Operation) -> list[Traced]:
    """Join tensors along a dimension."""
    shape = op.shape
    dim = op.arg(1, "dim", 0) % len(shape)
    inputs = [op.keep_whole(op.tracer.of(each), _shared_with(op.tracer.of(each), dim)) for each in op.args[0]]
    inputs = [each for each in inputs if len(each.shape) == len(shape)]  # torch skips empty tensors of one dimension
    others = [Traced((*t.shape[:dim], 1, *t.shape[dim + 1 :]), _but(t, dim)) for t in inputs]
    out = combine(op.labels, others, (*shape[:dim], 1, *shape[dim + 1 :]), op.reason)
    joined = Traced(shape, out.entries)
    if any((dim,) in each.entries for each in inputs):
        pieces = []
        for each in inputs:
            ids = each.entries.get((dim,))
            if ids is None:  # these positions stay
                ids = op.labels.new(each.shape[dim])
                op.hold(ids)
            pieces.append(ids)
        joined.entries[dim,] = np.concatenate(pieces)
    return [joined]


def _shared_with(traced: Traced, dim: int) -> set[int]:
    return {dim} if (dims := traced.along(dim)) and len(dims) > 1 else set()


def _but(traced: Traced, dim: int) -> dict[tuple[int, ...], Ids]:
    return {dims: ids for dims, ids in traced.entries.items() if dim not in dims}


def _stack(op: Operation) -> list[Traced]:
    """Join tensors along a new dimension."""
    dim = op.arg(1, "dim", 0) % len(op.shape)
    without_it = op.shape[:dim] + op.shape[dim + 1 :]
    out = combine(op.labels, [op.tracer.of(each) for each in op.args[0]], without_it, op.reason)
    return [out.moved(op.shape, {each: each + (each >= dim) for each in range(len(without_it))})]


def _index(op: Operation) -> list[Traced]:
    """Look up rows by tensors of indices that follow one another."""
    indices = [(at, each) for at, each in enumerate(op.args[1]) if each is not None]
    positions = [at for at, _ in indices]
    if not indices or positions != [*range(positions[0], positions[-1] + 1)]:
        return hold_all(op)
    if any(each.dtype.is_floating_point or op.tracer.of(each).entries for _, each in indices):
        return hold_all(op)
    first, more = positions[0], len(op.shape) - len(op.first.shape)
    kept = op.keep_whole(op.first, set(positions))
    return [
        kept.moved(
            op.shape,
            {dim: dim if dim < first else dim + more for dim in range(len(kept.shape)) if dim not in positions},
        )
    ]


def _index_select(op: Operation) -> list[Traced]:
    kept = op.keep_whole(op.first, {op.arg(1, "dim") % len(op.first.shape)})
    return [Traced(op.shape, kept.entries)]


def _embedding(op: Operation) -> list[Traced]:
    kept = op.keep_whole(op.first, {0})
    return [kept.moved(op.shape, {1: len(op.shape) - 1})]


def _resized(op: Operation) -> list[Traced]:
    """Pad or crop: dimensions of another extent stay as they are."""
    changed = {dim for dim, extent in enumerate(op.first.shape) if extent != op.shape[dim]}
    kept = op.keep_whole(op.first, changed)
    return [Traced(op.shape, kept.entries)]


def _along(op: Operation) -> list[Traced]:
    """Move elements along some dimensions: shifts, flips, sums of all elements before."""
    kept = op.keep_whole(
        op.first, op.dims(2 if op.name == "roll" else 1, "dims" if op.name in ("roll", "flip") else "dim")
    )
    return [Traced(tuple(each.shape), dict(kept.entries)) for each in op.outputs]


def _shuffle(op: Operation) -> list[Traced]:
    """Channel shuffle."""
    kept = Traced(op.first.shape, dict(op.first.entries))
    if (ids := kept.entries.get((1,))) is not None:
        parts = ids.reshape(op.arg(1, "groups"), -1)
        op.tracer.split(parts)
        kept.entries[1,] = parts.T.ravel()
    return [kept]


def _strided(op: Operation) -> list[Traced]:
    """Change the order in memory only."""
    return same(op) if op.shape == op.first.shape else hold_all(op)


MOVE: dict[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view", "_reshape_alias", "reshape", "squeeze", "unsqueeze", "squeeze_"), _view),
    **dict.fromkeys(("as_strided", "as_strided_"), _strided),
    "permute": _permute,
    **dict.fromkeys(("transpose", "t"), _transpose),
    **dict.fromkeys(("expand", "repeat"), _expand),
    "select": _select,
    "unbind": _unbind,
    "slice": _slice,
    **dict.fromkeys(("split", "split_with_sizes", "split_copy", "split_with_sizes_copy"), _split),
    "cat": _cat,
    "stack": _stack,
    "index": _index,
    "index_select": _index_select,
    "embedding": _embedding,
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "reflection_pad1d"), _resized),
    **dict.fromkeys(("roll", "flip", "cumsum"), _along),
    "native_channel_shuffle": _shuffle,
    "copy_": elementwise,
}

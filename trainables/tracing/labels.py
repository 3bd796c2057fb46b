"""Labels of channels: which positions of which tensors belong to one unit, and what holds them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Labels:
    """Disjoint sets of labels. Labels of one set go together; a held set stays."""

    def __init__(self) -> None:
        self._parent: Ids = np.empty(0, np.int64)
        self._held: list[tuple[Ids, str]] = []
        self._joined: list[tuple[Ids, str]] = []

    @property
    def count(self) -> int:
        """The number of labels."""
        return len(self._parent)

    def new(self, count: int) -> Ids:
        """Return labels that are in sets of their own."""
        first = len(self._parent)
        ids = np.arange(first, first + count)
        self._parent = np.concatenate([self._parent, ids])
        return ids

    def find(self, ids: Ids) -> Ids:
        """Return the smallest label of the set of each label."""
        roots = self._parent[ids]
        while True:
            further = self._parent[roots]
            if np.array_equal(further, roots):
                break
            roots = further
        self._parent[ids] = roots
        return roots

    def unite(self, ids: Ids, others: Ids) -> None:
        """Unite the set of each label with the set of its partner. Both arrays have one shape."""
        pairs = np.stack([ids.ravel(), others.ravel()])
        while pairs.size:
            low, high = np.sort(self.find(pairs), axis=0)
            apart = low != high
            pairs = np.stack([low[apart], high[apart]])
            np.minimum.at(self._parent, pairs[1], pairs[0])

    def hold(self, ids: Ids, reason: str) -> None:
        """Keep the sets of these labels whole."""
        self._held.append((ids.ravel(), reason))

    def join(self, ids: Ids, reason: str) -> None:
        """Remember what makes labels of one set go together."""
        self._joined.append((ids.ravel(), reason))

    def collapse(self, ids: Ids, axis: int, reason: str) -> Ids:
        """Unite all labels along an axis, and return the array without this axis."""
        first = ids.take([0], axis)
        self.unite(np.broadcast_to(first, ids.shape), ids)
        self.join(first, reason)
        return first.squeeze(axis)

    def varies(self, ids: Ids) -> tuple[int, ...]:
        """Return the axes along which the sets differ."""
        roots = self.find(ids)
        return tuple(axis for axis in range(ids.ndim) if (roots != roots.take([0], axis)).any())

    def reasons(self) -> dict[int, str]:
        """Say what holds each held set: smallest label -> the first reason."""
        return self._by_root(self._held)

    def joins(self) -> dict[int, str]:
        """Say what makes channels of a set go together: smallest label -> the first reason."""
        return self._by_root(self._joined)

    def _by_root(self, events: list[tuple[Ids, str]]) -> dict[int, str]:
        return {int(root): reason for ids, reason in reversed(events) for root in np.unique(self.find(ids))}


@dataclass
class Traced:
    """A tensor of a traced network: the labels along its dimensions.

    A dimension without labels cannot get narrower. Where a view has split a dimension, its labels lie over several
    dimensions, until an operation shows along which of these units go.
    """

    shape: tuple[int, ...]
    entries: dict[tuple[int, ...], Ids] = field(default_factory=dict)  # rising dimensions -> labels of their shape
    stored: bool = False  # a view of a parameter or buffer
    reduced: list[tuple[Ids, str]] = field(
        default_factory=list
    )  # labels to hold if anything reads this tensor, and why

    def along(self, dim: int) -> tuple[int, ...] | None:
        """Find the entry with a dimension."""
        return next((dims for dims in self.entries if dim in dims), None)

    def moved(self, shape: tuple[int, ...], dims: dict[int, int]) -> "Traced":
        """Return the tensor with its dimensions at new positions: old -> new. Entries of other dimensions are lost."""
        entries = dict[tuple[int, ...], Ids]()
        for old, ids in self.entries.items():
            if all(dim in dims for dim in old):
                new = [dims[dim] for dim in old]
                order = np.argsort(new)
                entries[tuple(new[at] for at in order)] = ids.transpose(order)
        return Traced(shape, entries, self.stored)


def combine(labels: Labels, operands: list[Traced], shape: tuple[int, ...], reason: str) -> Traced:
    """Return the result of an element-wise operation with broadcasting: labels of one position are united."""
    aligned = [
        operand.moved(shape, {dim: dim + len(shape) - len(operand.shape) for dim in range(len(operand.shape))})
        for operand in operands
    ]
    sizes = [(1,) * (len(shape) - len(operand.shape)) + operand.shape for operand in operands]
    entries = dict[tuple[int, ...], Ids]()
    for dims in _components([dims for operand in aligned for dims in operand.entries]):
        extent = tuple(shape[dim] for dim in dims)
        found = list[Ids]()
        for operand in aligned:
            for at, ids in operand.entries.items():
                if not set(at) <= set(dims):
                    continue
                if any(n != shape[dim] for n, dim in zip(ids.shape, at, strict=True)):
                    labels.hold(ids, reason)  # a dimension of extent 1 that is repeated
                else:
                    spread = ids.reshape([shape[dim] if dim in at else 1 for dim in dims])
                    found.append(np.broadcast_to(spread, extent))
        if not found:
            continue
        for ids in found[1:]:
            labels.unite(found[0], ids)
        whole = {
            dim
            for operand, size in zip(aligned, sizes, strict=True)
            for dim in dims
            if size[dim] == shape[dim] > 1 and operand.along(dim) is None
        }
        if rest := without(labels, found[0], dims, whole, reason):
            entries[rest[0]] = rest[1]
    return Traced(shape, entries)


def without(
    labels: Labels, ids: Ids, dims: tuple[int, ...], whole: set[int], reason: str
) -> tuple[tuple[int, ...], Ids] | None:
    """Keep some dimensions of an entry whole. Returns what is left; None if nothing is, and its labels are held."""
    if not set(dims) - whole:
        labels.hold(ids, reason)
        return None
    for axis in reversed(range(len(dims))):
        if dims[axis] in whole:
            ids = labels.collapse(ids, axis, reason)
    return tuple(dim for dim in dims if dim not in whole), ids


def _components(dims: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Merge tuples that have a dimension in common."""
    merged = list[set[int]]()
    for each in dims:
        touching = [other for other in merged if other & set(each)]
        merged = [other for other in merged if not other & set(each)]
        merged.append(set(each).union(*touching))
    return [tuple(sorted(each)) for each in merged]


def reshape(
    labels: Labels, tensor: Traced, shape: tuple[int, ...], reason: str, inferred: int | None = None
) -> tuple[Traced, list[Ids]]:
    """Return a view of another shape, and its labels: over several dimensions where it splits one.

    inferred: the dimension whose extent follows from the others, given as -1. A view as (..., -1, width) asks for the
    number of heads and fixes their width: channels of the only head stay. Dimension 0 is the batch of one.
    """
    out = Traced(shape, {}, tensor.stored)
    if not tensor.entries:
        return out, []
    blocks = _blocks(tensor.shape, shape)
    taken = list[set[int]]()
    splits = list[Ids]()
    for dims, ids in tensor.entries.items():
        touched = {n for n, (old, _) in enumerate(blocks) if set(old) & set(dims)}
        old = [dim for n in sorted(touched) for dim in blocks[n][0]]
        new = [dim for n in sorted(touched) for dim in blocks[n][1]]
        if any(touched & other for other in taken) or not new:
            labels.hold(ids, reason)  # the view merges two dimensions with labels
            continue
        taken.append(touched)
        spread = ids.reshape([tensor.shape[dim] if dim in dims else 1 for dim in old])
        spread = np.broadcast_to(spread, [tensor.shape[dim] for dim in old]).reshape([shape[dim] for dim in new])
        if ids.size == 1 and len(new) == 1:
            out.entries[new[0],] = spread
            continue
        axes = labels.varies(spread)
        if not axes:
            labels.hold(ids, reason)
            continue
        if inferred in new and shape[inferred] == 1 and 0 < inferred < new[axes[0]]:
            labels.hold(spread, reason)  # the width of the only head
        rest = spread[tuple(slice(None) if axis in axes else 0 for axis in range(spread.ndim))]
        out.entries[tuple(new[axis] for axis in axes)] = rest
        splits.append(rest)
    return out, splits


def _blocks(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Match dimensions of two shapes of a tensor: the shortest runs whose extents have one product."""
    blocks = []
    i = j = 0
    while i < len(old) or j < len(new):
        first, second = ([i] if i < len(old) else []), ([j] if j < len(new) else [])
        i, j = i + len(first), j + len(second)
        before, after = (old[first[0]] if first else 1), (new[second[0]] if second else 1)
        while before != after:
            if before < after:
                first.append(i)
                before, i = before * old[i], i + 1
            else:
                second.append(j)
                after, j = after * new[j], j + 1
        blocks.append((first, second))
    return blocks

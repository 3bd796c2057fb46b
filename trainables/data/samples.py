"""The samples of a task of the user's own: their splits, their order, and the checksum of their contents."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.arguments import dtype_name, named_tensors, take
from trainables.data.types import Integers
from trainables.models.inputs import Inputs, TensorSpec
from trainables.task.task import SPLITS, Task

PLAIN = (bool, int, float, str, bytes, type(None))


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of one role, in an order that the seed of the splits decides."""

    source: Any  # map-style data set
    collate: Callable[[list[Any]], Any]
    ids: Integers  # (N,), positions in the data set

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int) -> "Samples":
        """Return the first samples, at most `count`."""
        return replace(self, ids=self.ids[:count])

    def batch(self, index: Sequence[int]) -> Any:
        """Collate the samples at some positions; none give a batch (0, ...), for which `collate` gets a sample."""
        if not len(index):
            return take(self.batch([0]), slice(0))
        return self.collate([self.source[int(self.ids[position])] for position in index])


def inputs_of(task: Task) -> Inputs:
    """Return what a model of the task is built for."""
    tensors = tuple(
        TensorSpec(name=name, shape=of.shape[1:], dtype=dtype_name(of)) for name, of in named_tensors(task.example)
    )
    first = tensors[0]
    return Inputs(first.shape, task.outputs, first.dtype, () if len(tensors) == 1 and not first.name else tensors)


def samples_of(task: Task, role: str, seed: int, most: int | None) -> Samples:
    """Return the samples of a role, shuffled by `seed`, so that every prefix is a random draw. most: None for all."""
    name = next(name for name, of in SPLITS.items() if of == role)
    source = task.splits[name]
    keys = np.random.PCG64(seed).random_raw(len(source))
    return Samples(source, task.collate, np.argsort(keys, kind="stable")[:most])


def checksum(task: Task) -> str:
    """Return 32 hexadecimal digits of the contents of all samples, in their order.

    Raises ValueError that names the split and the item for a sample that cannot be read or that holds other things than
    tensors, arrays, numbers, texts, and tuples, lists and dictionaries of these, and for a sample that differs when it
    is read again.
    """
    whole = hashlib.sha256()
    for name in [name for name in SPLITS if name in task.splits]:
        source = task.splits[name]
        whole.update(f"{name} {len(source)}\n".encode())
        for item in range(len(source)):
            own = _digest(name, item, source)
            if item == 0 and own != _digest(name, item, source):
                raise ValueError(
                    f"splits of a Task must give the same sample each time, but item 0 of {name!r} differs when it is "
                    "read again; vary samples in the model, not in the data set"
                )
            whole.update(own)
    return whole.hexdigest()[:32]


def _digest(name: str, item: int, source: Any) -> bytes:
    try:
        own = hashlib.sha256()
        for piece in _bytes_of(source[item]):
            own.update(piece)
        return own.digest()
    except Exception as error:
        raise ValueError(
            f"splits of a Task must hold samples that can be read, but item {item} of {name!r} failed with "
            f"{type(error).__name__}: {error}; correct the data set"
        ) from error


def _bytes_of(value: Any) -> Iterator[bytes]:
    """Yield the bytes of a sample: types and shapes count, too."""
    if isinstance(value, Tensor):
        yield f"tensor {value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b""
    elif isinstance(value, np.ndarray | np.generic):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.asarray(value), allow_pickle=False)
        yield stream.getvalue()
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield f"key {name!r}".encode()
            yield from _bytes_of(each)
    elif isinstance(value, tuple | list):
        yield f"list {len(value)}".encode()
        for each in value:
            yield from _bytes_of(each)
    elif isinstance(value, PLAIN):
        yield f"{type(value).__name__} {value!r}".encode()
    else:
        raise TypeError(f"a sample must hold tensors, arrays, numbers and texts, but holds a {type(value).__name__}")

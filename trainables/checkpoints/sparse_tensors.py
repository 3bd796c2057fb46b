"""Tensors that are mostly zeros, stored as what is kept and where, with not a bit lost.

A packed tensor becomes two in a safetensors file: its own name holds the values that are kept, in order and in the
tensor's dtype, and `NAME.positions` (uint8) says where they belong. Under `packed`, the file's metadata has a JSON
object: NAME -> [how the positions are written, the tensor's shape]. They are written as

- `mask`: one bit for each value, the first one in the highest bit of the first byte, 1 where the value is kept; or
- `gaps`: for each value kept, the number of zeros before it, as bytes of 255 (that many zeros, and the gap goes on)
  and one below 255 that ends it.

What is read back may claim no more values than its bytes are likely to stand for, and must fit together to the bit:
anything else is a ValueError before room is made for it.

The smallest form is taken: the plain tensor where nothing is saved, a mask down to about 1/8 of the values, gaps below
that. A zero has no bit set, so that -0.0 is kept, and a NaN with all it holds. In float32 a weight takes 0.5 bytes at
90 % sparsity: 0.1 x 4 for values, 0.1 for gaps (a mask takes 0.125); at 98 % it takes 0.1.
"""

import json
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeInt, TypeAdapter
from torch import Tensor

METADATA = "packed"
SUFFIX = ".positions"
WORTH = 256  # bytes: more than what a packed tensor adds to the file's header
LONG = 255  # zeros that a gap's byte stands for while the gap goes on
EXPANSION, ROOM = 1000, 1 << 27  # values that a file may unpack to: so many for each byte, and beyond that
WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes -> dtype to look at a value's bits

Positions = NDArray[np.uint8]
PACKED = TypeAdapter(dict[str, tuple[Literal["mask", "gaps"], list[NonNegativeInt]]])


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Pack contiguous CPU tensors wherever that is smaller.

    Returns what to store and the metadata to store with it, which is empty where everything stayed plain.
    """
    stored: dict[str, Tensor] = {}
    packed: dict[str, tuple[str, list[int]]] = {}
    for name, tensor in tensors.items():
        coding, positions = _choose(tensor)
        if coding == "plain":
            stored[name] = tensor
            continue
        assert name + SUFFIX not in tensors, "a module has no tensors inside its tensors"
        words = _words(tensor)
        stored[name] = torch.from_numpy(words[words != 0]).view(tensor.dtype)
        stored[name + SUFFIX] = torch.from_numpy(positions)
        packed[name] = coding, list(tensor.shape)
    return stored, {METADATA: json.dumps(packed)} if packed else {}


def unpack(stored: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Tensor]:
    """Undo `pack`: the same names, shapes, dtypes and bits. Raises ValueError for what `pack` did not write."""
    packed = PACKED.validate_json(metadata.get(METADATA, "{}"))
    tensors = {name: tensor for name, tensor in stored.items() if name.removesuffix(SUFFIX) not in packed}
    claimed = sum(math.prod(shape) for _, shape in packed.values())
    if claimed > ROOM + EXPANSION * sum(tensor.nbytes for tensor in stored.values()):
        raise ValueError(f"packed tensors must fit the bytes that they are stored in, but claim {claimed:,} values")
    for name, (coding, shape) in packed.items():
        values, positions = stored.get(name), stored.get(name + SUFFIX)
        if values is None or values.itemsize not in WORDS or positions is None or positions.dtype != torch.uint8:
            raise ValueError(f"packed tensor {name!r} must have values and positions in bytes, but has not")
        places = _positions(coding, positions.flatten().numpy(), math.prod(shape), values.numel())
        tensors[name] = torch.zeros(shape, dtype=values.dtype)
        words = _words(tensors[name])  # shares memory with the tensor
        words[places] = _words(values)
    return tensors


def _choose(tensor: Tensor) -> tuple[str, Positions]:
    """Find the smallest way to write where a tensor's values are; "plain" where none is worth it."""
    nowhere = np.empty(0, np.uint8)
    if tensor.itemsize not in WORDS:
        return "plain", nowhere
    words = _words(tensor)
    kept = int(np.count_nonzero(words))
    saved = (len(words) - kept) * tensor.itemsize - WORTH  # before positions are paid for
    if saved <= min(kept, len(words) // 8):
        return "plain", nowhere
    mask = np.packbits(words != 0)
    gaps = _gaps(words) if kept < len(mask) else None  # one byte for each value kept at least
    coding, positions = ("mask", mask) if gaps is None or len(mask) <= len(gaps) else ("gaps", gaps)
    return (coding, positions) if len(positions) < saved else ("plain", nowhere)


def _gaps(words: NDArray[np.generic]) -> Positions:
    zeros = np.diff(np.flatnonzero(words), prepend=-1) - 1
    lengths = zeros // LONG + 1  # bytes of each gap
    code = np.full(lengths.sum(), LONG, np.uint8)
    code[np.cumsum(lengths) - 1] = zeros % LONG
    return code


def _positions(coding: str, positions: Positions, n: int, kept: int) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Read where the kept ones of n values are: as indices, or as a mask (n,)."""
    refusal = ValueError(f"positions must say where {kept:,} of {n:,} values are, but do not")
    if coding == "mask":
        if len(positions) != -(-n // 8):
            raise refusal
        mask = np.unpackbits(positions, count=n).astype(bool)
        if np.count_nonzero(mask) != kept:
            raise refusal
        return mask
    ends = positions < LONG
    passed = np.cumsum(positions.astype(np.int64) + ends)  # a gap's end passes its value, too
    places = passed[ends] - 1
    if len(places) != kept or (kept and places[-1] >= n):
        raise refusal
    return places


def _words(tensor: Tensor) -> NDArray[np.generic]:
    """See a contiguous tensor's values as integers of their bits, flat."""
    words: NDArray[np.generic] = tensor.flatten().view(WORDS[tensor.itemsize]).numpy()
    return words

"""Stores tensors that are mostly zeros as their nonzero values and positions, without any loss.

A packed tensor becomes two tensors in a safetensors file. NAME holds the kept values, in order and in the tensor's
dtype. `NAME.positions` (uint8) says where they belong. The file's metadata has a JSON object under `packed`:
NAME -> [coding of the positions, shape of the tensor]. There are two codings:

- `mask`: one bit for each value, 1 if the value is kept. The first value is the highest bit of the first byte.
- `gaps`: for each kept value, the number of zeros before it. A byte of 255 stands for 255 zeros, and the gap goes on. A
  byte below 255 ends the gap.

Values and positions that do not match exactly raise ValueError, before memory is allocated for the tensor. So do
tensors that claim far more values than their bytes can stand for.

The smallest coding is used: the plain tensor if packing saves nothing, a mask if more than about 1/8 of the values are
kept, gaps below that. Only a value without any set bit counts as zero, so -0.0 and every NaN are kept exactly. In
float32, a weight takes 0.5 bytes at 90 % sparsity (0.4 for values, 0.1 for gaps; a mask takes 0.125), and 0.1 at 98 %.
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
WORTH = 256  # bytes that packing must save: more than a packed tensor adds to the file's header
LONG = 255  # zeros of a byte after which the gap goes on
EXPANSION, ALLOWANCE = 1000, 1 << 27  # a file may unpack to EXPANSION values for each byte, plus ALLOWANCE
WORDS = {
    1: torch.uint8,
    2: torch.int16,
    4: torch.int32,
    8: torch.int64,
}  # bytes of a value -> dtype that shows its bits

Positions = NDArray[np.uint8]
PACKED = TypeAdapter(dict[str, tuple[Literal["mask", "gaps"], list[NonNegativeInt]]])


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Pack each contiguous CPU tensor if that makes it smaller.

    Returns the tensors to store and the metadata of their file, which is empty if no tensor is packed.
    """
    stored: dict[str, Tensor] = {}
    packed: dict[str, tuple[str, list[int]]] = {}
    for name, tensor in tensors.items():
        coding, positions = _choose(tensor)
        if coding == "plain":
            stored[name] = tensor
            continue
        assert name + SUFFIX not in tensors, "names of a module's tensors never end in .positions"
        words = _words(tensor)
        stored[name] = torch.from_numpy(words[words != 0]).view(tensor.dtype)
        stored[name + SUFFIX] = torch.from_numpy(positions)
        packed[name] = coding, list(tensor.shape)
    return stored, {METADATA: json.dumps(packed)} if packed else {}


def unpack(stored: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Tensor]:
    """Undo `pack`: the same names, shapes, dtypes and bits. Raises ValueError for content that `pack` did not write."""
    packed = PACKED.validate_json(metadata.get(METADATA, "{}"))
    tensors = {name: tensor for name, tensor in stored.items() if name.removesuffix(SUFFIX) not in packed}
    claimed = sum(math.prod(shape) for _, shape in packed.values())
    if claimed > ALLOWANCE + EXPANSION * sum(tensor.nbytes for tensor in stored.values()):
        raise ValueError(f"packed tensors must fit the bytes that they are stored in, but claim {claimed:,} values")
    for name, (coding, shape) in packed.items():
        values, positions = stored.get(name), stored.get(name + SUFFIX)
        if values is None or values.itemsize not in WORDS or positions is None or positions.dtype != torch.uint8:
            raise ValueError(f"packed tensor {name!r} must have values and positions in bytes, but does not")
        indices = _positions(coding, positions.flatten().numpy(), math.prod(shape), values.numel())
        tensors[name] = torch.zeros(shape, dtype=values.dtype)
        words = _words(tensors[name])  # shares memory with the tensor
        words[indices] = _words(values)
    return tensors


def _choose(tensor: Tensor) -> tuple[str, Positions]:
    """Choose the smallest coding of a tensor's positions, and compute them. "plain" if packing saves nothing."""
    no_positions = np.empty(0, np.uint8)
    if tensor.itemsize not in WORDS:
        return "plain", no_positions
    words = _words(tensor)
    kept = int(np.count_nonzero(words))
    saved = (len(words) - kept) * tensor.itemsize - WORTH  # bytes, before the positions are counted
    if saved <= min(kept, len(words) // 8):
        return "plain", no_positions
    mask = np.packbits(words != 0)
    gaps = _gaps(words) if kept < len(mask) else None  # gaps take at least one byte for each kept value
    coding, positions = ("mask", mask) if gaps is None or len(mask) <= len(gaps) else ("gaps", gaps)
    return (coding, positions) if len(positions) < saved else ("plain", no_positions)


def _gaps(words: NDArray[np.generic]) -> Positions:
    zeros = np.diff(np.flatnonzero(words), prepend=-1) - 1
    lengths = zeros // LONG + 1  # bytes of each gap
    code = np.full(lengths.sum(), LONG, np.uint8)
    code[np.cumsum(lengths) - 1] = zeros % LONG
    return code


def _positions(coding: str, positions: Positions, n: int, kept: int) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Read the positions of the kept values among n: as indices (kept,) or as a mask (n,)."""
    refusal = ValueError(f"positions must mark {kept:,} of {n:,} values, but do not; the file is damaged")
    if coding == "mask":
        if len(positions) != -(-n // 8):
            raise refusal
        mask = np.unpackbits(positions, count=n).astype(bool)
        if np.count_nonzero(mask) != kept:
            raise refusal
        return mask
    ends = positions < LONG
    passed = np.cumsum(positions.astype(np.int64) + ends)  # the byte that ends a gap also passes a value
    indices = passed[ends] - 1
    if len(indices) != kept or (kept and indices[-1] >= n):
        raise refusal
    return indices


def _words(tensor: Tensor) -> NDArray[np.generic]:
    """View the bits of a contiguous tensor's values as integers: (values,)."""
    words: NDArray[np.generic] = tensor.flatten().view(WORDS[tensor.itemsize]).numpy()
    return words

"""Streams: images that threads read and decode when a step is about to need them, for what does not fit in memory."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from trainables.data.images import Decoder, Encoded
from trainables.data.types import Integers, Pixels

PIECE = 16  # images that a thread decodes at a time
AHEAD = 2  # batches in the making while one is used
Read = Callable[[Integers], Sequence[Encoded]]  # positions in a source, in any order -> the encoded images there
Item = TypeVar("Item")
Made = TypeVar("Made")


class _Piece(NamedTuple):
    """What a thread fills at a time: a part of the batch of a step."""

    batch: Tensor  # (B, C, H, W) uint8
    step: int
    part: slice


@dataclass(frozen=True, eq=False)
class Stream:
    """Images in a source, none of them decoded yet; it travels to wherever the source can be read."""

    read: Read
    decoder: Decoder
    positions: Integers  # (N,)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As of the array (N, C, H, W) that they would be."""
        return len(self.positions), *self.decoder.form

    @property
    def nbytes(self) -> int:
        """As of that array."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, part: slice) -> "Stream":
        return replace(self, positions=self.positions[part])

    def take(self, index: Integers, cuts: Integers | None = None) -> Pixels:
        """Decode the images at `index` (n,): (n, C, H, W); of each the random part that its cut draws, if any."""
        encoded = self.read(self.positions[index])
        return self.decoder.decode(encoded) if cuts is None else self.decoder.decode(encoded, cuts.tolist())


def batches(
    images: Pixels | Stream,
    steps: Sequence[Integers],
    cuts: Sequence[Integers] | None = None,
    threads: int | None = None,
    pinned: bool = False,
) -> Iterator[Tensor]:
    """Yield the images (B, C, H, W) of each step, at positions (B,); cuts (B,) are seeds of random parts of them.

    Two batches are in the making by `threads`, by default all cores, while the one before is used. Raises ValueError
    for the first image that does not decode.
    """

    def pieces() -> Iterator[_Piece]:
        for step, index in enumerate(steps):
            batch = torch.empty((len(index), *images.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
            for start in range(0, max(len(index), 1), PIECE):
                yield _Piece(batch, step, slice(start, start + PIECE))

    def fill(piece: _Piece) -> _Piece:
        index = steps[piece.step][piece.part]
        if isinstance(images, Stream):
            pixels = images.take(index, None if cuts is None else cuts[piece.step][piece.part])
        else:
            pixels = images[index]
        piece.batch.numpy()[piece.part] = pixels
        return piece

    threads = threads or os.cpu_count() or 1
    most = AHEAD * max(threads, math.ceil(max(map(len, steps), default=0) / PIECE))
    for piece in ahead(fill, pieces(), threads, most):
        if piece.part.stop >= len(piece.batch):
            yield piece.batch


def in_memory(images: Stream) -> Pixels:
    """Decode all images (N, C, H, W), on all cores."""
    out = images.decoder.form.empty(len(images))

    def fill(place: Integers) -> None:
        out[place] = images.take(place)

    for _ in ahead(fill, np.split(np.arange(len(images)), range(PIECE, len(images), PIECE)), os.cpu_count() or 1):
        pass
    return out


def ahead(make: Callable[[Item], Made], items: Iterable[Item], threads: int, most: int | None = None) -> Iterator[Made]:
    """Yield what `make` makes of each item, in their order, made by threads up to `most` items ahead.

    The first error, in this order, is raised; what is not begun by then, or when nobody asks any more, is left undone.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads, "decode") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > (most or 2 * threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for undone in waiting:
                undone.cancel()

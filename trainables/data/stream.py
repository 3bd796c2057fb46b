"""Streams: threads read and decode images shortly before a step needs them. For images that do not fit in memory."""

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
AHEAD = 2  # batches that threads fill while one is in use
Read = Callable[[Integers], Sequence[Encoded]]  # positions in a source, in any order -> their encoded images
Item = TypeVar("Item")
Result = TypeVar("Result")


class _Piece(NamedTuple):
    """The part of a step's batch that a thread fills at a time."""

    batch: Tensor  # (B, C, H, W) uint8
    step: int
    part: slice


@dataclass(frozen=True, eq=False)
class Stream:
    """Images in a source, not decoded yet. It can be sent to any machine that can read the source."""

    read: Read
    decoder: Decoder
    positions: Integers  # (N,)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape (N, C, H, W) of the decoded images."""
        return len(self.positions), *self.decoder.form

    @property
    def nbytes(self) -> int:
        """The bytes of the decoded images."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, part: slice) -> "Stream":
        return replace(self, positions=self.positions[part])

    def take(self, index: Integers, cuts: Integers | None = None) -> Pixels:
        """Decode the images at `index` (n,) to (n, C, H, W). cuts: (n,) seeds of random parts; None: whole images."""
        encoded = self.read(self.positions[index])
        return self.decoder.decode(encoded) if cuts is None else self.decoder.decode(encoded, cuts.tolist())


def batches(
    images: Pixels | Stream,
    steps: Sequence[Integers],
    cuts: Sequence[Integers] | None = None,
    threads: int | None = None,
    pinned: bool = False,
) -> Iterator[Tensor]:
    """Yield the images (B, C, H, W) of each step.

    steps: (B,) positions for each. cuts: (B,) seeds of random parts for each; None: whole images. While one batch is in
    use, `threads` (default: one per core) fill the next two. Raises ValueError for the first image that does not
    decode.
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
    """Decode all images to (N, C, H, W) on all cores."""
    out = images.decoder.form.empty(len(images))

    def fill(index: Integers) -> None:
        out[index] = images.take(index)

    for _ in ahead(fill, np.split(np.arange(len(images)), range(PIECE, len(images), PIECE)), os.cpu_count() or 1):
        pass
    return out


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, most: int | None = None
) -> Iterator[Result]:
    """Yield the result of `function` for each item, in their order. Threads run up to `most` items ahead.

    It raises the first error in this order. After an error, or when the caller stops, items that have not begun are
    cancelled.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "decode") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > (most or 2 * threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

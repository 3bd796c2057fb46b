"""Samples rows of Parquet files within a limit of bytes: a row can only be read with its whole row group."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from trainables.data.modes import MOST, evenly
from trainables.data.parquet_files import File, whole
from trainables.data.types import Integers, Role

AFFORDABLE = 1 << 28  # bytes of the row groups that a sample may read, or one group of each split if it has more


class _Group(NamedTuple):
    role: Role
    start: int  # position of its first row in the data set
    rows: int
    size: int  # bytes


def affordable(files: Sequence[File], sample: Integers) -> Integers:
    """Return a sample (n,) of positions in `files`, or a cheaper one if its row groups have too many bytes.

    The cheaper one has evenly spaced row groups of each split, and evenly spaced rows of them. The positions ascend.
    """
    groups = _groups(files)
    starts = np.array([group.start for group in groups], np.int64)
    used = np.unique(np.searchsorted(starts, sample, side="right") - 1)
    if sum(groups[n].size for n in used) <= AFFORDABLE:
        return sample
    roles = {group.role for group in groups}
    chosen: list[Integers] = []
    for role in roles:
        numbers = np.array([n for n, group in enumerate(groups) if group.role == role])
        size = sum(groups[n].size for n in numbers)
        count = max(1, int(len(numbers) * AFFORDABLE / len(roles) / size))
        rows = [groups[n].start + np.arange(groups[n].rows) for n in evenly(numbers, count)]
        chosen.append(evenly(np.concatenate(rows), MOST // len(roles)))
    return np.sort(np.concatenate(chosen))


def _groups(files: Sequence[File]) -> list[_Group]:
    """Return the row groups of all files that have rows, in their order."""
    groups, start = [], 0
    for file in files:
        with whole(file.path):
            metadata = pq.read_metadata(file.path)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if group.num_rows:
                groups.append(_Group(file.role, start, group.num_rows, group.total_byte_size))
                start += group.num_rows
    return groups

"""Describes data for the start of a run: classes, samples of each split, what is left out, colour or grey."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trainables.data.splits import Listing
from trainables.data.types import ROLES, Integers, Role
from trainables.data_spec import DataSpec

NAMES = 10  # of classes in a line


def described(
    listing: Listing, dealt: Mapping[Role, Integers], data: DataSpec, image: tuple[int, ...]
) -> Iterator[str]:
    """Yield a line for each fact. dealt: positions of each split's samples; image: channels, height, width."""
    source = f"{data.name} in {data.path}" if data.path else data.name
    more = ", ..." if len(listing.classes) > NAMES else ""
    yield f"data {source}: {len(listing.classes):,} classes: {', '.join(listing.classes[:NAMES])}{more}"
    counts = np.bincount(listing.roles, minlength=len(ROLES)).tolist()
    yield "images by split: " + ", ".join(_split(role, counts, len(dealt[role]), data) for role in ROLES)
    if listing.left_out:
        yield f"left out: {listing.left_out}"
    yield f"{listing.colour()}; each is {' x '.join(map(str, image))}"


def _split(role: Role, counts: Sequence[int], used: int, data: DataSpec) -> str:
    """Say how many samples a split has, and why they are not all that the source has."""
    count = counts[ROLES.index(role)]
    if role != "train" and not count:
        return f"{role} {used:,} (held out from train by data.{role}_fraction)"
    if role != "train" and used < count:
        return f"{role} {used:,} (of {count:,} by data.max_{role})"
    if getattr(data, f"max_{role}") == used:
        return f"{role} {used:,} (as data.max_{role})"
    return f"{role} {used:,}"

"""The Pareto set: the points that no other point dominates."""

from collections.abc import Sequence


def pareto(penalties: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the positions of the points that no other point dominates, sorted by their first coordinate.

    A point dominates another if no coordinate is higher. Of equal points, the first one stays.
    """
    front: list[int] = []
    for index in sorted(range(len(penalties)), key=lambda i: (penalties[i], i)):
        point = penalties[index]
        if not any(all(a <= b for a, b in zip(penalties[rival], point, strict=True)) for rival in front):
            front.append(index)
    return front

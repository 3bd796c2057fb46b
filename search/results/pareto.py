"""The Pareto set: what nothing else beats in every respect."""

from collections.abc import Sequence


def pareto(penalties: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the positions of the points that no other is at least as low as everywhere, by rising first coordinate.

    Of points that are equal everywhere the first one counts.
    """
    front: list[int] = []
    for index in sorted(range(len(penalties)), key=lambda i: (penalties[i], i)):
        own = penalties[index]
        if not any(all(a <= b for a, b in zip(penalties[rival], own, strict=True)) for rival in front):
            front.append(index)
    return front

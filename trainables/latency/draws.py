"""The networks of a latency table: random numbers of units for each part."""

import numpy as np
from numpy.typing import NDArray

from trainables.pruning.granularity import Prunable

FITTED, HELD_OUT = 24, 8  # networks that the prediction is fitted to, with the dense one; and those that test it


def draw(prunable: Prunable, seed: int = 0) -> NDArray[np.int64]:
    """Draw what each network keeps: (networks, parts) units. The dense network and the smallest one come first.

    Every other network draws a smallest share from 0.1 to 0.9, and the share of each part between it and 1. So some
    are nearly even, and others are not.
    """
    random = np.random.default_rng(seed)
    units, least, multiple = (
        np.array([getattr(part, field) for part in prunable.parts]) for field in ("units", "floor", "multiple")
    )
    networks = [units, least]
    while len(networks) < FITTED + HELD_OUT:
        shares = random.uniform(random.uniform(0.1, 0.9), 1.0, len(units))
        networks.append(np.clip(np.round(shares * units / multiple) * multiple, least, units))
    return np.array(networks, np.int64)

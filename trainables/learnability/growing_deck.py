"""Drawing samples as cards from a deck that grows."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def deal(order: Integers, sizes: Integers, batch_size: int, generator: np.random.Generator) -> Integers:
    """Draw an epoch (N,) step by step, each from the first `sizes` of the order, which never fall.

    The deck of these is shuffled, drawn from, and dealt anew when it is used up, so none comes again before all have
    come (ours). A newcomer changes places with a random card of what is left, or stays last: all orders of the deck
    are as likely as before (Fisher and Yates's shuffle, inside out).
    """
    drawn: list[int] = []
    known = int(sizes[0])
    deck: list[int] = generator.permutation(order[:known]).tolist()
    for size, start in zip(sizes.tolist(), range(0, len(order), batch_size), strict=True):
        places = generator.random(size - known) * np.arange(len(deck) + 1, len(deck) + 1 + size - known)
        for place, newcomer in zip(places.astype(np.int64).tolist(), order[known:size].tolist(), strict=True):
            deck.append(newcomer)
            deck[place], deck[-1] = newcomer, deck[place]
        known = size
        while wanted := min(start + batch_size, len(order)) - len(drawn):
            deck = deck or generator.permutation(order[:known]).tolist()
            drawn += deck[-wanted:]
            del deck[-wanted:]
    return np.array(drawn)

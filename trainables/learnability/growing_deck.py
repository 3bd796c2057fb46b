"""Draws samples like cards from a deck that grows."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def deal(order: Integers, sizes: Integers, batch_size: int, generator: np.random.Generator) -> Integers:
    """Draw an epoch of N samples step by step. Each step draws from the first `sizes` samples of the order.

    order: (N,). sizes: (steps,), never falling. Returns (N,).

    These samples are a shuffled deck. When the deck is empty, all of them are shuffled again, so no sample comes again
    before all have come (ours). A new sample swaps with a random card of the deck or stays last, so every order of the
    deck remains equally likely (the "inside-out" Fisher-Yates shuffle).
    """
    drawn: list[int] = []
    known = int(sizes[0])
    deck: list[int] = generator.permutation(order[:known]).tolist()
    for size, start in zip(sizes.tolist(), range(0, len(order), batch_size), strict=True):
        positions = generator.random(size - known) * np.arange(len(deck) + 1, len(deck) + 1 + size - known)
        for position, newcomer in zip(positions.astype(np.int64).tolist(), order[known:size].tolist(), strict=True):
            deck.append(newcomer)
            deck[position], deck[-1] = newcomer, deck[position]
        known = size
        while wanted := min(start + batch_size, len(order)) - len(drawn):
            deck = deck or generator.permutation(order[:known]).tolist()
            drawn += deck[-wanted:]
            del deck[-wanted:]
    return np.array(drawn)

"""Decks: nothing before its time, nothing twice in a deal, every order equally likely."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainables.learnability.growing_deck import deal


@given(st.integers(1, 40), st.integers(1, 15), st.data())
def test_a_card_is_drawn_in_its_time_and_again_only_when_all_are_used_up(
    samples: int, batch_size: int, data: st.DataObject
) -> None:
    steps = -(-samples // batch_size)
    sizes = sorted(data.draw(st.lists(st.integers(1, samples), min_size=steps, max_size=steps)))
    order = np.random.default_rng(samples).permutation(1000)[:samples]
    drawn = deal(order, np.array(sizes), batch_size, np.random.default_rng(0))
    assert len(drawn) == samples
    left: set[int] = set()
    for step, (before, size) in enumerate(pairwise([0, *sizes])):
        left |= set(order[before:size].tolist())
        for card in drawn[step * batch_size :][:batch_size].tolist():
            left = left or set(order[:size].tolist())
            left.remove(card)


def test_every_order_is_equally_likely() -> None:
    generator, trials = np.random.default_rng(0), 6000
    found = Counter(tuple(deal(np.arange(4), np.array([2, 4, 4, 4]), 1, generator).tolist()) for _ in range(trials))
    assert len(found) == 2 * 6  # one of two, then the other and two newcomers
    assert all(order[0] < 2 for order in found)
    expected = trials / 12
    assert sum((count - expected) ** 2 for count in found.values()) / expected < 31.3  # chi squared of 11, 99.9 %

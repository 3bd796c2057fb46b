"""Decks: no sample comes early, none comes twice before all have come, and every order is equally likely."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainables.learnability.growing_deck import deal


@given(st.integers(1, 40), st.integers(1, 15), st.data())
def test_a_card_comes_again_only_after_all_others(samples: int, batch_size: int, data: st.DataObject) -> None:
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
    assert len(found) == 2 * 6  # one of two cards, then the other card and two new ones in any order
    assert all(order[0] < 2 for order in found)
    expected = trials / 12
    assert (
        sum((count - expected) ** 2 for count in found.values()) / expected < 31.3
    )  # the 99.9 % quantile of chi squared with 11 degrees of freedom

"""Label noise: some training labels are flipped at random, so that the wrong labels are known."""

import numpy as np

from trainables.data.splits import Listing
from trainables.data.types import Integers
from trainables.data_spec import DataSpec

STREAM = 1  # number of this stream of draws by `split_seed`; the draws of the splits are separate


def flips(train: Integers, data: DataSpec) -> Integers:
    """Choose the training samples whose labels are flipped: round(label_noise * n) of the ids `train` (n,).

    Each id has a draw, and the smallest draws are chosen. So a label that is flipped at a small fraction is also
    flipped at a larger one. `train` holds the samples that are used, after `max_train`.
    """
    order = np.argsort(_draws(train, data.split_seed)[:, 0], kind="stable")
    return train[order[: round(data.label_noise * len(train))]]


def noisy_labels(listing: Listing, train: Integers, data: DataSpec) -> Integers:
    """Return the labels (N,) of all samples. Those of `flips` move to one of the other classes, all equally likely.

    The new label of a sample depends on its id and on `split_seed` alone.
    """
    flipped = flips(train, data)
    steps = _draws(flipped, data.split_seed)[:, 1] % max(len(listing.classes) - 1, 1) + 1
    labels = listing.labels.copy()
    labels[flipped] = (labels[flipped] + steps.astype(np.int64)) % len(listing.classes)
    return labels


def _draws(ids: Integers, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Return two numbers for each id, (n, 2): raw output of PCG64, which NumPy promises to keep (NEP 19)."""
    stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(STREAM,)))
    return stream.random_raw((ids.max(initial=-1) + 1, 2))[ids]

"""The contract of a measure and of a curriculum of the user's own, checked on records that are made up."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.catalog.contract_rules import called, must, short
from trainables.curriculum_spec import Curriculum
from trainables.data.batches import Drawn
from trainables.learnability.curricula import draws
from trainables.learnability.measures import ease
from trainables.learnability.records import Records
from trainables.plugins import load

SAMPLES, EPOCHS, BATCH = 600, 4, 64
MADE_UP = "records that are made up"


def check_measure(name: str) -> Iterator[str]:
    """Score samples of a training of some epochs, in which the first sample was never drawn."""
    records = _records()
    called(name, load("measure", name), records, on=MADE_UP)
    scores = ease(name, records)
    must(
        bool(np.isfinite(scores).all()),
        f"the scores of measure {name!r} must be finite, but are not for {int((~np.isfinite(scores)).sum())} of "
        f"{SAMPLES} samples, of which one was never drawn; give it a number, too",
    )
    must(
        np.array_equal(scores, ease(name, records)),
        f"measure {name!r} must score the same way twice, but it does not; draw by a fixed seed",
    )
    yield f"{SAMPLES} samples scored, from {scores.min():.3g} (hard) to {scores.max():.3g} (easy)"


def check_curriculum(name: str) -> Iterator[str]:
    """Draw the epochs of a training, each of them twice, as after a kill."""
    labels = np.arange(SAMPLES) % 10
    easy = np.linspace(0.0, 1.0, SAMPLES)
    spec = Curriculum(name=name)
    load("curriculum", name)  # a function that cannot be called says so itself
    drawn = [_epochs(name, called(name, draws, spec, easy, labels, EPOCHS, BATCH, 0, on=MADE_UP)) for _ in range(2)]
    for epoch, (one, other) in enumerate(zip(*drawn, strict=True)):
        same = one.index.tolist() == other.index.tolist() and _weights(one) == _weights(other)
        must(
            same,
            f"curriculum {name!r} must draw the same for an epoch twice, as a killed training goes on, but differs in "
            f"epoch {epoch}; draw by context.generator(epoch)",
        )
    seen = len({position for epoch in drawn[0] for position in epoch.index.tolist()})
    yield f"{EPOCHS} epochs of {SAMPLES} samples drawn, {seen} of them different"


def _epochs(name: str, draw: Any) -> list[Drawn]:
    must(callable(draw), f"curriculum {name!r} must return a draw: epoch -> Drawn, but returned {short(draw)}")
    found = []
    for epoch in range(EPOCHS):
        drawn = called(name, draw, epoch, on=MADE_UP)
        if drawn is None:  # every sample once
            drawn = Drawn(torch.arange(SAMPLES))
        must(
            isinstance(drawn, Drawn)
            and isinstance(drawn.index, Tensor)
            and drawn.index.dtype == torch.int64
            and drawn.index.shape == (SAMPLES,)
            and bool(((drawn.index >= 0) & (drawn.index < SAMPLES)).all()),
            f"curriculum {name!r} must draw as many samples as there are: Drawn(index) with {SAMPLES} positions, int64 "
            f"from 0 to {SAMPLES - 1}, but in epoch {epoch} draws {short(getattr(drawn, 'index', drawn))}; correct it",
        )
        must(
            drawn.weights is None
            or (drawn.weights.shape == (SAMPLES,) and bool((drawn.weights.isfinite() & (drawn.weights >= 0)).all())),
            f"the weights of curriculum {name!r} must be {SAMPLES} finite numbers, at least 0, but in epoch {epoch} "
            f"are {short(drawn.weights)}; correct them",
        )
        found.append(drawn)
    return found


def _weights(drawn: Drawn) -> list[float] | None:
    return None if drawn.weights is None else drawn.weights.tolist()


def _records() -> Records:
    """Make up what a training recorded; samples of higher ids are hit more often."""
    random = np.random.default_rng(0)
    quality = np.linspace(0.05, 0.95, SAMPLES) * np.linspace(0.5, 1.0, EPOCHS)[:, None]
    seen = np.ones((EPOCHS, SAMPLES), bool)
    seen[:, 0] = False
    hits = (random.random((EPOCHS, SAMPLES)) < quality) & seen
    margins = np.where(seen, 2 * quality - 1, np.nan).astype(np.float32)
    return Records(
        ids=np.arange(SAMPLES),
        labels=np.arange(SAMPLES) % 10,
        epochs=np.arange(1, EPOCHS + 1),
        seen=seen,
        hits=hits,
        probabilities=np.where(seen, quality, np.nan).astype(np.float32),
        margins=margins,
        errors=np.where(seen, 1 - quality, np.nan).astype(np.float32),
        taken="during",
        about={},
    )

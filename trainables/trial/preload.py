"""What each of Ray's workers imports while it waits for work: all that a training needs."""

from trainables.garbage import uncollected

with uncollected():
    from trainables.trial import trainable

__all__ = ["trainable"]

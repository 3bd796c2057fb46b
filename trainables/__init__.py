"""What one trial does: data, models, pruning, allocation, recovery. Knows nothing of the search around it."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_pruned"]


def load_pruned(path: str, trust: Collection[str] = ()) -> "nn.Module":
    """Load a network that `howcompact best` wrote, as a plain module of its cut widths, in eval mode on the CPU.

    trust: models of your own, "package.module:function", that may be imported; others are refused with a ValueError.
    """
    from trainables.evaluate import load_pruned as load  # torch is imported only for who asks

    return load(path, trust)

"""What one trial does: data, models, pruning, allocation, recovery. Knows nothing of the search around it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_pruned"]


def load_pruned(path: str) -> "nn.Module":
    """Load a network that `howcompact best` wrote, as a plain module of its cut widths, in eval mode on the CPU."""
    from trainables.evaluate import load_pruned as load  # torch is imported only for who asks

    return load(path)

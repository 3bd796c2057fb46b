"""One trial: data, models, pruning, allocation and recovery. Nothing here depends on the search."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_pruned"]


def load_pruned(path: str, trust: Collection[str] = ()) -> "nn.Module":
    """Load a network that `howcompact best` wrote: a plain module with the pruned widths, in eval mode on the CPU.

    trust: models of your own, "package.module:function", that may be imported. Raises ValueError for other models of
    users, and for a checkpoint that is missing, damaged or incomplete.
    """
    import torch  # takes seconds, so only when it is needed

    from trainables.checkpoints import checkpoint
    from trainables.evaluate import rebuild
    from trainables.models.trust import Trust
    from trainables.storage.folder import Folder

    return rebuild(checkpoint.load(Folder.at(path), Trust(trust)), torch.device("cpu"))

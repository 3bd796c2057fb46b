"""Selection of blocks by linear probes: a block stays if its features raise the accuracy of a probe.

After Chen & Zhao (TPAMI 41(12), 2019), who remove layers whose improvement is below a threshold.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

ROUNDING = 1e-9  # tolerance for the difference of two accuracies


@dataclass(frozen=True)
class ProbeResult:
    """The accuracies of a linear probe on the pooled output of a block."""

    name: str  # of the block
    features: int  # channels of the output
    train_accuracy: float
    val_accuracy: float


def scan(accuracies: Sequence[float], threshold: float, fixed: Collection[int] = ()) -> list[int]:
    """Keep each block whose accuracy is at least `threshold` above the accuracy of the last kept block.

    Our reading: gains count from the last kept block, not from the block directly before. Only this reading gives the
    published example.

    Args:
        accuracies: of the probes behind the stem (index 0, always kept) and behind every block.
        threshold: the least gain of a kept block.
        fixed: indices of blocks that are always kept.

    Returns:
        The indices of the stem and the kept blocks, in rising order.
    """
    kept = [0]
    for block in range(1, len(accuracies)):
        if block in fixed or accuracies[block] - accuracies[kept[-1]] >= threshold - ROUNDING:
            kept.append(block)
    return kept


def removals(accuracies: Sequence[float], fixed: Collection[int] = ()) -> list[tuple[int, float]]:
    """Order the removable blocks as a growing sparsity removes them: always the block of least gain (ours).

    As in `scan`, a gain counts from the last kept block, so gains change after each removal. Among equal gains the
    first block is removed. Returns (block, gain at its removal) in the order of removal.

    The thresholds of `scan` give no such order: a block that it keeps at one threshold may be removed at a lower one.
    In the published example, near its threshold, both rules keep the same blocks; in general they do not.
    """
    kept, order = list(range(len(accuracies))), []
    while gains := [
        (accuracies[block] - accuracies[before], block) for before, block in pairwise(kept) if block not in fixed
    ]:
        gain, block = min(gains)
        order.append((block, gain))
        kept.remove(block)
    return order


def survivors(accuracies: Sequence[float], threshold: float, fixed: Collection[int] = ()) -> list[int]:
    """Remove blocks in the order of `removals` until each removable block gains at least `threshold`.

    Returns the indices of the kept blocks, in rising order.
    """
    removed = takewhile(lambda removal: removal[1] < threshold - ROUNDING, removals(accuracies, fixed))
    return sorted({*range(len(accuracies))} - {block for block, _ in removed})

"""Which blocks a curve of linear probes says to keep: those that make features more telling than the last kept one's.

After Chen & Zhao (TPAMI 41(12), 2019), who remove layers whose improvement is below a threshold.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

ROUNDING = 1e-9  # of the difference of two accuracies


@dataclass(frozen=True)
class ProbeResult:
    """What a linear probe reads from the pooled output of a block."""

    name: str  # of the block
    features: int
    train_accuracy: float
    val_accuracy: float


def scan(accuracies: Sequence[float], threshold: float, stays: Collection[int] = ()) -> list[int]:
    """Keep each block whose accuracy is at least `threshold` above that of the last kept one, from the stem on.

    accuracies: of the probes behind the stem, which is kept, and behind every block. stays: blocks that are kept
    whatever they gain. Returns the indices of what is kept. That gains count from the last kept block, and not from the
    one before, is our reading: it alone gives the published example.
    """
    kept = [0]
    for block in range(1, len(accuracies)):
        if block in stays or accuracies[block] - accuracies[kept[-1]] >= threshold - ROUNDING:
            kept.append(block)
    return kept


def removals(accuracies: Sequence[float], stays: Collection[int] = ()) -> list[tuple[int, float]]:
    """Order the blocks that may go as a growing sparsity removes them: always the one that gains least.

    As in `scan`, a gain counts from the last block that is still kept, so it is worked out anew after each removal; of
    equal gains the first goes. Returns each block with its gain when it goes. Ours: a scan may keep at a threshold what
    it does not at a lower one, so its thresholds give no order. Removing all that gain less than a threshold keeps what
    the scan does in the published example, at its threshold and about it, but not in general.
    """
    left, order = list(range(len(accuracies))), []
    while gains := [
        (accuracies[block] - accuracies[before], block) for before, block in pairwise(left) if block not in stays
    ]:
        gain, block = min(gains)
        order.append((block, gain))
        left.remove(block)
    return order


def survivors(accuracies: Sequence[float], threshold: float, stays: Collection[int] = ()) -> list[int]:
    """Keep what is left once every block that may go gains at least `threshold`; returns indices."""
    too_little = takewhile(lambda removal: removal[1] < threshold - ROUNDING, removals(accuracies, stays))
    return sorted({*range(len(accuracies))} - {block for block, _ in too_little})

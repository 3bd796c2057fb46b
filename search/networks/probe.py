"""How much each block of a network improves a linear probe, and which blocks a threshold on that keeps."""

from collections.abc import Sequence

import numpy as np

from search.networks.network import Network, trial_spec
from trainables.allocation.budget import dense_counts
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.artifacts.probes import Curve, probe
from trainables.frozen import Frozen
from trainables.names import GranularityName
from trainables.pruning.blocks import Blocks
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.granularity import top_units
from trainables.pruning.probe_order import removals, scan, survivors
from trainables.spec import BudgetKind
from trainables.training.process import own_device
from trainables.training.train import to_device

KINDS: tuple[BudgetKind, ...] = ("params", "macs")
DIGITS = range(1, 7)  # decimals of a sparsity


class BlockReading(Frozen):
    """One block, and the linear probe behind it."""

    name: str
    shape: tuple[int, ...]  # (C, H, W) of its output; the probe reads the C means over positions
    train_accuracy: float
    val_accuracy: float
    gain: (
        float | None
    )  # of validation accuracy over the last kept block; for a removed block, at its removal; None for the first block
    removable: bool
    kept: bool


class Probing(Frozen):
    """The probes of a network, and what it keeps at a threshold."""

    network: str
    model: str
    granularity: GranularityName
    threshold: float  # of accuracy
    samples: int  # training samples of the probes
    blocks: tuple[BlockReading, ...]
    total: dict[BudgetKind, int]
    kept: dict[BudgetKind, int]
    sparsity: dict[BudgetKind, float]  # at which a study keeps the same blocks
    scanned: tuple[str, ...]  # blocks that one pass from input to output keeps at this threshold
    seconds: float  # that fitting the probes took


def probing(network: Network, threshold: float, granularity: str, samples: int) -> Probing:
    """Probe the blocks of a trained network.

    threshold: least gain of accuracy, as 0.013. samples: training samples for the probes. Raises ValueError with all
    that is wrong.
    """
    spec = trial_spec({"granularity": granularity, "criterion": "probe", "probe": samples}, seed=0)
    device = own_device()
    model, example = to_device(network.model, device), network.architecture.example(device)
    blocks = view(model, spec.granularity, example)
    assert isinstance(blocks, Blocks)
    splits = network.splits("probe")
    curve, cost = probe(model, example, splits, spec.probe)
    accuracies = [probed.val_accuracy for probed in curve]
    stays = survivors(accuracies, threshold, blocks.fixed)
    counts = np.array([sum(at in stays for at in _positions(blocks, name)) for name in blocks.stages])
    total = {kind: blocks.cost(dense_counts(blocks), kind) for kind in KINDS}
    kept = {kind: blocks.cost(counts, kind) for kind in KINDS}
    return Probing(
        network=network.name,
        model=network.architecture.model,
        granularity=spec.granularity,
        threshold=threshold,
        samples=min(spec.probe, len(splits.train)),
        blocks=_readings(blocks, curve, stays),
        total=total,
        kept=kept,
        sparsity={kind: _sparsity(blocks, curve, stays, kind, 1.0 - kept[kind] / total[kind]) for kind in KINDS},
        scanned=tuple(blocks.chain[at].name for at in scan(accuracies, threshold, blocks.fixed)),
        seconds=cost.seconds,
    )


def _readings(blocks: Blocks, curve: Curve, stays: Sequence[int]) -> tuple[BlockReading, ...]:
    gone = dict(removals([probed.val_accuracy for probed in curve], blocks.fixed))
    readings = []
    for at, (block, probed) in enumerate(zip(blocks.chain, curve, strict=True)):
        before = max((other for other in stays if other < at), default=None)
        gain = None if before is None else probed.val_accuracy - curve[before].val_accuracy
        readings.append(
            BlockReading(
                name=block.name,
                shape=block.outputs,
                train_accuracy=probed.train_accuracy,
                val_accuracy=probed.val_accuracy,
                gain=gain if at in stays else gone[at],
                removable=at not in blocks.fixed,
                kept=at in stays,
            )
        )
    return tuple(readings)


def _sparsity(blocks: Blocks, curve: Curve, stays: Sequence[int], kind: BudgetKind, exact: float) -> float:
    """Find the sparsity with the fewest decimals at which criterion 'probe' and policy 'by-score' keep these blocks."""
    context = PruningContext(blocks, shared={"probe": curve})
    scores = CRITERIA["probe"](context)
    for digits in DIGITS:
        sparsity = int(exact * 10.0**digits) / 10.0**digits  # rounded down: the budget is a little larger than needed
        keep = allocate(POLICIES["by-score"], Problem(context, scores, sparsity, kind))
        units = {name: top_units(scores[name], keep[name]).tolist() for name in blocks.stages}
        if all(units[name] == [n for n, at in enumerate(_positions(blocks, name)) if at in stays] for name in units):
            return sparsity
    raise AssertionError("a budget a millionth above the cost of these blocks must keep them, but does not")


def _positions(blocks: Blocks, part: str) -> list[int]:
    """Give the positions of a part's blocks in the chain."""
    return [blocks.chain.index(unit.block) for unit in blocks.stages[part]]

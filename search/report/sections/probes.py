"""Accuracy of a linear probe behind each block of a dense network, and the blocks that each sparsity keeps."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes

from search.comparison.compare import ComparisonRow
from search.comparison.wording import network_of, of_dense
from search.figures.chart import HUES, INK, SMALL, WIDTH, Panel
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence, shared_by
from search.results.rows import TrialRow
from search.study.cells import cell_key
from trainables.artifacts.probes import load_probes
from trainables.counts import noun, quantity
from trainables.names import BLOCKS
from trainables.pruning.probe_order import ProbeResult
from trainables.storage.folder import Folder

HUE = HUES[1]
CURVE, ROW, ABOVE = 130.0, 10.0, 18.0  # heights in points: the curve, a row of squares below it, the title
RIGHT = 8.0
LETTER = 3.9  # width in points


@dataclass(frozen=True)
class Reading:
    """The probes of a network, and the blocks that pruned networks keep."""

    curves: Mapping[int, Sequence[ProbeResult]]  # seed -> a probe behind each block
    kept: Mapping[str, Sequence[Collection[str]]]  # policy and sparsity -> blocks that the trial of each seed keeps
    dense: float  # accuracy in %, mean over seeds

    @property
    def blocks(self) -> list[str]:
        """Names of the blocks, from input to output."""
        return [probed.name for probed in next(iter(self.curves.values()))]

    def accuracies(self, split: str) -> list[list[float]]:
        """Give the accuracies in % behind each block, one for each seed. split: "train" or "val"."""
        behind = zip(*self.curves.values(), strict=True)
        return [[100 * getattr(probed, f"{split}_accuracy") for probed in seeds] for seeds in behind]


def probes_section(evidence: Evidence) -> Section:
    """Accuracy of a linear probe behind each block, and the blocks that stay at each sparsity."""
    title = "Linear probes behind each block"
    found = _readings(evidence)
    if not found:
        return Section(
            "probes",
            title,
            "No criterion of these studies uses linear probes, so none were fitted. `howcompact probe CHECKPOINT` fits "
            "them.",
        )
    groups = {name: [_panel(reading)] for name, reading in found.items()}
    text = (
        "Accuracy of a linear probe on the output of each block of the dense network, averaged over positions. Markers "
        "are means over seeds, bars are ranges, the dotted line is the dense network. Where the curve rises, a block "
        "makes the classes easier to separate. The squares below are the blocks that each policy keeps at each "
        "sparsity; a smaller square means fewer seeds."
    )
    return Section("probes", title, text, groups, [_table(*each) for each in found.items()], columns=2)


def _readings(evidence: Evidence) -> dict[str, Reading]:
    """Read the probes that compared trials used: name of a network and its curriculum -> reading."""
    stored = {cell_key(trial): folder for trial, _, folder in shared_by(evidence, "probe")}
    trials = {trial.trial: trial for trial in evidence.trials if trial.cell in stored}
    families: dict[tuple[str, str], list[ComparisonRow]] = defaultdict(list)  # recoveries prune the same blocks
    for rows in evidence.settings.values():
        families[rows[0].family, of_dense(rows[0].curriculum)] += rows
    found: dict[str, Reading] = {}
    for (family, curriculum), rows in families.items():
        own = {f"{row.policy} {row.sparsity:g}": [trials[k] for k in row.trial_keys if k in trials] for row in rows}
        if any(own.values()):
            name = f"{rows[0].dataset}: {network_of(rows[0], trained=False)}, {curriculum}".removesuffix(", ")
            found[f"{name} ({family[:6]})" if name in found else name] = _reading(own, stored)
    return found


def _reading(trials: Mapping[str, Sequence[TrialRow]], stored: Mapping[str, Folder]) -> Reading:
    by_seed = {trial.seed: trial for own in trials.values() for trial in own}
    curves = {seed: load_probes(stored[trial.cell])[0] for seed, trial in sorted(by_seed.items())}
    blocks = [probed.name for curve in curves.values() for probed in curve]
    kept = {name: [_kept(trial, blocks) for trial in own] for name, own in trials.items()}
    return Reading(curves, kept, 100 * fmean(trial.dense_accuracy or 0.0 for trial in by_seed.values()))


def _kept(trial: TrialRow, blocks: Sequence[str]) -> set[str]:
    """Name the blocks that a trial's network keeps.

    A kept block has weights. Where only whole blocks are removed, it has all of them: a projection that replaces a
    block may have a smaller layer of the same name.
    """
    whole = trial.granularity in BLOCKS
    layers = [layer for layer, density in trial.layers.items() if density > 0 and (density == 1 or not whole)]
    return {block for block in blocks if any(f"{layer}.".startswith(f"{block}.") for layer in layers)}


def _panel(reading: Reading) -> Panel:
    blocks, accuracies = reading.blocks, reading.accuracies("val")
    means = [fmean(seeds) for seeds in accuracies]
    left, below = max(36.0, 10 + LETTER * max(map(len, reading.kept))), 4 + ROW * len(reading.kept)
    step = math.ceil(SMALL * len(blocks) / (WIDTH - left - RIGHT))  # so that names do not touch

    def draw(axis: Axes) -> None:
        xs = range(len(blocks))
        lows, highs = [min(seeds) for seeds in accuracies], [max(seeds) for seeds in accuracies]
        axis.vlines(xs, lows, highs, color=HUE, lw=1.2, alpha=0.5)
        axis.plot(xs, means, "o-", color=HUE, lw=1.3, markersize=4.2, markeredgewidth=0)
        axis.axhline(reading.dense, color=INK, lw=0.8, ls=(0, (1, 2)))
        axis.set_xlim(-0.6, len(blocks) - 0.4)
        for row, (name, seeds) in enumerate(reading.kept.items()):
            height, transform = -(4 + ROW * (row + 0.5)) / CURVE, axis.get_xaxis_transform()
            sizes = [20 * fmean(block in kept for kept in seeds) for block in blocks]
            axis.plot(
                [0, len(blocks) - 1], [height] * 2, transform=transform, clip_on=False, color=INK, lw=0.5, alpha=0.3
            )
            squares = axis.scatter(xs, [height] * len(blocks), sizes, color=HUE, marker="s", transform=transform)
            squares.set(clip_on=False, linewidths=0)
            axis.text(-0.9, height, name, transform=transform, fontsize=6.5, ha="right", va="center_baseline")
        axis.set_xticks(xs[::step], blocks[::step], rotation=90, fontsize=6.5)
        axis.tick_params(axis="x", length=0, pad=below + 3)
        axis.set_xlabel("block, from input to output")
        axis.set_ylabel("validation accuracy of the probe (%)", fontsize=7)

    most = max(range(len(blocks)), key=means.__getitem__)
    description = (
        f"{quantity(len(blocks), 'block')}: {means[0]:.1f} % behind {blocks[0]}, {means[-1]:.1f} % behind the "
        f"last, at most {means[most]:.1f} % behind {blocks[most]}; the dense network has {reading.dense:.1f} %."
    )
    bottom = below + 19 + LETTER * max(map(len, blocks))
    title = f"{noun(len(reading.curves), 'seed')} {', '.join(map(str, reading.curves))}"
    height = ABOVE + CURVE + bottom
    return Panel(title, description, draw, height=height, left=left, right=RIGHT, bottom=bottom, top=ABOVE)


def _table(name: str, reading: Reading) -> Table:
    features = [probed.features for probed in next(iter(reading.curves.values()))]
    rows = [
        (
            block,
            str(width),
            f"{fmean(train):.2f}",
            f"{fmean(val):.2f}",
            f"{min(val):.2f} to {max(val):.2f}",
            *(f"{sum(block in kept for kept in seeds)} of {len(seeds)}" for seeds in reading.kept.values()),
        )
        for block, width, train, val in zip(
            reading.blocks, features, reading.accuracies("train"), reading.accuracies("val"), strict=True
        )
    ]
    head = ("block", "features", "training (%)", "validation (%)", "range (%)", *reading.kept)
    return Table(f"Accuracy of the probe behind each block, and how many seeds keep it, {name}", head, rows)

"""The training of gates: which stay open, what is left of the cost, and how many gates flip."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from search.comparison.wording import of_dense
from search.figures.chart import INK, SMALL, WIDTH, Panel, end_labels, label_width, styles
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence, shared_by
from search.report.sections.layers import ROW, SHADES
from search.results.names import curriculum_name, data_name, model_name
from trainables.checkpoints import checkpoint, manifest
from trainables.counts import quantity
from trainables.pruning.gates import GatesReport
from trainables.spec import GatingSpec
from trainables.storage.folder import Folder
from trainables.training.record import TrainingRecord

Runs = Mapping[int, Sequence[float]]  # seed -> a value for each epoch

BESIDE = 30.0  # points at the right, for the shares after the last epoch
MOST_MARKERS = 10  # of a line
EPOCHS = "epochs of training gates"


@dataclass(frozen=True)
class Training:
    """Gates for one budget, one training for each seed."""

    units: Mapping[str, int]  # name of a part -> number of its gates
    epochs: Mapping[int, Sequence[GatesReport]]  # seed -> the report after each epoch

    @property
    def open(self) -> dict[str, list[float]]:
        """Number of open gates of each part after each epoch, as a mean over seeds."""
        each = list(zip(*self.epochs.values(), strict=True))
        return {part: [fmean(report.open[part] for report in epoch) for epoch in each] for part in self.units}

    @property
    def cost(self) -> Runs:
        """Cost of the gated network in % of the dense one's."""
        return {seed: [100 * report.ratio for report in epochs] for seed, epochs in self.epochs.items()}

    @property
    def flips(self) -> Runs:
        """Number of times that gates opened or closed in each epoch."""
        return {seed: [report.flips for report in epochs] for seed, epochs in self.epochs.items()}


def gates_section(evidence: Evidence) -> Section:
    """Share of open gates in each part, cost left, and flips, epoch by epoch."""
    title = "Gates opening and closing"
    found = _trainings(evidence)
    if not found:
        none = "No criterion or policy of these studies uses trained gates."
        return Section("gates", title, none)
    groups = {
        name: [
            *(_open_panel(sparsity, own) for sparsity, own in trainings.items()),
            _lines("cost left", "cost left (% of dense)", {s: own.cost for s, own in trainings.items()}, targets=True),
            _lines("flips", "flips of all gates in an epoch", {s: own.flips for s, own in trainings.items()}),
        ]
        for name, trainings in found.items()
    }
    tables = [table(name, own) for name, own in found.items() for table in (_open_table, _cost_table)]
    text = (
        "Gates are trained together with the weights; all are open at first. The heat map shows the share of each "
        "part's gates that are open after each epoch, as a mean over seeds. Darker means more open gates; the numbers "
        "at the right are the shares after the last epoch. Parts go from input to output. The other charts show what "
        "is left of the dense network's cost, and how many times gates opened or closed in an epoch. Thin lines are "
        "single seeds, lines with markers are means, dotted lines are targets. Where flips end early, the remaining "
        "epochs change weights only."
    )
    return Section("gates", title, text, groups, tables)


def _trainings(evidence: Evidence) -> dict[str, dict[float, Training]]:
    """Read the gates in the storages of these studies: name of a network -> sparsity -> training."""
    stored = {spec: folder for _, spec, folder in shared_by(evidence, "gates")}
    alike: dict[str, list[GatingSpec]] = defaultdict(list)  # equal except for sparsity and seed
    for spec in stored:
        seedless = spec.dense.model_copy(update={"seed": 0})
        alike[spec.model_copy(update={"sparsity": 0.0, "dense": seedless}).key()].append(spec)
    found: dict[str, dict[float, Training]] = {}
    for key, specs in alike.items():
        dense = specs[0].dense
        name = f"{data_name(dense.data)}: {model_name(dense.model, dense.width)}, gates for {specs[0].budget}"
        name = ", ".join(filter(None, (name, of_dense(curriculum_name(dense.curriculum)))))
        found[f"{name} ({key[:6]})" if name in found else name] = {
            sparsity: _training(evidence, {s.dense.seed: stored[s] for s in specs if s.sparsity == sparsity})
            for sparsity in sorted({spec.sparsity for spec in specs})
        }
    return found


def _training(evidence: Evidence, seeds: Mapping[int, Folder]) -> Training:
    records = {seed: manifest.read_record(folder)[0] for seed, folder in sorted(seeds.items())}
    parts = checkpoint.load(seeds[min(seeds)]).tensors["gates"]  # each has the name of one of its layers
    order = next((list(trial.layers) for trial in evidence.trials if {*parts} <= {*trial.layers}), [*parts])
    units = {part: len(parts[part]) for part in sorted(parts, key=order.index)}
    return Training(units, {seed: TrainingRecord.model_validate(record).gates for seed, record in records.items()})


def _open_panel(sparsity: float, training: Training) -> Panel:
    shares = {part: [100 * n / training.units[part] for n in counts] for part, counts in training.open.items()}
    parts, epochs = list(shares), len(next(iter(shares.values())))
    left = 8 + 3.9 * max(map(len, parts))

    def draw(axis: Axes) -> None:
        extent = (0.5, epochs + 0.5, len(parts) - 0.5, -0.5)
        cells = np.array(list(shares.values()))
        axis.imshow(cells, cmap=SHADES, vmin=0, vmax=100, aspect="auto", interpolation="none", extent=extent)
        rows, edge = axis.get_yaxis_transform(), 1 + (BESIDE - 4) / (WIDTH - left - BESIDE)
        for row, text in enumerate(["at end", *(f"{share[-1]:.0f}" for share in shares.values())], -1):
            axis.text(edge, row, text, transform=rows, fontsize=SMALL, ha="right", va="center_baseline")
        axis.grid(visible=False)
        axis.set_yticks(range(len(parts)), parts, fontsize=6.5)
        axis.tick_params(axis="y", length=0)
        axis.spines[:].set_visible(False)
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axis.set_xlabel(EPOCHS)
        _scale(axis, ROW * len(parts))

    last = {part: share[-1] for part, share in shares.items()}
    most, least = max(last, key=last.__getitem__), min(last, key=last.__getitem__)
    description = (
        f"{quantity(len(parts), 'part')} over {quantity(epochs, 'epoch')}. After the last epoch {most} has the "
        f"largest share of its gates open, {last[most]:.0f} %, and {least} the smallest, {last[least]:.0f} %."
    )
    title = f"sparsity {sparsity:g}: gates open (%)"
    height = 62 + ROW * len(parts)
    return Panel(title, description, draw, height=height, left=left, right=BESIDE, top=30)


def _scale(axis: Axes, height: float) -> None:
    """Draw the scale of the shades above a heat map, which is `height` points high."""
    bar = axis.inset_axes((0.06, 1 + 3 / height, 0.3, 6 / height))
    bar.imshow(np.linspace(0, 100, 21)[None], cmap=SHADES, aspect="auto", interpolation="none")
    bar.set_axis_off()
    for x, text, side in ((0.04, "0", "right"), (0.38, "100 %", "left")):
        axis.text(x, 1 + 6 / height, text, transform=axis.transAxes, fontsize=SMALL, ha=side, va="center_baseline")


def _lines(title: str, label: str, runs: Mapping[float, Runs], targets: bool = False) -> Panel:
    names = {sparsity: f"sparsity {sparsity:g}" for sparsity in runs}
    style_of = styles(list(names.values()))
    means = {names[sparsity]: _mean(own) for sparsity, own in runs.items()}

    def draw(axis: Axes) -> None:
        for sparsity, name in names.items():
            epochs = range(1, len(means[name]) + 1)
            for run in runs[sparsity].values():
                axis.plot(epochs, run, color=style_of[name].hue, lw=0.5, alpha=0.5)
            axis.plot(epochs, means[name], markevery=math.ceil(len(epochs) / MOST_MARKERS), **style_of[name].line)
            if targets:
                axis.axhline(100 * (1 - sparsity), color=INK, lw=0.8, ls=(0, (1, 2)))
        axis.set_ylim(0, 1.05 * max(1.0, *(value for own in runs.values() for run in own.values() for value in run)))
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axis.set_xlabel(EPOCHS)
        axis.set_ylabel(label)
        if len(names) > 1:
            end_labels(axis, {name: mean[-1] for name, mean in means.items()}, style_of)

    values = "; ".join(
        f"{name}: {mean[0]:.1f} after the first epoch, {mean[-1]:.1f} at the end" for name, mean in means.items()
    )
    margin = {"right": label_width(list(means))} if len(names) > 1 else {}
    return Panel(title, f"{label}, mean over seeds. {values}.", draw, **margin)


def _mean(runs: Runs) -> list[float]:
    return [fmean(values) for values in zip(*runs.values(), strict=True)]


def _open_table(name: str, trainings: Mapping[float, Training]) -> Table:
    rows = [
        (part, f"{sparsity:g}", str(training.units[part]), *(f"{count:.1f}" for count in counts))
        for sparsity, training in trainings.items()
        for part, counts in training.open.items()
    ]
    head = ("part", "sparsity", "gates", *(f"epoch {epoch}" for epoch in range(1, len(rows[0]) - 2)))
    return Table(f"Open gates after each epoch, mean over seeds, {name}", head, rows)


def _cost_table(name: str, trainings: Mapping[float, Training]) -> Table:
    rows = [
        (f"{sparsity:g}", str(epoch), f"{cost:.2f}", f"{100 * (1 - sparsity):g}", f"{flips:.1f}", seeds)
        for sparsity, training in trainings.items()
        for seeds in [", ".join(map(str, training.epochs))]
        for epoch, (cost, flips) in enumerate(zip(_mean(training.cost), _mean(training.flips), strict=True), 1)
    ]
    head = ("sparsity", "epoch", "cost left (%)", "target (%)", "flips", "seeds")
    return Table(f"Cost left and flips, mean over seeds, {name}", head, rows, words=0)

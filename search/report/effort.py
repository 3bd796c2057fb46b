"""What finding the densities took: accuracy against search cost, and the best so far of each search."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from search.comparison import ComparisonRow
from search.report.chart import INK, SMALL, Panel, beside, key, label_room, log_ticks
from search.report.evidence import Evidence, Section, Table
from search.results import TrialRow
from search.tables import percent
from trainables.spec import SEARCHED

LEAST_SECONDS = 0.001  # what took less is drawn here, as the axis is logarithmic

Runs = Mapping[int, Sequence[float]]  # seed -> best accuracy after each evaluation


def cost_section(evidence: Evidence) -> Section:
    """Accuracy against what finding the densities took: a line for each sparsity, a marker for each policy."""
    groups = {name: [_cost(evidence, rows)] for name, rows in evidence.settings.items()}
    rows = [
        (
            name,
            row.policy,
            f"{row.sparsity:g}",
            f"{row.search_cost_seconds:.2f}",
            *map(_counted, (row.search_cost_evaluations, row.search_cost_images)),
            str(row.trials),
            percent(row.val_accuracy),
        )
        for name, own in evidence.settings.items()
        for row in own
    ]
    head = ("network", "policy", "sparsity", "search cost (s)", "evaluations", "images", "trials", "accuracy (%)")
    text = (
        "Search cost is what finding the densities took: sharing the budget, the profile it looks at, and every trial "
        "that a search evaluated, in the mean over seeds. The thin lines, one for each sparsity, are the best that so "
        "much time buys. A search's winner was chosen by the same samples, which favours it. The table counts, too: "
        "evaluations are forward passes of all calibration samples, each from the first changed layer on, and trials "
        "that a search evaluated; images are those in all passes, in training and validation of these trials as well; "
        "blank where an older version ran some, which did not count. Trials are over all seeds."
    )
    return Section("cost", "Accuracy against search cost", text, groups, [Table("Search cost", head, rows, words=2)])


def progress_section(evidence: Evidence) -> Section:
    """Best accuracy so far against evaluations of each search, its starting points first."""
    title = "Best so far"
    searches = {name: _searches(evidence, rows) for name, rows in evidence.settings.items()}
    searches = {name: by_sparsity for name, by_sparsity in searches.items() if by_sparsity}
    if not any(trial.policy == SEARCHED for trial in evidence.trials):
        return Section(
            "progress", title, f"No trial of the policy {SEARCHED!r} was run, so there is no search to follow."
        )
    if not searches:
        return Section("progress", title, "These trials do not tell when they ended: they are of an older version.")
    groups = {
        name: [_progress(evidence, sparsity, runs) for sparsity, runs in sorted(by_sparsity.items())]
        for name, by_sparsity in searches.items()
    }
    rows = [
        (name, f"{sparsity:g}", str(seed), str(place + 1), f"{best:.2f}")
        for name, by_sparsity in searches.items()
        for sparsity, runs in sorted(by_sparsity.items())
        for seed, run in sorted(runs.items())
        for place, best in enumerate(run)
        if place == 0 or best > run[place - 1]
    ]
    text = (
        "Best validation accuracy of a search so far, its evaluations in the order in which they ended: thin, each "
        "seed's; thick, their mean. Searches begin with the results of the policies that they start from."
    )
    head = ("network", "sparsity", "seed", "evaluation", "best so far (%)")
    return Section("progress", title, text, groups, [Table("Evaluations that were better than all before", head, rows)])


def _cost(evidence: Evidence, rows: Sequence[ComparisonRow]) -> Panel:
    policies = evidence.policies(rows)

    costs = [_seconds(row) for row in rows]
    longest, room = max(costs), 3 * max(costs) / min(costs)

    def draw(axis: Axes) -> None:
        axis.set_xscale("log")
        ends: dict[str, float] = {}
        for sparsity in sorted({row.sparsity for row in rows}):
            own = sorted((row for row in rows if row.sparsity == sparsity), key=_seconds)
            taken, reached = [_seconds(row) for row in own], [100 * row.val_accuracy.mean for row in own]
            for row, cost, accuracy in zip(own, taken, reached, strict=True):
                axis.plot([cost], [accuracy], **evidence.looks[row.policy].point)
            best = list(accumulate(reached, max))
            axis.step([*taken, longest * room**0.04], [*best, best[-1]], where="post", color=INK, lw=0.6, alpha=0.4)
            ends[f"{sparsity:g}"] = best[-1]
        axis.set_xlim(right=longest * room**0.17)
        for name, (_, place) in beside(axis, ends).items():
            axis.text(0.985, place, name, transform=axis.transAxes, fontsize=SMALL, ha="right", va="center_baseline")
        log_ticks(axis)
        axis.set_xlabel("search cost (s); at the right: sparsity")
        axis.set_ylabel("validation accuracy (%)")
        key(axis, policies, evidence.looks)

    told = ", ".join(f"{p}: {max(r.search_cost_seconds for r in rows if r.policy == p):.2g} s" for p in policies)
    return Panel(
        "best accuracy for the time",
        f"Largest mean search cost of each policy: {told}.",
        draw,
        right=label_room(policies),
    )


def _counted(mean: float | None) -> str:
    return "" if mean is None else f"{mean:,.0f}"


def _seconds(row: ComparisonRow) -> float:
    return max(row.search_cost_seconds, LEAST_SECONDS)


def _searches(evidence: Evidence, rows: Sequence[ComparisonRow]) -> dict[float, dict[int, list[float]]]:
    """Best accuracy in % after each evaluation, by sparsity and seed, where all of a search's trials tell their end."""
    starts = {start for study in evidence.studies for start in study.search.warm_start}
    cells: dict[str, list[TrialRow]] = defaultdict(list)
    for trial in evidence.trials_of(rows):
        if trial.policy == SEARCHED or trial.policy in starts:
            cells[trial.cell].append(trial)
    found: dict[float, dict[int, list[float]]] = defaultdict(dict)
    for own in cells.values():
        if any(trial.policy == SEARCHED for trial in own) and all(trial.ended for trial in own):
            own.sort(key=lambda trial: (trial.policy == SEARCHED, trial.ended))
            reached = (100 * (trial.val_accuracy or 0.0) * (trial.status == "done") for trial in own)
            found[own[0].sparsity][own[0].seed] = list(accumulate(reached, max))
    return found


def _progress(evidence: Evidence, sparsity: float, runs: Runs) -> Panel:
    look = evidence.looks[SEARCHED]
    shortest = min(map(len, runs.values()))
    mean = [sum(run[i] for run in runs.values()) / len(runs) for i in range(shortest)]

    def draw(axis: Axes) -> None:
        for run in runs.values():
            axis.step(range(1, len(run) + 1), run, where="post", color=look.hue, lw=0.6, alpha=0.6)
        axis.step(range(1, shortest + 1), mean, where="post", color=look.hue, lw=1.8)
        axis.set_xlabel("evaluations of the search")
        axis.set_ylabel("best validation accuracy (%)")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    told = f"Mean over {len(runs)} searches: {mean[0]:.1f} % at first, {mean[-1]:.1f} % after {shortest} evaluations."
    return Panel(f"sparsity {sparsity:g}", told, draw)

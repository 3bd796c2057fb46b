"""Progress of searches: the best metric after each evaluation, beside that of a random search."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from search.comparison.compare import ComparisonRow
from search.comparison.estimates import Estimate, telling
from search.figures.bands import LEFT_OUT, band
from search.figures.chart import Panel, label_width, legend
from search.figures.section import Section, Table
from search.report.sections.evidence import Evidence
from search.results.rows import TrialRow
from search.results.scale import ACCURACY, Scale, rank, scale_of, sign_of
from trainables.names import SEARCHED, SEARCHES

Runs = Mapping[int, Sequence[float]]  # seed -> best value of the metric, as it is shown, after each evaluation
BySparsity = Mapping[float, Mapping[str, Runs]]  # sparsity -> policy of the search -> runs


def progress_section(evidence: Evidence) -> Section:
    """Best metric so far against evaluations of each search, from its starting points on."""
    title = "Progress of the searches"
    if not any(trial.policy in SEARCHES for trial in evidence.trials):
        none = f"No trial of the policies {' and '.join(SEARCHES)} was run, so there is no search."
        return Section("progress", title, none)
    found = {name: _runs(evidence, rows) for name, rows in evidence.settings.items()}
    found = {name: by_sparsity for name, by_sparsity in found.items() if by_sparsity}
    if not found:
        return Section("progress", title, "An older version ran these trials: they have no end times.")
    groups = {
        name: [
            _panel(evidence, sparsity, searches, scale_of(evidence.settings[name][0].metric))
            for sparsity, searches in sorted(by_sparsity.items())
        ]
        for name, by_sparsity in found.items()
    }
    rows = [
        (
            name,
            policy,
            f"{sparsity:g}",
            str(seed),
            str(number + 1),
            f"{best:.{1 + scale_of(evidence.settings[name][0].metric).digits}f}",
        )
        for name, by_sparsity in found.items()
        for sparsity, searches in sorted(by_sparsity.items())
        for policy, runs in searches.items()
        for seed, run in sorted(runs.items())
        for number, best in enumerate(run)
        if number == 0 or best != run[number - 1]
    ]
    text = (
        f"Best validation {evidence.metrics} of a search so far. Evaluations are in the order in which they ended. "
        "Thin lines are single seeds, the thick line is their mean, the band its 95 % interval over seeds. "
        f"{LEFT_OUT} A search begins with the results of the policies that it starts from. A random search is the "
        "control: it has no such start."
    )
    head = ("network", "search", "sparsity", "seed", "evaluation", f"best {evidence.head_of_metrics} so far")
    tables = [Table("Evaluations that were better than all before them", head, rows, words=2)]
    return Section("progress", title, text, groups, tables)


def _runs(evidence: Evidence, rows: Sequence[ComparisonRow]) -> BySparsity:
    """Follow each search whose trials all have end times."""
    cells: dict[tuple[str, str], list[TrialRow]] = defaultdict(list)
    for trial in evidence.trials_of(rows):
        if trial.policy in SEARCHES:
            cells[trial.policy, trial.cell].append(trial)
        elif trial.policy in evidence.starts:
            cells[SEARCHED, trial.cell].append(trial)
    found: dict[float, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for (policy, _), own in sorted(cells.items()):
        if any(trial.policy == policy for trial in own) and all(trial.ended for trial in own):
            own.sort(key=lambda trial: (trial.policy in SEARCHES, trial.ended))
            found[own[0].sparsity][policy][own[0].seed] = _best_so_far(own)
    return found


def _best_so_far(trials: Sequence[TrialRow]) -> list[float]:
    """Follow the best value, as it is shown. Until a trial is done it is 0 for accuracy, else the worst one."""
    ranks = [rank(trial) if trial.status == "done" else None for trial in trials]
    known = [value for value in ranks if value is not None]
    least = 0.0 if trials[0].metric == ACCURACY else min(known, default=0.0)
    factor = scale_of(trials[0].metric).factor * sign_of(trials[0])
    return [factor * best for best in accumulate((least if value is None else value for value in ranks), max)]


def _panel(evidence: Evidence, sparsity: float, searches: Mapping[str, Runs], scale: Scale) -> Panel:
    means = {policy: Estimate.of_all(list(zip(*runs.values(), strict=False))) for policy, runs in searches.items()}

    def draw(axis: Axes) -> None:
        reached = [best for runs in searches.values() for run in runs.values() for best in run]
        margin = 0.05 * (max(reached) - min(reached)) + 0.005 * scale.factor
        axis.set_ylim(min(reached) - margin, max(reached) + margin)  # intervals of two seeds may be far wider
        for policy, runs in searches.items():
            style, mean = evidence.style_of[policy], means[policy]
            evaluations = range(1, len(mean) + 1)
            for run in runs.values():
                axis.step(range(1, len(run) + 1), run, where="post", color=style.hue, lw=0.5, alpha=0.5)
            line = (0, style.dashes) if style.dashes else "-"
            axis.step(evaluations, [e.mean for e in mean], where="post", color=style.hue, lw=1.8, linestyle=line)
            axis.plot(evaluations[-1:], [mean[-1].mean], **style.point)
            band(axis, evaluations, [telling(e.low, e.high, scale.length) for e in mean], style.hue, step="post")
        axis.set_xlabel("evaluations of the search")
        axis.set_ylabel(f"best validation {scale.axis}")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if len(searches) > 1:
            legend(axis, list(searches), evidence.style_of)

    values = "; ".join(
        f"{policy}: {mean[0].mean:.{scale.digits}f}{scale.unit} at first, "
        f"{mean[-1].mean:.{scale.digits}f}{scale.unit} after {len(mean)} evaluations"
        for policy, mean in means.items()
    )
    margin = {"right": label_width(list(searches))} if len(searches) > 1 else {}
    return Panel(f"sparsity {sparsity:g}", f"Mean over seeds. {values}.", draw, **margin)

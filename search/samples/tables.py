"""Tables of learnability, for the terminal and for the page."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from search.comparison.estimates import Estimate
from search.comparison.wording import plus_minus, with_ends, written
from search.figures.section import Table
from search.results.names import data_name
from search.samples.agreement import Agreement, Interval
from search.samples.forgetting import STAGES, Forgotten, FoundAgain
from search.samples.summary import Learnability
from trainables.counts import quantity
from trainables.learnability.measures import MEASURES

TAKEN = {
    "during": "recorded during each epoch: samples with variation, before the step that trains on them",
    "after": "recorded after each epoch: samples without variation",
}
TREATMENT_COLUMNS = ("network", "treatment", "policy", "sparsity")
INTERVALS = "95 % bootstrap interval over samples, not over trainings (for these, see the range)"


def scope(summary: Learnability) -> str:
    """Describe the networks, samples and epochs that were compared."""
    counts = {name: len(seeds) for name, seeds in summary.networks.items()}
    networks = ", ".join(f"{name} ({quantity(count, 'seed')})" for name, count in counts.items())
    flipped = f", {quantity(summary.noise.flipped, 'label')} flipped" if summary.noise else ""
    return (
        f"{networks}: {summary.samples:,} training samples of {data_name(summary.data)}{flipped}, "
        f"{quantity(summary.epochs, 'epoch')},\n"
        f"{TAKEN[summary.taken]}"
    )


def left_out(summary: Learnability) -> str:
    """Say what is not shown of a task of the user's own; empty for images."""
    if not summary.data.task.function:
        return ""
    parts = ["pictures and flipped labels (of images alone)"]
    if missing := [measure for measure in MEASURES if measure not in summary.agreement]:
        parts.append(f"{', '.join(missing)} (need labels)")
    return f"left out: {'; '.join(parts)}"


def agreement_table(summary: Learnability) -> Table:
    """Lay out correlations of learnability, for every two networks and for the ceiling."""
    rows = [
        (
            named(names),
            _half(pearson.single),
            f"{min(pearson.pairs):.3f} to {max(pearson.pairs):.3f}" if pearson.pairs else "",
            str(len(pearson.pairs)),
            _half(spearman.single),
            _half(pearson.means),
            _half(spearman.means),
            "" if pearson.published is None else f"{pearson.published:.3f}",
        )
        for names, (pearson, spearman) in _by_networks(summary.agreement["learnability"])
    ]
    head = ("networks", "Pearson's r", "range", "pairs", "Spearman's", "r of means", "Spearman's", "published r")
    caption = (
        f"Learnability: correlation over samples, of single runs and of means over seeds\n± half of the {INTERVALS}"
    )
    return Table(caption, head, rows)


def measures_table(summary: Learnability) -> Table:
    """Lay out correlations of every measure."""
    rows = [
        (measure, named(names), *(_ends(each.single) for each in pair), *(_ends(each.means) for each in pair))
        for measure, agreements in summary.agreement.items()
        for names, pair in _by_networks(agreements)
    ]
    head = ("measure", "networks", "Pearson's r", "Spearman's", "r of means", "Spearman's of means")
    return Table(f"All measures, with the ends of the {INTERVALS}", head, rows, words=2)


def noise_table(summary: Learnability) -> Table:
    """Lay out how well each measure finds flipped labels."""
    rows = []
    for (network, measure), each in groupby(
        summary.noise.detections if summary.noise else (), lambda d: (d.network, d.measure)
    ):
        detections = list(each)
        single, means = [d for d in detections if d.seed is not None], [d for d in detections if d.seed is None]
        cells = [_mean(Estimate.of([getattr(d, name) for d in single])) for name in ("auc", "precision")]
        cells += [f"{getattr(d, name):.3f}" for d in means for name in ("auc", "precision")] or ["", ""]
        rows.append((network, measure, *cells))
    head = ("network", "measure", "ROC AUC", "precision", "AUC of means", "precision of means")
    caption = (
        "Finding flipped labels among the hardest samples: single runs, ± half of the\n"
        "95 % interval over seeds, and means over seeds; precision: share of flipped samples\n"
        "among the k hardest, where k samples are flipped"
    )
    return Table(caption, head, rows, words=2)


def forgotten_table(summary: Learnability) -> Table:
    """Lay out which samples the dense networks had right and the pruned networks have wrong."""
    rows = []
    for treatment, each in groupby(summary.forgotten, _treatment):
        by_stage = {row.stage: row for row in each}
        stages = [by_stage.get(stage) for stage in STAGES]
        shares = (written(row.share) if row else "" for row in stages)
        rows.append((*treatment, *shares, *(_mean(row.auc) if row else "" for row in stages)))
    head = (*TREATMENT_COLUMNS, "% before", "% after", "AUC before", "AUC after")
    caption = (
        "What pruning forgets: % of the samples that the dense network had right in its last\n"
        "epoch, before and after recovery, ± half of the 95 % interval over seeds; AUC: chance\n"
        "that a forgotten sample was less learnable to the dense network than a kept sample"
    )
    return _shorter(Table(caption, head, rows, words=3))


def found_again_table(summary: Learnability) -> Table:
    """Lay out how well measures from the recovery of pruned networks find flipped labels."""
    rows = [
        (*treatment, *(f"{row.auc.mean:.3f}" for row in each))
        for treatment, each in groupby(summary.found_again, _treatment)
    ]
    caption = "Finding flipped labels by measures from the recovery of pruned networks: ROC AUC, mean over seeds"
    return _shorter(Table(caption, (*TREATMENT_COLUMNS, *MEASURES), rows, words=3))


def named(networks: tuple[str, str]) -> str:
    """Name two networks; of the ceiling: one network and its other seed."""
    one, other = networks
    return f"{one}, other seed" if one == other else f"{one}, {other}"


def _mean(value: Estimate | None) -> str:
    return "" if value is None else plus_minus(value.mean, value.low, value.high)


def _half(value: Interval | None) -> str:
    return "" if value is None else plus_minus(value.value, value.low, value.high)


def _ends(value: Interval | None) -> str:
    return "" if value is None else with_ends(value.value, value.low, value.high)


def _by_networks(agreements: Sequence[Agreement]) -> Iterator[tuple[tuple[str, str], list[Agreement]]]:
    """Group the two coefficients of each pair of networks; pairs of different networks come first."""
    ordered = sorted(agreements, key=lambda each: (len({*each.networks}) == 1, each.networks, each.coefficient))
    for names, coefficients in groupby(ordered, lambda each: each.networks):
        yield names, list(coefficients)


def _shorter(table: Table) -> Table:
    """Move the treatment into the caption if all rows have the same one."""
    column = TREATMENT_COLUMNS.index("treatment")
    treatments = {row[column] for row in table.rows}
    if len(treatments) != 1:
        return table
    head, *rows = (row[:column] + row[column + 1 :] for row in (table.head, *table.rows))
    return Table(f"{table.caption}\n{treatments.pop()}", head, rows, table.words - 1)


def _treatment(row: Forgotten | FoundAgain) -> tuple[str, ...]:
    return row.network, row.treatment, row.policy, f"{row.sparsity:g}"

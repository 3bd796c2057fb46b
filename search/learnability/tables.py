"""What networks tell of samples, as tables: for the terminal, and for the page."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from search.comparison.estimates import Estimate
from search.comparison.wording import percent, plus_minus, with_ends
from search.figures.section import Table
from search.learnability.agreement import Agreement, Interval
from search.learnability.forgetting import STAGES, Forgotten, FoundAgain
from search.learnability.summary import Learnability
from trainables.learnability.measures import MEASURES

TAKEN = {
    "during": "recorded during each pass, as samples come up, varied, before their step",
    "after": "recorded after each epoch, as samples are",
}
TREATED = ("network", "treatment", "policy", "sparsity")
INTERVALS = "95 % bootstrap interval over samples; not over trainings, which the range over pairs of runs is for"


def told(found: Learnability) -> str:
    """Say what was looked at."""
    counts = {name: len(seeds) for name, seeds in found.networks.items()}
    networks = ", ".join(f"{name} ({count} seed{'s' * (count > 1)})" for name, count in counts.items())
    flipped = f", {found.noise.flipped:,} labels flipped" if found.noise else ""
    return (
        f"{networks}: {found.samples:,} training samples of {found.data.name}{flipped}, {found.epochs} epochs,\n"
        f"{TAKEN[found.taken]}"
    )


def agreement_table(found: Learnability) -> Table:
    """Correlations of learnability, every two networks and the ceiling."""
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
        for names, (pearson, spearman) in _by_networks(found.agreement["learnability"])
    ]
    head = ("networks", "Pearson's r", "range", "pairs", "Spearman's", "r of means", "Spearman's", "published r")
    caption = (
        f"Learnability: correlation over samples of single runs, then of means over seeds\n± half of the {INTERVALS}"
    )
    return Table(caption, head, rows)


def measures_table(found: Learnability) -> Table:
    """Correlations of every measure."""
    rows = [
        (measure, named(names), *(_ends(each.single) for each in pair), *(_ends(each.means) for each in pair))
        for measure, every in found.agreement.items()
        for names, pair in _by_networks(every)
    ]
    head = ("measure", "networks", "Pearson's r", "Spearman's", "r of means", "Spearman's of means")
    return Table(f"Every measure, with the ends of the {INTERVALS}", head, rows, words=2)


def noise_table(found: Learnability) -> Table:
    """How well each measure finds flipped labels."""
    rows = []
    for (network, measure), each in groupby(
        found.noise.detections if found.noise else (), lambda d: (d.network, d.measure)
    ):
        every = list(each)
        single, means = [d for d in every if d.seed is not None], [d for d in every if d.seed is None]
        cells = [_mean(Estimate.of([getattr(d, name) for d in single])) for name in ("auc", "precision")]
        cells += [f"{getattr(d, name):.3f}" for d in means for name in ("auc", "precision")] or ["", ""]
        rows.append((network, measure, *cells))
    head = ("network", "measure", "ROC AUC", "precision", "AUC of means", "precision of means")
    caption = (
        "Finding flipped labels among the hardest samples: single runs, ± half of the\n"
        "95 % interval over seeds, and means over seeds; precision: of as many of the\nhardest as were flipped"
    )
    return Table(caption, head, rows, words=2)


def forgotten_table(found: Learnability) -> Table:
    """What pruned networks have wrong of what the dense ones had right."""
    rows = []
    for treated, each in groupby(found.forgotten, _treated):
        own = {lost.stage: lost for lost in each}
        stages = [own.get(stage) for stage in STAGES]
        shares = (percent(lost.share) if lost else "" for lost in stages)
        rows.append((*treated, *shares, *(_mean(lost.auc) if lost else "" for lost in stages)))
    head = (*TREATED, "% before", "% after", "AUC before", "AUC after")
    caption = (
        "What pruning forgets: of what the dense network had right in its last epoch,\n"
        "before and after recovery, ± half of the 95 % interval over seeds; AUC: chance that\n"
        "a forgotten sample was less learnable to the dense network than one kept"
    )
    return _shorter(Table(caption, head, rows, words=3))


def found_again_table(found: Learnability) -> Table:
    """How well measures taken while pruned networks recover find flipped labels."""
    rows = [
        (*treated, *(f"{each.auc.mean:.3f}" for each in own)) for treated, own in groupby(found.found_again, _treated)
    ]
    caption = "Finding flipped labels by what was recorded while pruned networks recovered: ROC AUC, mean over seeds"
    return _shorter(Table(caption, (*TREATED, *MEASURES), rows, words=3))


def named(networks: tuple[str, str]) -> str:
    """Name two networks, or the ceiling."""
    one, other = networks
    return f"{one}, other seed" if one == other else f"{one}, {other}"


def _mean(value: Estimate | None) -> str:
    return "" if value is None else plus_minus(value.mean, value.low, value.high)


def _half(value: Interval | None) -> str:
    return "" if value is None else plus_minus(value.value, value.low, value.high)


def _ends(value: Interval | None) -> str:
    return "" if value is None else with_ends(value.value, value.low, value.high)


def _by_networks(found: Sequence[Agreement]) -> Iterator[tuple[tuple[str, str], list[Agreement]]]:
    """Group the two coefficients of the same networks, those of two networks first."""
    ordered = sorted(found, key=lambda each: (len({*each.networks}) == 1, each.networks, each.coefficient))
    for names, own in groupby(ordered, lambda each: each.networks):
        yield names, list(own)


def _shorter(table: Table) -> Table:
    """Move the treatment into the caption where all rows have the same."""
    place = TREATED.index("treatment")
    treatments = {row[place] for row in table.rows}
    if len(treatments) != 1:
        return table
    head, *rows = (row[:place] + row[place + 1 :] for row in (table.head, *table.rows))
    return Table(f"{table.caption}\n{treatments.pop()}", head, rows, table.words - 1)


def _treated(each: Forgotten | FoundAgain) -> tuple[str, ...]:
    return each.network, each.treatment, each.policy, f"{each.sparsity:g}"

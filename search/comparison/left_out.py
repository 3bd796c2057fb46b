"""Why a row may not be comparable, and what the headline and the rows leave out."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from search.comparison.budgets import matched
from search.comparison.headline import BASELINE, Headline
from search.comparison.winners import BySeed, Cells, Winner
from trainables.counts import quantity
from trainables.pruning.held import much_fixed


class Expected(NamedTuple):
    """What rivals should keep of what their budget counts: what uniform keeps, else their median."""

    spent: float
    within: float  # how far a rival may be from it, as a fraction


def expected_budgets(cells: Cells) -> dict[tuple[str, float], dict[int, Expected]]:
    """Find what rivals should keep, by setting and sparsity, then by seed."""
    rivals: dict[tuple[str, float], dict[int, dict[str, Winner]]] = defaultdict(lambda: defaultdict(dict))
    for cell, own in cells.items():
        for seed, trial in own.items():
            rivals[cell.setting, cell.sparsity][seed][cell.policy] = trial
    return {
        target: {seed: _expected(by_policy) for seed, by_policy in by_seed.items()}
        for target, by_seed in rivals.items()
    }


def _expected(rivals: Mapping[str, Winner]) -> Expected:
    trials = [rivals[BASELINE]] if BASELINE in rivals else rivals.values()
    return Expected(median(trial.spent for trial in trials), max(trial.within for trial in trials))


def much_fixed_in(fixed: Iterable[tuple[str, float | None, int]]) -> list[str]:
    """Warn of networks of which more than a tenth is fixed.

    fixed: name of a network, its fixed parameters, and the weights of the dense network.
    """
    most: dict[str, tuple[int, int]] = {}
    for model, params, weights in fixed:
        most[model] = max(most.get(model, (0, 0)), (round(params or 0), weights))
    lines = {model: much_fixed(params, params + weights) for model, (params, weights) in most.items()}
    return [f"{model}: {line}" for model, line in lines.items() if line]


OTHER_SEEDS = "seeds differ from uniform's"


def incomparable(
    trials: Sequence[Winner], baseline: BySeed, budgets: Mapping[int, Expected], mismatch: str | None
) -> list[str]:
    """Say why a row may not be comparable: other seeds, another budget, or another training in the same arm."""
    texts = [OTHER_SEEDS] if baseline and {trial.seed for trial in trials} != set(baseline) else []
    unmatched = [
        trial
        for trial in trials
        if not matched(trial.spent, budgets[trial.seed].spent, max(trial.within, budgets[trial.seed].within))
    ]
    if unmatched:
        off = max(abs(trial.spent / budgets[trial.seed].spent - 1) for trial in unmatched)
        kind, rival = trials[0].budget, "uniform's" if baseline else "the rivals' median"
        texts.append(f"{kind} kept differ from {rival} by {off:.1%}: its gap, headline and counts leave them out")
    if mismatch:
        texts.append(f"trained or pruned unlike other rows of this model ({mismatch}); compare within a setting only")
    return texts


def left_out(
    headline: Mapping[str, Headline], without_winner: Mapping[str, int], odd_settings: Mapping[str, str]
) -> list[str]:
    """Say what the headline, the rows and the counts leave out, and why."""
    policies: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, gap in headline.items():
        if gap.left_out:
            policies[gap.left_out, gap.left_out + gap.cells].append(name)
    texts = [
        f"{', '.join(names)}: the headline leaves out {missing} of {tried} cells, where uniform has no match or other "
        "cells lack the seed"
        for (missing, tried), names in policies.items()
    ]
    texts += [
        f"{policy}: no row for {quantity(cells, 'cell')} (a sparsity and a seed), as no trial of the search "
        "ended there within its constraints"
        for policy, cells in sorted(without_winner.items())
    ]
    if odd_settings:
        texts.append("settings that were trained or pruned unlike others of their arm are left out of every headline")
    return texts

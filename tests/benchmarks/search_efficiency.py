"""How many trials a search needs to equal capacity, and to beat it: plain Ray OptunaSearch compared with our searches.

`python -m tests.benchmarks.search_efficiency STUDY_FOLDER OUT --sparsity 0.9 --seeds 0 1 2 --trials 60 --searchers ...`

STUDY_FOLDER holds capacity and other named policies at this sparsity; its storage holds their dense networks. A trial
here is rung 0 of a trial of the study, evaluated on the first validation images. The fresh images, which no search
sees, evaluate the best trial. Search seed s takes dense network s modulo the number of networks. OUT.jsonl keeps every
evaluation, so a run can stop and continue, and seeds can run side by side. It writes OUT.json and OUT.png.
"""

import argparse
import json
import math
import os
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import optuna
import torch
from matplotlib.axes import Axes
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial
from ray.tune.search.optuna import OptunaSearch

from search.comparison.estimates import Estimate, telling
from search.figures.bands import band
from search.figures.chart import INK, Panel, compose, end_labels, label_width, styles, to_file
from search.methods.samplers import SAMPLERS
from search.methods.spaces import SPACES
from tests.benchmarks.allocation import in_words
from tests.benchmarks.rung0 import Densities, Log, Network, networks
from trainables.frozen import Frozen

PLAIN = "plain"  # ray.tune.search.optuna.OptunaSearch with its defaults
SEARCHERS = (PLAIN, "random:layers", "tpe:layers", "tpe:stages", "cmaes:stages", "gp:stages", "tpe:family")
STARTS = ("uniform", "erk", "lamp", "rdp", "capacity")  # the first trials of "sampler:space:warm"
REFERENCE = "capacity"
SHOWN = (10, 20, 40, 60, 100, 200)  # numbers of trials in the table


class Plain:
    """Ray's OptunaSearch with its own TPE. It searches a density in [0, 1] for each part."""

    def __init__(self, network: Network, seed: int) -> None:
        space: dict[str, BaseDistribution] = {part: FloatDistribution(0.0, 1.0) for part in network.parts}
        self._search = OptunaSearch(space, metric="accuracy", mode="max", seed=seed)
        self._count = 0

    def ask(self) -> Densities:
        """Propose relative densities."""
        proposed: Any = self._search.suggest(str(self._count))
        return dict(proposed)

    def tell(self, accuracy: float) -> None:
        """Take the accuracy of the last proposal."""
        self._search.on_trial_complete(str(self._count), {"accuracy": accuracy})
        self._count += 1


class Ours:
    """A sampler and a space of ours, named "sampler:space". The first trials of "sampler:space:warm" are `STARTS`."""

    def __init__(self, name: str, network: Network, seed: int, trials: int) -> None:
        sampler, space, *warm = name.split(":")
        self._sampler = SAMPLERS[sampler]
        self._space = SPACES[space](network.cell, network.policies[REFERENCE])
        self._study = optuna.create_study(direction="maximize", sampler=self._sampler.make(seed, trials))
        self._starts = deque(network.policies[policy] for policy in STARTS if warm and policy in network.policies)

    def ask(self) -> Densities:
        """Propose relative densities."""
        if self._starts:
            return self._starts[0]
        self._trial = self._study.ask(dict(self._space.distributions))
        return self._space.densities(self._trial.params)

    def tell(self, accuracy: float) -> None:
        """Take the accuracy of the last proposal. If the space cannot express a start, try its nearest point later."""
        if not self._starts:
            self._study.tell(self._trial, accuracy)
            return
        densities = self._starts.popleft()
        params = self._space.nearest(densities)
        if self._space.expresses(densities):
            self._study.add_trial(
                create_trial(
                    value=accuracy,
                    params=params,
                    distributions=dict(self._space.distributions),
                    system_attrs=dict(self._sampler.system_attrs),
                )
            )
        else:
            self._study.enqueue_trial(params, skip_if_exists=True)


class Run(NamedTuple):
    """A search on one network, and the named policies of that network; accuracies in %."""

    trials: list[float]
    fresh: float  # accuracy of the best trial on the fresh images
    named: Mapping[str, float]  # policy -> accuracy
    reference_fresh: float
    images: int

    @property
    def best(self) -> list[float]:
        """Best accuracy after each trial, minus that of the reference."""
        return [best - self.named[REFERENCE] for best in accumulate(self.trials, max)]

    @property
    def error(self) -> float:
        """Standard error of the reference's accuracy over validation images, in points."""
        accuracy = self.named[REFERENCE] / 100
        return 100 * math.sqrt(accuracy * (1 - accuracy) / self.images)

    def until(self, ahead: float) -> int | None:
        """Count the trials until one is `ahead` points better than the reference; None if no trial is."""
        return next((n for n, best in enumerate(self.best, start=1) if best >= ahead), None)


def search(name: str, network: Network, seed: int, trials: int) -> Run:
    """Search with one trial at a time."""
    searcher = Plain(network, seed) if name == PLAIN else Ours(name, network, seed, trials)
    accuracies: list[float] = []
    proposals: list[Densities] = []
    for n in range(trials):
        print(f"{name}, seed {seed}, trial {n + 1}", flush=True)
        proposals.append(searcher.ask())
        accuracies.append(network.accuracy(proposals[-1]))
        searcher.tell(accuracies[-1])
    best = proposals[accuracies.index(max(accuracies))]
    return Run(
        trials=[100 * accuracy for accuracy in accuracies],
        fresh=100 * network.accuracy(best, fresh=True),
        named={policy: 100 * network.accuracy(densities) for policy, densities in network.policies.items()},
        reference_fresh=100 * network.accuracy(network.policies[REFERENCE], fresh=True),
        images=network.images,
    )


class Summary(Frozen):
    """The runs of one searcher, one for each seed; accuracies in points ahead of the reference on the same network."""

    reached: tuple[int | None, ...]  # trials until it equals the reference; None: not within the budget
    beaten: tuple[int | None, ...]  # trials until it is better by a standard error over validation images
    ahead: dict[int, Estimate]  # number of trials -> lead of the best trial so far
    ahead_of_best_named: Estimate  # after all trials
    ahead_fresh: Estimate  # after all trials, on images that the search has not seen
    curves: tuple[tuple[float, ...], ...]  # (seeds, trials), lead of the best trial so far

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Summary":
        """Summarise runs of the same number of trials."""
        trials = len(runs[0].trials)
        return cls(
            reached=tuple(run.until(0.0) for run in runs),
            beaten=tuple(run.until(run.error) for run in runs),
            ahead={n: Estimate.of([run.best[n - 1] for run in runs]) for n in (*SHOWN, trials) if n <= trials},
            ahead_of_best_named=Estimate.of([max(run.trials) - max(run.named.values()) for run in runs]),
            ahead_fresh=Estimate.of([run.fresh - run.reference_fresh for run in runs]),
            curves=tuple(tuple(run.best) for run in runs),
        )


def mean_trials(counts: Sequence[int | None], budget: int) -> float:
    """Average numbers of trials. None counts as the whole budget, so the mean is a lower bound."""
    return fmean(budget if n is None else n for n in counts)


def counted(counts: Sequence[int | None], budget: int) -> str:
    """Write a mean number of trials."""
    if None in counts:
        return f"> {mean_trials(counts, budget):.0f} ({counts.count(None)} of {len(counts)} never)"
    return in_words(Estimate.of([float(n) for n in counts if n is not None]))


def report(summaries: Mapping[str, Summary], budget: int) -> None:
    """Print a table as Markdown."""
    after = list(next(iter(summaries.values())).ahead)
    head = [f"trials to reach {REFERENCE}", f"{PLAIN}'s trials over these", "to beat it by a standard error"]
    head += [f"ahead after {n}" for n in after] + ["ahead of the best named policy", "ahead on fresh images"]
    print(f"\n| searcher | {' | '.join(head)} |\n|{'---|' * (len(head) + 1)}")
    for name, summary in summaries.items():
        ratio = ""
        if PLAIN in summaries and None not in summary.reached:
            sign = "> " if None in summaries[PLAIN].reached else ""
            plain = mean_trials(summaries[PLAIN].reached, budget)
            ratio = f"{sign}{plain / mean_trials(summary.reached, budget):.1f}"
        ahead = [*summary.ahead.values(), summary.ahead_of_best_named, summary.ahead_fresh]
        cells = [counted(summary.reached, budget), ratio, counted(summary.beaten, budget), *map(in_words, ahead)]
        print(f"| {name} | {' | '.join(cells)} |")


def draw(summaries: Mapping[str, Summary], title: str) -> bytes:
    """Draw the lead of the best trial so far over the reference: means over seeds with their intervals, as PNG."""
    means = {name: [Estimate.of(values) for values in zip(*one.curves, strict=True)] for name, one in summaries.items()}

    def panel(axis: Axes) -> None:
        looks = styles(list(means))
        early = [line[len(line) // 10].mean for line in means.values()]
        axis.set_ylim(min(early) - 0.5, max(line[-1].mean for line in means.values()) + 1.0)
        for name, line in means.items():
            count, hue = range(1, len(line) + 1), looks[name].hue
            axis.plot(count, [e.mean for e in line], color=hue, dashes=looks[name].dashes or (1, 0), linewidth=1.3)
            band(axis, count, [telling(e.low, e.high, 100.0) for e in line], hue)
        axis.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
        axis.set_xlabel("trials")
        axis.set_ylabel(f"points ahead of {REFERENCE}, best so far")
        end_labels(axis, {name: line[-1].mean for name, line in means.items()}, looks)

    described = f"Best accuracy so far against trials for {', '.join(means)}, minus that of {REFERENCE}."
    return to_file(
        compose({"": [Panel(title, described, panel, width=420, height=280, right=label_width(list(means)))]}), "png"
    )


def main() -> None:
    """Run the searches, then report and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("out")
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--searchers", nargs="+", default=list(SEARCHERS))
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    log = Log(Path(f"{options.out}.jsonl"))
    loaded = networks(options.study, options.sparsity, options.images, log)
    summaries = {}
    for name in options.searchers:
        runs = [search(name, loaded[seed % len(loaded)], seed, options.trials) for seed in options.seeds]
        summaries[name] = Summary.of(runs)
        report(summaries, options.trials)
    cell = loaded[0].cell
    title = f"{cell.dense.model}, width {cell.dense.width:g}, sparsity {options.sparsity:g}, seeds {options.seeds}"
    dumped = {name: one.model_dump() for name, one in summaries.items()}
    Path(f"{options.out}.json").write_text(json.dumps(dumped, indent=1))
    Path(f"{options.out}.png").write_bytes(draw(summaries, title))


if __name__ == "__main__":
    main()

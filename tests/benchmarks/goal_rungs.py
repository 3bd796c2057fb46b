"""What schedulers save in a search with several goals: the epochs that are trained, at equal hypervolume.

    python -m tests.benchmarks.goal_rungs STUDY

STUDY has a search with several goals that ran without a scheduler and drew its proposals at random
(`search.sampler=random`), so that each trial has all its epochs. Each scheduler then reads the epochs of these trials
in many random orders, one trial after the other. The script prints means over networks and orders: the epochs that are
trained, the hypervolume of the networks that were trained to their end, as a share of that of all networks, and the
epochs that whole trials, drawn at random, need for the same hypervolume, divided by the trained ones. Each goal is
scaled to its range. Schedulers that read the metric alone are there for comparison.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from search.methods.ranking import Floats
from search.methods.schedulers import SCHEDULERS, per_search
from search.results.folder import StudyFolder
from tests.benchmarks.rungs import SEARCH, Fed, with_promise
from trainables.outcome import Outcome
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.task_spec import MetricSpec
from trainables.trial.reports import to_tune

ORDERS = 100
BEYOND = 0.1  # the reference point is so far below the worst value of each goal, as a share of its range


@dataclass(frozen=True)
class Trained:
    """A trial that was trained to its end."""

    reports: Sequence[EpochReport]
    costs: Mapping[str, float]

    def point(self, goals: Sequence[str]) -> tuple[float, ...]:
        """Return the final values of the goals; higher is better."""
        best = max(report.val_accuracy for report in self.reports)
        return (best, *(-self.costs[goal] for goal in goals[1:]))


def blind(report: EpochReport) -> EpochReport:
    """Take the promise out of a report: no scheduler judges it."""
    return report.model_copy(update={"promise": None})


def hypervolume(points: Floats) -> float:
    """Compute the volume that points (points, goals) dominate above 0, exactly: slice by slice of the last goal."""
    if points.shape[1] == 1:
        return float(points.max(initial=0.0))
    below, volume = 0.0, 0.0
    for level in np.unique(points[:, -1]):
        volume += (level - below) * hypervolume(points[points[:, -1] >= level, :-1])
        below = level
    return volume


def scheduled(
    scheduler: str, trials: Sequence[Trained], goals: Sequence[str], order: Sequence[int]
) -> tuple[int, list[int]]:
    """Let a scheduler read trials one after the other; return the epochs that are trained, and the whole trials."""
    make = partial(SCHEDULERS[scheduler], goals)
    judge: Any = per_search(make, lambda _: SEARCH, lambda _: 0, lambda _: {}, MetricSpec())
    epochs, whole = 0, []
    for number in order:
        fed, trial = Fed(str(number)), trials[number]
        judge.on_trial_add(None, fed)
        for report in trial.reports:
            result = to_tune(report, trial.costs)
            epochs += report.epoch > 0
            stops = judge.on_trial_result(None, fed, result) == "STOP"
            if stops or report.final:
                judge.on_trial_complete(None, fed, result)
            if stops:
                break
        else:
            whole.append(number)
    return epochs, whole


def main(path: str) -> None:
    """Print a table."""
    folder, storage = StudyFolder.open(path), Folder.at(str(Path(path).parent))
    goals = folder.study.search.goals
    of_seed = defaultdict[int, list[Outcome]](list)
    for outcome in folder.read_outcomes(folder.keys()):
        if outcome.spec.policy == "searched" and outcome.status == "done":
            of_seed[outcome.spec.seed].append(outcome)
    table = defaultdict[tuple[str, str], list[tuple[float, float, float]]](list)
    for outcomes in of_seed.values():
        known = [(outcome, with_promise(outcome, storage)) for outcome in outcomes]
        promised = [Trained(reports, outcome.facts.costs) for outcome, reports in known if outcome.facts]
        unjudged = [Trained([blind(trial.reports[0]), *trial.reports[1:]], trial.costs) for trial in promised]
        points = np.array([trial.point(goals) for trial in promised])
        points = (points - points.min(axis=0)) / (points.max(axis=0) - points.min(axis=0)) + BEYOND
        length, every = len(promised[0].reports) - 1, hypervolume(points)
        random = np.random.default_rng(0)
        orders = [random.permutation(len(points)).tolist() for _ in range(ORDERS)]
        counts = range(len(points) + 1)
        drawn = np.mean([[hypervolume(points[order[:n]]) for n in counts] for order in orders[:50]], axis=0)
        ways = (
            ("all goals", goals, promised),
            ("all goals, not at epoch 0", goals, unjudged),
            ("the metric alone", goals[:1], promised),
        )
        for name, (judged, by, trials) in product(("asha", "hyperband", "median"), ways):
            runs = [scheduled(name, trials, by, order) for order in orders]
            epochs = float(np.mean([epochs for epochs, _ in runs]))
            share = float(np.mean([hypervolume(points[whole]) for _, whole in runs])) / every
            same = np.interp(share * every, drawn, [length * n for n in counts])
            table[name, judged].append((epochs / (length * len(points)), share, same / epochs))
    print("| scheduler | by | epochs | hypervolume | saved |")
    print("|---|---|---|---|---|")
    for (name, judged), numbers in table.items():
        epochs, share, saved = np.mean(numbers, axis=0)
        print(f"| `{name}` | {judged} | {epochs:.0%} | {share:.1%} | x {saved:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="folder of a study")
    main(parser.parse_args().study)

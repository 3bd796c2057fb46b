"""The rules that stop trials early, by one goal or by ranks of several. Each rule knows the trials of one search."""

from abc import ABC, abstractmethod
from collections import defaultdict

import numpy as np

from search.methods.ranking import Point, ahead

FACTOR = 3  # one of so many trials at a rung goes on; the next rung is at so many times its age
ENOUGH = 3  # other trials; a median of fewer says little


class Rule(ABC):
    """Decides, report by report, whether a trial stops. A report that comes again changes nothing."""

    @abstractmethod
    def stops(self, trial: str, age: int, point: Point, promised: bool) -> bool:
        """Note a report, and tell whether its trial stops.

        age: number of epochs judged so far, epoch 0 included. promised: whether the first value of the point is the
        promise of epoch 0. A promise and a metric are never compared.
        """


class Halving(Rule):
    """Asynchronous successive halving: at a rung, a trial goes on if it ranks in the best third of all that reached it.

    The rungs of bracket b are at ages 3^b, 3^(b+1), ... A trial that skips the age of a rung is judged by its next
    report. Of trials that rank alike, all go on. Source: multi-objective ASHA (Schmucker et al., arXiv 2106.12639), in
    its variant that ranks as NSGA-II does.
    """

    def __init__(self, brackets: int = 1) -> None:
        """brackets: their number. Each trial is put into one at random, most often into the first, as Ray does."""
        self._rungs = [defaultdict[int, dict[str, Point]](dict) for _ in range(brackets)]  # age -> trial -> point
        self._shares = np.exp(-np.arange(brackets)) / np.exp(-np.arange(brackets)).sum()
        self._bracket_of: dict[str, int] = {}
        self._draws = np.random.default_rng(0)

    def stops(self, trial: str, age: int, point: Point, promised: bool) -> bool:
        """As `Rule.stops`."""
        if trial not in self._bracket_of:
            self._bracket_of[trial] = int(self._draws.choice(len(self._shares), p=self._shares))
        bracket = self._bracket_of[trial]
        rung = FACTOR**bracket
        while rung * FACTOR <= age:
            rung *= FACTOR
        reached = self._rungs[bracket][rung]
        if age < rung or trial in reached:
            return False
        others = list(reached.values())
        reached[trial] = point
        return ahead(point, others) >= (len(others) + 1) / FACTOR


class Median(Rule):
    """Stop a trial if, by its best value, it ranks behind more than half of the other trials' running averages.

    With one goal this is the rule of Vizier (Golovin et al., KDD 2017, section 3.2.2); ranks for several goals are our
    reading of it. It applies once three other trials have reached the same age.
    """

    def __init__(self) -> None:
        """Begin without trials."""
        self._seen = defaultdict[bool, dict[str, dict[int, Point]]](dict)  # promised -> trial -> age -> point

    def stops(self, trial: str, age: int, point: Point, promised: bool) -> bool:
        """As `Rule.stops`."""
        seen = self._seen[promised]
        own = seen.setdefault(trial, {})
        own[age] = point
        averages = [
            tuple(np.mean([values for then, values in points.items() if then <= age], axis=0).tolist())
            for other, points in seen.items()
            if other != trial and max(points) >= age
        ]
        best = tuple(np.max(list(own.values()), axis=0).tolist())
        return len(averages) >= ENOUGH and ahead(best, averages) > len(averages) / 2

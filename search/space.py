"""Searched allocation: relative densities for each part, proposed by Optuna, one search for each cell of a study."""

import hashlib
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from search.samplers import SAMPLERS
from trainables.spec import TrialSpec

SMALLEST = 0.01  # smallest relative density proposed; only ratios matter, as every proposal is filled to the budget


class CellSearch:
    """The search of one cell: a spec but for its densities."""

    def __init__(self, cell: TrialSpec, parts: Sequence[str], sampler: str, trials: int, told: int) -> None:
        """told: trials of earlier runs, so that a continued search does not draw its first points again."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        seed = int(hashlib.sha256(f"{cell.key()}/{told}".encode()).hexdigest()[:8], 16)
        self.cell = cell
        self._trials = trials
        self._study = optuna.create_study(direction="maximize", sampler=SAMPLERS[sampler](seed, trials))
        self._space: dict[str, BaseDistribution] = {p: FloatDistribution(SMALLEST, 1.0, log=True) for p in parts}
        self._asked: dict[str, optuna.Trial] = {}
        self._given_up = 0

    @property
    def remaining(self) -> int:
        """Proposals still to be made."""
        return self._trials - self._given_up - len(self._study.get_trials(deepcopy=False))

    @property
    def running(self) -> int:
        """Proposals made and not told."""
        return len(self._asked)

    def tell(self, parts: Mapping[str, float], accuracy: float | None) -> None:
        """Tell a trial that was not proposed now: what it kept of each part, and its best accuracy."""
        told = create_trial(params=self._relative(parts), distributions=self._space, value=accuracy)
        self._study.add_trial(told)

    def give_up(self) -> None:
        """Count a trial of an earlier run that failed."""
        self._given_up += 1

    def go_on(self, spec: TrialSpec) -> None:
        """Take up a proposal that an earlier run did not finish."""
        self._study.enqueue_trial(self._relative(spec.densities or {}))
        self._asked[spec.key()] = self._study.ask(self._space)

    def propose(self) -> TrialSpec:
        """Propose the next trial."""
        trial = self._study.ask(self._space)
        spec = self.cell.model_copy(update={"policy": "searched", "densities": dict(trial.params)})
        self._asked[spec.key()] = trial
        return spec

    def report(self, key: str, epoch: int, accuracy: float) -> None:
        """Note the accuracy of an epoch."""
        self._asked[key].report(accuracy, epoch)

    def finish(self, key: str, accuracy: float | None, stopped: bool = False) -> None:
        """Tell how a proposal did: its best accuracy, None where it failed; stopped: cut short for being behind."""
        trial = self._asked.pop(key)
        if accuracy is None:
            self._study.tell(trial, state=TrialState.FAIL)
        elif stopped:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, accuracy)

    def _relative(self, parts: Mapping[str, float]) -> dict[str, float]:
        most = max(parts.values())
        return {part: min(1.0, max(SMALLEST, density / most)) for part, density in parts.items()}

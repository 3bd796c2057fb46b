"""One search by Optuna's ask and tell: it proposes trials and is told how they end."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.methods.samplers import SAMPLERS
from search.results.rows import TrialRow
from search.searching.journal import KEY
from search.searching.optuna_results import result_of
from search.searching.search_history import SearchHistory
from search.searching.search_space import SearchSpace
from search.study.search_spec import ACCURACY
from trainables.outcome import Outcome
from trainables.spec import TrialSpec

POLICY, ERROR = "policy", "error"  # Optuna's user attributes of a trial, beside KEY

FindOutcome = Callable[[str], Outcome | None]  # from a trial's key


@dataclass
class _Running:
    """A proposal that has not ended."""

    trial: optuna.Trial
    epochs: set[int]  # reported to Optuna


class DensitySearch:
    """Ask and tell: holds the Optuna study of a search, and brings it in line with the search's history.

    Where Optuna's journal and the history disagree, the history is right.
    """

    def __init__(self, history: SearchHistory, storage: BaseStorage, find: FindOutcome) -> None:
        """Open the Optuna study; ValueError if the search space cannot be built.

        find: looks up outcomes of trials that the journal lacks.
        """
        self._history, self._settings = history, history.settings
        self._storage, self._find = storage, find
        self._sampler = SAMPLERS[history.settings.sampler]
        self._space = SearchSpace(history)
        self._running: dict[str, _Running] = {}  # by the trial's key
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            study_name=history.name,
            storage=storage,
            sampler=self._sampler.make(history.seed, history.settings.trials),
            directions=["maximize" if goal == ACCURACY else "minimize" for goal in history.settings.goals],
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.set_metric_names(list(history.settings.goals))
        self._replay()

    @property
    def running(self) -> int:
        """Number of proposals that have not ended."""
        return len(self._running)

    def ask(self) -> TrialSpec:
        """Propose the next trial."""
        trial = self.study.ask(self._space.distributions)
        self._history.proposed += 1
        spec = self._space.spec(trial.params)
        trial.set_user_attr(KEY, spec.key())
        self._running[spec.key()] = _Running(trial, set())
        return spec

    def report(self, key: str, epoch: int, accuracy: float) -> None:
        """Note the accuracy of an epoch; a search with several goals keeps none."""
        running = self._running[key]
        if len(self._settings.goals) == 1 and epoch not in running.epochs:
            running.epochs.add(epoch)
            running.trial.report(accuracy, epoch)

    def tell(self, key: str, row: TrialRow) -> None:
        """Note how a proposal ended."""
        trial = self._running.pop(key).trial
        result = result_of(row, self._settings.goals, self._settings.constraints)
        for constraint, violation in result.violations.items():
            trial.set_constraint(constraint, violation)
        if result.error:
            trial.set_user_attr(ERROR, result.error)
        self.study.tell(trial, result.values, state=result.state)

    def tell_start(self, row: TrialRow, enqueue: bool = False) -> None:
        """Add a result that the search starts from, if the space expresses its densities.

        enqueue: otherwise propose the nearest densities that the space expresses.
        """
        if self._space.expresses(row.sparsity, row.parts):
            self._add(row)
        elif enqueue:
            self.study.enqueue_trial(self._space.params(row.sparsity, row.parts), skip_if_exists=True)

    def _replay(self) -> None:
        """Bring the Optuna study in line with the history."""
        trials = self.study.get_trials(deepcopy=False)
        recorded = {trial.user_attrs[KEY]: trial for trial in trials if KEY in trial.user_attrs}
        for row in self._history.starts:
            if row.trial not in recorded:
                self.tell_start(row, enqueue=not self._history.continues)
        for row in self._history.earlier:
            if row.trial not in recorded:
                self._add(row)
            elif not recorded[row.trial].state.is_finished():
                self._running[row.trial] = self._take_up(recorded[row.trial])
                self.tell(row.trial, row)
        for spec in self._history.unfinished:
            found = recorded.get(spec.key())
            running = None if found is None or found.state.is_finished() else self._take_up(found)
            self._running[spec.key()] = running or self._ask_again(spec)
        numbers = {running.trial.number for running in self._running.values()}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in numbers:  # the run that asked for it died before it handed it out
                self.study.tell(trial.number, state=TrialState.FAIL)

    def _add(self, row: TrialRow) -> None:
        """Add an ended trial that the journal lacks, if the space expresses its densities."""
        outcome = self._find(row.trial)
        densities = (outcome.spec.densities if outcome else None) or row.parts
        if not self._space.expresses(row.sparsity, densities):
            return
        result = result_of(row, self._settings.goals, self._settings.constraints)
        reports = outcome.history if outcome and len(self._settings.goals) == 1 else ()
        self.study.add_trial(
            create_trial(
                state=result.state,
                values=result.values,
                params=self._space.params(row.sparsity, densities),
                distributions=self._space.distributions,
                intermediate_values={report.epoch: report.val_accuracy for report in reports},
                constraints=dict(result.violations),
                user_attrs={KEY: row.trial, POLICY: row.policy} | ({ERROR: result.error} if result.error else {}),
                system_attrs=dict(self._sampler.system_attrs),
            )
        )

    def _take_up(self, trial: FrozenTrial) -> _Running:
        """Go on with a trial that the journal holds as running."""
        study_id = self._storage.get_study_id_from_name(self.study.study_name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        return _Running(optuna.Trial(self.study, trial_id), set(trial.intermediate_values))

    def _ask_again(self, spec: TrialSpec) -> _Running:
        """Propose an unfinished trial again that the journal lacks."""
        self.study.enqueue_trial(self._space.params(spec.sparsity, spec.densities or {}))
        trial = self.study.ask(self._space.distributions)
        trial.set_user_attr(KEY, spec.key())
        return _Running(trial, set())


def is_recorded(history: SearchHistory, storage: BaseStorage) -> bool:
    """Tell whether Optuna's journal knows how the proposals of earlier runs ended."""
    try:
        trials = storage.get_all_trials(storage.get_study_id_from_name(history.name), deepcopy=False)
    except KeyError:
        return False
    ended = {trial.user_attrs.get(KEY) for trial in trials if trial.state.is_finished()}
    return {row.trial for row in history.earlier} <= ended and all(trial.state.is_finished() for trial in trials)

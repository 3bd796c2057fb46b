"""One search by Optuna's ask and tell: it proposes networks and is told how their trials end."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.methods.samplers import sampler
from search.results.rows import TrialRow
from search.searching.journal import KEY
from search.searching.networks import Network, network_of_row
from search.searching.optuna_results import NOTES, POLICY, SAME, result_of
from search.searching.search_history import SearchHistory
from search.searching.search_space import Densities, Params, SearchSpace
from trainables.outcome import Outcome
from trainables.spec import TrialSpec

SAMPLED, DRAWN = 10, 100  # proposals of the sampler, then random draws; a search ends if none is a new network

FindOutcome = Callable[[str], Outcome | None]  # from a trial's key
Mark = Callable[[TrialSpec], Network]


@dataclass
class _Running:
    """A proposal that has not ended."""

    trial: optuna.Trial
    network: Network
    epochs: set[int] = field(default_factory=set)  # reported to Optuna
    same: list[optuna.Trial] = field(default_factory=list)  # later proposals of the same network


class DensitySearch:
    """Ask and tell: holds the Optuna study of a search, and brings it in line with the search's history.

    A network is trained once. A proposal whose network is known gets its result at once, or when the trial that has it
    ends. Where Optuna's journal and the history disagree, the history is right.
    """

    def __init__(self, history: SearchHistory, storage: BaseStorage, find: FindOutcome, mark: Mark) -> None:
        """Open the Optuna study; ValueError if the search space cannot be built.

        find: looks up outcomes of trials that the journal lacks. mark: marks the network of a proposal.
        """
        self._history, self._settings = history, history.settings
        self._storage, self._find, self._mark = storage, find, mark
        self._sampler = sampler(history.settings.sampler)
        self._space = SearchSpace(history)
        self._draws = np.random.default_rng(history.seed)
        self._running: dict[str, _Running] = {}  # by the trial's key
        self._ended: dict[Network, FrozenTrial] = {}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            study_name=history.name,
            storage=storage,
            sampler=self._sampler.make(history.seed, history.settings.trials),
            directions=history.directions,
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.set_metric_names(history.goals)
        self._replay()

    @property
    def running(self) -> int:
        """Number of proposals that have not ended."""
        return len(self._running)

    @property
    def networks(self) -> int:
        """Number of different networks among the trials of the search, its starting points included."""
        return len({*self._ended, *(running.network for running in self._running.values())})

    def ask(self) -> TrialSpec | None:
        """Propose a trial whose network is new; None if many proposals in a row gave no new one.

        First the sampler proposes. It may stay with few networks, so random draws from the whole space follow; Optuna
        gets those that are new.
        """
        for _ in range(SAMPLED):
            if spec := self._taken(self.study.ask(self._space.distributions)):
                return spec
        for _ in range(DRAWN):
            params = self._space.draw(self._draws)
            network = self._mark(self._space.spec(params))
            if network not in self._ended and self._running_with(network) is None:
                return self._taken(self._open(self._started(params)))
        return None

    def report(self, key: str, epoch: int, value: float) -> None:
        """Note the metric of an epoch; a search with several goals keeps none."""
        running = self._running[key]
        if len(self._settings.goals) == 1 and epoch not in running.epochs:
            running.epochs.add(epoch)
            running.trial.report(value, epoch)

    def tell(self, key: str, row: TrialRow) -> None:
        """Note how a proposal ended."""
        running = self._running.pop(key)
        trial = running.trial
        result = result_of(row, self._settings.goals, self._settings.constraints)
        for constraint, violation in result.violations.items():
            trial.set_constraint(constraint, violation)
        for name, note in result.notes.items():
            trial.set_user_attr(name, note)
        self._ended[running.network] = ended = self.study.tell(trial, result.values, state=result.state)
        for same in running.same:
            self._tell_same(same, ended)

    def tell_start(self, row: TrialRow, enqueue: bool = False) -> None:
        """Add a result that the search starts from, if the space expresses its densities.

        enqueue: otherwise propose the nearest densities that the space expresses.
        """
        ended = self._frozen(row, row.parts)
        if network := network_of_row(row):
            self._ended[network] = ended
        if ended.params:
            self.study.add_trial(ended)
        elif enqueue:
            self.study.enqueue_trial(self._space.params(row.sparsity, row.parts), skip_if_exists=True)

    def _taken(self, trial: optuna.Trial) -> TrialSpec | None:
        """Take a proposal of a new network; otherwise tell its result, now or when the running trial ends."""
        spec = self._space.spec(trial.params)
        network = self._mark(spec)
        if network in self._ended:
            self._tell_same(trial, self._ended[network])
        elif leader := self._running_with(network):
            self._follow(trial, leader)
        else:
            trial.set_user_attr(KEY, spec.key())
            self._running[spec.key()] = _Running(trial, network)
            self._history.proposed += 1
            return spec
        return None

    def _running_with(self, network: Network) -> str | None:
        """Find the running trial that has a network."""
        return next((key for key, running in self._running.items() if running.network == network), None)

    def _follow(self, trial: optuna.Trial, leader: str) -> None:
        """Let a proposal wait for the result of a running trial."""
        trial.set_user_attr(SAME, leader)
        self._running[leader].same.append(trial)

    def _tell_same(self, trial: optuna.Trial, ended: FrozenTrial) -> None:
        """Tell a proposal the result of an ended trial that has its network."""
        trial.set_user_attr(SAME, ended.user_attrs[KEY])
        for epoch, value in ended.intermediate_values.items():
            trial.report(value, epoch)
        for constraint, violation in ended.constraints.items():
            trial.set_constraint(constraint, violation)
        for name in {*NOTES} & {*ended.user_attrs}:
            trial.set_user_attr(name, ended.user_attrs[name])
        values = ended.values if ended.state == TrialState.COMPLETE else None
        self.study.tell(trial, values, state=ended.state)

    def _replay(self) -> None:
        """Bring the Optuna study in line with the history."""
        trials = self.study.get_trials(deepcopy=False)
        recorded = {trial.user_attrs[KEY]: trial for trial in trials if KEY in trial.user_attrs}
        for row in self._history.starts:
            if row.trial not in recorded:
                self.tell_start(row, enqueue=not self._history.continues)
            elif network := network_of_row(row):
                self._ended[network] = recorded[row.trial]
        for row in self._history.earlier:
            if row.trial not in recorded:
                self._add(row)
                continue
            known = recorded[row.trial]
            network = network_of_row(row) or self._mark(self._space.spec(known.params))
            if known.state.is_finished():
                self._ended[network] = known
            else:
                self._running[row.trial] = self._take_up(known, network)
                self.tell(row.trial, row)
        for spec in self._history.unfinished:
            found, network = recorded.get(spec.key()), self._mark(spec)
            if found is None or found.state.is_finished():
                found = self._started(self._space.params(spec.sparsity, spec.densities or {}), {KEY: spec.key()})
            self._running[spec.key()] = self._take_up(found, network)
        numbers = {running.trial.number for running in self._running.values()}
        ends = {trial.user_attrs[KEY]: trial for trial in self._ended.values()}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            leader = trial.user_attrs.get(SAME, "")
            if trial.number in numbers:
                continue
            if leader in self._running:
                self._running[leader].same.append(self._open(trial))
            elif leader in ends:
                self._tell_same(self._open(trial), ends[leader])
            else:  # the run that asked for it died before it handed it out
                self.study.tell(trial.number, state=TrialState.FAIL)

    def _add(self, row: TrialRow) -> None:
        """Add an ended trial that the journal lacks, if the space expresses its densities."""
        outcome = self._find(row.trial)
        ended = self._frozen(row, (outcome.spec.densities if outcome else None) or row.parts, outcome)
        network = network_of_row(row) or (self._mark(outcome.spec) if outcome else None)
        if network:
            self._ended[network] = ended
        if ended.params:
            self.study.add_trial(ended)

    def _frozen(self, row: TrialRow, densities: Densities, outcome: Outcome | None = None) -> FrozenTrial:
        """Write an ended trial as Optuna's; it has no parameters if the space does not express its densities."""
        result = result_of(row, self._settings.goals, self._settings.constraints)
        reports = outcome.history if outcome and len(self._settings.goals) == 1 else ()
        expressed = bool(densities) and self._space.expresses(row.sparsity, densities)
        return create_trial(
            state=result.state,
            values=result.values,
            params=self._space.params(row.sparsity, densities) if expressed else {},
            distributions=self._space.distributions if expressed else {},
            intermediate_values={report.epoch: report.val_accuracy for report in reports},
            constraints=dict(result.violations),
            user_attrs={KEY: row.trial, POLICY: row.policy, **result.notes},
            system_attrs=dict(self._sampler.system_attrs),
        )

    def _started(self, params: Params, attributes: Mapping[str, str] = MappingProxyType({})) -> FrozenTrial:
        """Start a trial of given parameters that the sampler did not propose."""
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions=self._space.distributions,
                user_attrs=dict(attributes),
                system_attrs=dict(self._sampler.system_attrs),
            )
        )
        return self.study.get_trials(deepcopy=False)[-1]

    def _take_up(self, trial: FrozenTrial, network: Network) -> _Running:
        """Go on with a trial that the journal holds as running."""
        return _Running(self._open(trial), network, set(trial.intermediate_values))

    def _open(self, trial: FrozenTrial) -> optuna.Trial:
        """Return a running trial of the journal as one that can be told a result."""
        study_id = self._storage.get_study_id_from_name(self.study.study_name)
        return optuna.Trial(self.study, self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number))

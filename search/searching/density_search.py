"""One search on Optuna's ask and tell: what it proposes, what it is told, and what it knows of earlier runs."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from search.methods.samplers import SAMPLERS
from search.methods.spaces import SPACES, Space
from search.results.names import curriculum_name, model_name
from search.results.rows import TrialRow
from search.searching.optuna_results import judged
from search.study.search_spec import ACCURACY, CAPACITY, SearchSpec
from trainables.names import RANDOM_SEARCH
from trainables.outcome import Outcome
from trainables.spec import Curriculum, TrialSpec

KEY, POLICY, ERROR = "trial", "policy", "error"  # Optuna's user attributes of a trial
SPARSITY = "sparsity"  # what a search with several goals proposes beside densities
CONTROL = {"sampler": "random", "space": "layers", "warm_start": ()}  # settings of the control

FindOutcome = Callable[[str], Outcome | None]


class DensitySearch:
    """A search over cells that differ in nothing but sparsity: one cell, or all of several goals.

    What earlier runs left is told by `start`, `past` and `resume`; the folder's outcomes decide where Optuna's journal
    disagrees with them.
    """

    def __init__(
        self, policy: str, cells: Sequence[TrialSpec], settings: SearchSpec, storage: BaseStorage, find: FindOutcome
    ) -> None:
        self.policy = policy
        self.cells = {cell.sparsity: cell for cell in cells}
        self._settings = settings.model_copy(update=CONTROL if policy == RANDOM_SEARCH else {})
        self._storage, self._find = storage, find
        self._study: optuna.Study | None = None
        self._spaces: dict[float, Space] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._starts: list[TrialRow] = []
        self._past: list[TrialRow] = []
        self._resumed: list[TrialSpec] = []
        self._asked: dict[str, optuna.Trial] = {}
        self._reported: dict[str, set[int]] = {}  # epochs
        self._counted = 0

    @property
    def remaining(self) -> int:
        """Proposals still to be made."""
        return self._settings.trials - self._counted

    @property
    def running(self) -> int:
        """Proposals made and not told."""
        return len(self._asked)

    @property
    def ended(self) -> list[TrialRow]:
        """What the search starts from, and the proposals of earlier runs that have ended."""
        return [*self._starts, *self._past]

    def start(self, row: TrialRow) -> None:
        """Start from a named policy's result, too."""
        self._counted += 1
        self._starts.append(row)
        if self._study is not None:
            self._tell_start(self._study, row, new=False)

    def past(self, row: TrialRow) -> None:
        """Take in a proposal of an earlier run that has ended."""
        self._counted += 1
        self._past.append(row)

    def resume(self, spec: TrialSpec) -> None:
        """Take up a proposal of an earlier run that has not ended."""
        self._counted += 1
        self._resumed.append(spec)

    def settle(self) -> None:
        """Tell Optuna's journal how earlier runs' proposals ended, if it does not know."""
        if self._past and self._study is None and not self._settled():
            self._begun()

    def _settled(self) -> bool:
        try:
            trials = self._storage.get_all_trials(self._storage.get_study_id_from_name(self._name()), deepcopy=False)
        except KeyError:
            return False
        ended = {trial.user_attrs.get(KEY) for trial in trials if trial.state.is_finished()}
        return {row.trial for row in self._past} <= ended and all(trial.state.is_finished() for trial in trials)

    def propose(self) -> TrialSpec:
        """Propose the next trial; ValueError where the space cannot be built."""
        trial = self._begun().ask(self._distributions)
        self._counted += 1
        params = dict(trial.params)
        cell = self.cells[params.pop(SPARSITY)] if SPARSITY in params else next(iter(self.cells.values()))
        densities = self._spaces[cell.sparsity].densities(params)
        spec = cell.model_copy(update={"policy": self.policy, "densities": densities})
        trial.set_user_attr(KEY, spec.key())
        self._asked[spec.key()] = trial
        return spec

    def report(self, key: str, epoch: int, accuracy: float) -> None:
        """Note the accuracy of an epoch; a search with several goals keeps none."""
        self._begun()
        trial = self._asked[key]
        known = self._reported.setdefault(key, set(self._storage.get_trial(trial._trial_id).intermediate_values))
        if len(self._settings.goals) == 1 and epoch not in known:
            known.add(epoch)
            trial.report(accuracy, epoch)

    def finish(self, key: str, row: TrialRow) -> None:
        """Tell how a proposal ended."""
        study = self._begun()
        trial = self._asked.pop(key)
        self._reported.pop(key, None)
        verdict = judged(row, self._settings.goals, self._settings.constraints)
        for name, violation in verdict.constraints.items():
            trial.set_constraint(name, violation)
        if verdict.error:
            trial.set_user_attr(ERROR, verdict.error)
        study.tell(trial, verdict.values, state=verdict.state)

    def _begun(self) -> optuna.Study:
        """Open Optuna's study and bring it to what the folder says: late, as a space may look at the starts."""
        if self._study is not None:
            return self._study
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        basis = {row.sparsity: row.parts for row in self._starts if row.policy == CAPACITY}
        self._spaces = {
            sparsity: SPACES[self._settings.space](cell, basis.get(sparsity)) for sparsity, cell in self.cells.items()
        }
        self._distributions = dict(next(iter(self._spaces.values())).distributions)
        if len(self.cells) > 1:
            self._distributions[SPARSITY] = CategoricalDistribution(sorted(self.cells))
        earlier = len(self._past) + len(self._resumed)  # so that a continued search does not draw its first points anew
        self._study = study = optuna.create_study(
            study_name=self._name(),
            storage=self._storage,
            sampler=SAMPLERS[self._settings.sampler].make(
                int(_hash(self._name(), str(earlier)), 16), self._settings.trials
            ),
            directions=["maximize" if goal == ACCURACY else "minimize" for goal in self._settings.goals],
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(self._settings.goals))
        held = {trial.user_attrs[KEY]: trial for trial in study.get_trials(deepcopy=False) if KEY in trial.user_attrs}
        for row in self._starts:
            if row.trial not in held:
                self._tell_start(study, row, new=earlier == 0)
        for row in self._past:
            if row.trial not in held:
                self._add(study, row)
            elif not held[row.trial].state.is_finished():
                self._asked[row.trial] = optuna.Trial(study, held[row.trial]._trial_id)
                self.finish(row.trial, row)
        for spec in self._resumed:
            known = held.get(spec.key())
            if known is None or known.state.is_finished():
                self._asked[spec.key()] = self._ask_again(study, spec)
            else:
                self._asked[spec.key()] = optuna.Trial(study, known._trial_id)
        ours = {trial._trial_id for trial in self._asked.values()}
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial._trial_id not in ours:  # asked for and never handed out, or its folder is gone
                study.tell(trial.number, state=TrialState.FAIL)
        return study

    def _name(self) -> str:
        """Name Optuna's study for its reader; what makes trials of two searches differ makes their names differ."""
        first = next(iter(self.cells.values()))
        network = model_name(first.dense.model, first.dense.width)
        followed = "" if first.followed == Curriculum() else f"{curriculum_name(first.followed)}, "
        at = f"{first.sparsity:g}" if len(self.cells) == 1 else "any"
        settings = (self._settings.space, *self._settings.goals, *self._settings.constraints)
        mark = _hash(*(cell.key() for cell in self.cells.values()), *settings)
        return (
            f"{self.policy}: {network}, {first.granularity}s by {first.criterion}, {first.recovery}, "
            f"{followed}sparsity {at}, seed {first.seed} ({mark})"
        )

    def _tell_start(self, study: optuna.Study, row: TrialRow, new: bool) -> None:
        """Tell a start where the space can express it; else let a new search try what is nearest to it."""
        if self._spaces[row.sparsity].expresses(row.parts):
            self._add(study, row)
        elif new:
            study.enqueue_trial(self._params(row.sparsity, row.parts), skip_if_exists=True)

    def _add(self, study: optuna.Study, row: TrialRow) -> None:
        """Tell a trial that Optuna's journal does not hold, where the space can express it."""
        outcome = self._find(row.trial)
        densities = (outcome.spec.densities if outcome else None) or row.parts
        if not self._spaces[row.sparsity].expresses(densities):
            return
        verdict = judged(row, self._settings.goals, self._settings.constraints)
        history = outcome.history if outcome and len(self._settings.goals) == 1 else ()
        study.add_trial(
            create_trial(
                state=verdict.state,
                values=verdict.values,
                params=self._params(row.sparsity, densities),
                distributions=self._distributions,
                intermediate_values={report.epoch: report.val_accuracy for report in history},
                constraints=dict(verdict.constraints),
                user_attrs={KEY: row.trial, POLICY: row.policy} | ({ERROR: verdict.error} if verdict.error else {}),
                system_attrs=dict(SAMPLERS[self._settings.sampler].told),
            )
        )

    def _ask_again(self, study: optuna.Study, spec: TrialSpec) -> optuna.Trial:
        study.enqueue_trial(self._params(spec.sparsity, spec.densities or {}))
        trial = study.ask(self._distributions)
        trial.set_user_attr(KEY, spec.key())
        return trial

    def _params(self, sparsity: float, densities: Mapping[str, float]) -> dict[str, float]:
        params = self._spaces[sparsity].nearest(densities)
        return params | ({SPARSITY: sparsity} if SPARSITY in self._distributions else {})


def _hash(*texts: str) -> str:
    return hashlib.sha256("/".join(texts).encode()).hexdigest()[:8]

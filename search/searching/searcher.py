"""Which trial of a study comes next: the named policies, then its searches, all in one Tune run."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from search.results.folder import StudyFolder
from search.results.rows import TrialRow, row_of
from search.searching.density_search import DensitySearch
from search.searching.journal import SearchStorage, open_journal
from search.study.cells import cell_key
from search.study.spec import StudySpec
from trainables.names import SEARCHED, SEARCHES
from trainables.outcome import Outcome
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import StorageError
from trainables.trial.reports import METRIC, TrialLost, from_tune

LOSSES = 3  # workers that a trial may lose before it has failed; and how often its storage before the run has

Configure = Callable[[TrialSpec], dict[str, Any]]


class StudySearcher(Searcher):
    """Hands out what the study folder does not hold yet. A search begins once what it starts from has ended."""

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        configure: Configure,
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._study = study
        self._folder = folder
        self._configure = configure
        self._running: dict[str, TrialSpec] = {}  # by Tune's trial id
        self._losses: Counter[str] = Counter()  # of a trial's workers or storage, by key
        self._failure = ""  # of the storage, once a trial has met it too often
        rows = folder.rows()
        done = {row.trial for row in rows if row.status != "failed" or row.policy in SEARCHES}
        self._queue = [spec for spec in study.trials() if spec.key() not in done]
        self._journal, storage = open_journal(folder.folder)
        self._searches: list[DensitySearch] = []
        self._search_of: dict[tuple[str, str], DensitySearch] = {}  # by policy and cell
        self._awaited: dict[DensitySearch, set[str]] = defaultdict(
            set
        )  # keys of the policies that a search starts from
        self._open_searches(rows, folder.unfinished(done), storage)

    def _open_searches(self, rows: list[TrialRow], unfinished: list[TrialSpec], storage: SearchStorage) -> None:
        for policy, cells in self._study.searches():
            search = DensitySearch(policy, cells, self._study.search, storage, self._folder.outcome)
            self._searches.append(search)
            self._search_of |= {(policy, cell_key(cell)): search for cell in cells}
        for row in rows:
            if (begins := self._starting_from(row.policy, row.cell)) and row.status == "done":
                begins.start(row)
            if own := self._search_of.get((row.policy, row.cell)):
                own.past(row)
        for spec in self._queue:
            if begins := self._starting_from(spec.policy, cell_key(spec)):
                self._awaited[begins].add(spec.key())
        for earlier in unfinished:
            spec = earlier.on(earlier.dense.data.found_by(self._study.data))
            if own := self._search_of.get((spec.policy, cell_key(spec))):
                own.resume(spec)
                self._queue.insert(0, spec)

    def _starting_from(self, policy: str, cell: str) -> DensitySearch | None:
        """Find the search that starts from a policy's result in a cell."""
        return self._search_of.get((SEARCHED, cell)) if policy in self._study.search.warm_start else None

    @property
    def specs(self) -> list[TrialSpec]:
        """A spec of every kind still to come: what they need is made before they run."""
        cells = [cell for search in self._searches if search.remaining > 0 for cell in search.cells.values()]
        return [*self._queue, *cells]

    @property
    def total(self) -> int:
        """Trials still to come."""
        return len(self._queue) + sum(max(0, s.remaining - len(self._awaited[s])) for s in self._searches)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Give Tune the next trial, nothing for now, or the end."""
        if self._queue:
            spec = self._queue.pop(0)
        else:
            unfinished = [search for search in self._searches if search.remaining > 0]
            if not unfinished:  # what still runs may lose its worker and come back
                return None if self._running else Searcher.FINISHED  # type: ignore[return-value]
            ready = [search for search in unfinished if not self._awaited[search]]
            if not ready:
                return None
            spec = min(ready, key=lambda search: (search.running, -search.remaining)).propose()
        self._running[trial_id] = spec
        self._folder.start_trial(spec)
        self._journal.save_in_time()
        return self._configure(spec)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note an epoch."""
        spec = self._running[trial_id]
        report = from_tune(result)
        if isinstance(report, EpochReport) and (search := self._search_of.get((spec.policy, cell_key(spec)))):
            search.report(spec.key(), report.epoch, report.val_accuracy)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note how a trial ended."""
        spec = self._running.pop(trial_id)
        key, cell = spec.key(), cell_key(spec)
        report = from_tune(result)
        if error or isinstance(report, TrialLost):
            self._losses[key] += 1
            if not (error and self.gave_up(spec)):
                self._queue.insert(0, spec)
                if self.gave_up(spec) and isinstance(report, TrialLost):
                    self._failure = report.error
                return
        outcome = self._folder.outcome(key)
        if outcome is None:  # stopped, or lost: whoever hears of it next writes it down
            lost = error or result is None
            outcome = Outcome(
                spec=spec, status="failed" if lost else "stopped", error="its workers were lost" if lost else ""
            )
        if own := self._search_of.get((spec.policy, cell)):
            if outcome.status == "stopped" and isinstance(report, EpochReport):  # its last, which only this call gets
                own.report(key, report.epoch, report.val_accuracy)
            own.finish(key, row_of(outcome))
        if begins := self._starting_from(spec.policy, cell):
            self._awaited[begins].discard(key)
            if outcome.status == "done":
                begins.start(row_of(outcome))
        self._journal.save_in_time()

    def ended(self, search: tuple[str, str]) -> dict[str, tuple[EpochReport, ...]]:
        """Reports of what a search starts from in a cell, and of what earlier runs left of it there, by trial."""
        keys = [row.trial for row in self._search_of[search].ended if row.cell == search[1]]
        outcomes = self._folder.read_outcomes(keys)
        return {outcome.spec.key(): outcome.history for outcome in outcomes if outcome.history}

    def check(self) -> None:
        """Raise StorageError once it is no use to go on: no trial has failed, and the next run takes all up again."""
        if self._failure:
            raise StorageError(self._failure)

    def gave_up(self, spec: TrialSpec) -> bool:
        """Tell whether a trial has lost its worker too often to be tried again in this run."""
        return self._losses[spec.key()] > LOSSES

    def close(self) -> None:
        """Leave in the study folder what Optuna knows."""
        for search in self._searches:
            search.settle()
        self._journal.save()

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study folder is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

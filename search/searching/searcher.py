"""Chooses the next trial of a study: first the named policies, then the searches, all in one Tune run."""

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from ray.tune.search import Searcher

from search.methods.schedulers import Past
from search.results.folder import StudyFolder
from search.results.rows import TrialRow, row_of
from search.results.searches import is_exhausted, known_exhausted, write_exhausted
from search.searching.density_search import DRAWN, SAMPLED, DensitySearch
from search.searching.journal import open_journal
from search.searching.networks import network_of
from search.searching.optuna_results import is_recorded
from search.searching.search_history import SearchHistory, SearchKey, past_trials, search_key
from search.study.cells import cell_key
from search.study.spec import StudySpec
from trainables.counts import quantity
from trainables.names import SEARCHED, SEARCHES
from trainables.outcome import Outcome
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import StorageError
from trainables.trial.reports import METRIC, TrialLost, from_tune

LOSSES = 3  # a trial fails if it loses more workers; the run stops if a trial loses its storage more often

Configure = Callable[[TrialSpec], dict[str, Any]]
EndedEarly = Callable[[int, str], None]  # from the number of trials that will not run, and the reason


class StudySearcher(Searcher):
    """Gives Tune the trials that the study folder lacks. A search begins after the trials that it starts from."""

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        configure: Configure,
        ended_early: EndedEarly = lambda trials, reason: None,
    ) -> None:
        """ended_early: called when a search finds no new network."""
        super().__init__(metric=METRIC, mode="max")
        self._study = study
        self._folder = folder
        self._configure = configure
        self._ended_early = ended_early
        self._exhausted = known_exhausted(folder.folder)
        self._running: dict[str, TrialSpec] = {}  # by Tune's trial id
        self._losses: Counter[str] = Counter()  # of a trial's workers or storage, by key
        self.left_out = Counter[str]()  # proposals that this run does not make: reason -> their number
        self._closed: set[SearchHistory] = set()  # searches that make no proposals in this run
        self._failure = ""  # message of the storage, if a trial has lost it too often
        rows = folder.rows()
        self._failed = {row.trial for row in rows if row.status == "failed"}  # in earlier runs: they are tried again
        done = {row.trial for row in rows} - self._failed
        self._queue = [spec for spec in study.trials() if spec.key() not in done]
        self._journal, self._storage = open_journal(folder.folder)
        self._histories: list[SearchHistory] = []
        self._history_of: dict[SearchKey, SearchHistory] = {}
        self._searches: dict[SearchHistory, DensitySearch] = {}  # opened late, as a space may need the starts
        self._awaited: dict[SearchHistory, set[str]] = defaultdict(set)  # keys of the trials that a search starts from
        self._recall(rows, folder.unfinished(done))

    def _recall(self, rows: list[TrialRow], unfinished: list[TrialSpec]) -> None:
        """Fill the histories of the searches from the study folder."""
        for policy, cells in self._study.searches():
            history = SearchHistory(policy, cells, self._study.search)
            self._histories.append(history)
            self._history_of |= {SearchKey(policy, cell_key(cell)): history for cell in cells}
        for row in rows:
            if (started := self._starting_from(row.policy, row.cell)) and row.status == "done":
                started.starts.append(row)
            if row.status != "failed" and (own := self._history_of.get(SearchKey(row.policy, row.cell))):
                own.earlier.append(row)
        for spec in self._queue:
            if started := self._starting_from(spec.policy, cell_key(spec)):
                self._awaited[started].add(spec.key())
        for saved in unfinished:
            spec = self._study.found_now(saved)
            if own := self._history_of.get(search_key(spec)):
                own.unfinished.append(spec)
                self._queue.insert(0, spec)
        for history in self._histories:
            history.exhausted = is_exhausted(history.name, history.proposals, self._exhausted)

    def _starting_from(self, policy: str, cell: str) -> SearchHistory | None:
        """Find the search that starts from a policy's result in a cell."""
        return self._history_of.get(SearchKey(SEARCHED, cell)) if policy in self._study.search.warm_start else None

    def _search(self, history: SearchHistory) -> DensitySearch:
        """Open a search if it is not open; ValueError if its space cannot be built."""
        if history not in self._searches:
            mark = partial(network_of, storage=self._folder.folder.parent)
            self._searches[history] = DensitySearch(history, self._storage, self._folder.outcome, mark)
        return self._searches[history]

    @property
    def specs(self) -> list[TrialSpec]:
        """A spec of every kind of trial still to come: what they share is made before they run."""
        cells = [cell for history in self._unfinished() for cell in history.cells]
        return [*self._queue, *cells]

    @property
    def total(self) -> int:
        """Number of trials still to come."""
        return len(self._queue) + sum(max(0, h.remaining - len(self._awaited[h])) for h in self._unfinished())

    @property
    def searches(self) -> int:
        """Number of searches that still make proposals."""
        return len(self._unfinished())

    def _unfinished(self) -> list[SearchHistory]:
        """The searches that still make proposals."""
        return [history for history in self._histories if history.remaining > 0 and history not in self._closed]

    def leave_out(self, reason: Callable[[TrialSpec], str]) -> list[Outcome]:
        """Leave out the trials that cannot run. Return the failed outcomes of named policies and of earlier failures.

        reason: why a trial cannot run; empty if it can. A search with such a trial makes no proposal in this run. The
        next run tries all of them again.
        """
        failed = [Outcome(spec=spec, status="failed", error=why) for spec in self._queue if (why := reason(spec))]
        for history in self._unfinished():
            if why := next(filter(None, map(reason, history.cells)), ""):
                self.left_out[why] += max(0, history.remaining - len(self._awaited[history]))
                self._closed.add(history)
        keys = {outcome.spec.key() for outcome in failed}
        self._queue = [spec for spec in self._queue if spec.key() not in keys]
        for awaited in self._awaited.values():
            awaited -= keys
        new = keys - self._failed
        proposals = [o for o in failed if o.spec.policy in SEARCHES and o.spec.key() in new]  # they stay unfinished
        self.left_out.update(outcome.error for outcome in proposals)
        return [outcome for outcome in failed if outcome not in proposals]

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next trial's configuration, None if it has to wait, or `FINISHED`."""
        spec = self._queue.pop(0) if self._queue else self._propose()
        if spec is None:  # a running trial may lose its worker and come back
            return None if self._running or self._unfinished() else Searcher.FINISHED  # type: ignore[return-value]
        self._running[trial_id] = spec
        if spec.key() in self._failed:
            self._failed.discard(spec.key())
            self._folder.forget_outcome(spec.key())
        self._folder.start_trial(spec)
        self._journal.save_in_time()
        return self._configure(spec)

    def _propose(self) -> TrialSpec | None:
        """Let a search propose; None if each one is complete, exhausted, or waits for what it starts from."""
        while ready := [history for history in self._unfinished() if not self._awaited[history]]:
            history = min(ready, key=self._priority)
            if spec := self._search(history).ask():
                return spec
            self._end_early(history)
        return None

    def _end_early(self, history: SearchHistory) -> None:
        """End a search that finds no new network."""
        fewer, networks = history.remaining, self._search(history).networks
        history.exhausted = True
        self._exhausted[history.name] = history.proposals
        write_exhausted(self._folder.folder, self._exhausted)
        self._ended_early(
            fewer,
            f"{history.name}: the search ends with {quantity(networks, 'different network')}, because "
            f"{SAMPLED + DRAWN} proposals in a row gave no other one; "
            f"{quantity(fewer, 'trial is', 'trials are')} not run",
        )

    def _priority(self, history: SearchHistory) -> tuple[int, int]:
        """Rank searches: the one of fewest running proposals first, then the one of most remaining proposals."""
        search = self._searches.get(history)
        return (search.running if search else 0, -history.remaining)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note an epoch."""
        spec = self._running[trial_id]
        report = from_tune(result)
        if isinstance(report, EpochReport) and (history := self._history_of.get(search_key(spec))):
            self._search(history).report(spec.key(), report.epoch, report.val_accuracy)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note how a trial ended."""
        spec = self._running.pop(trial_id)
        key = spec.key()
        report = from_tune(result)
        if error or isinstance(report, TrialLost):
            self._losses[key] += 1
            if not (error and self.gave_up(spec)):
                self._queue.insert(0, spec)
                if self.gave_up(spec) and isinstance(report, TrialLost):
                    self._failure = report.error
                return
        outcome = self._folder.outcome(key)
        if outcome is None:  # stopped, or lost: the callback, which Tune calls next, writes it
            lost = error or result is None
            why = "its workers were lost" if lost else ""
            outcome = self._folder.unended(spec, "failed" if lost else "stopped", why)
        if history := self._history_of.get(search_key(spec)):
            search = self._search(history)
            if outcome.status == "stopped" and isinstance(report, EpochReport):  # its last, which only this call gets
                search.report(key, report.epoch, report.val_accuracy)
            search.tell(key, row_of(outcome))
        if started := self._starting_from(spec.policy, cell_key(spec)):
            self._awaited[started].discard(key)
            if outcome.status == "done":
                self._add_start(started, row_of(outcome))
        self._journal.save_in_time()

    def _add_start(self, history: SearchHistory, row: TrialRow) -> None:
        history.starts.append(row)
        if search := self._searches.get(history):
            search.tell_start(row)

    def search_of(self, spec: TrialSpec) -> str | None:
        """Name the search that proposed a trial; None for a trial of a named policy."""
        history = self._history_of.get(search_key(spec))
        return history.name if history else None

    def ended(self, search: str) -> dict[str, Past]:
        """Return the trials that a search starts from, and its trials of earlier runs, by their keys."""
        (history,) = (history for history in self._histories if history.name == search)
        return past_trials(history, self._folder)

    def check(self) -> None:
        """Raise StorageError if a trial has lost its storage too often; the next run repeats such trials."""
        if self._failure:
            raise StorageError(self._failure)

    def gave_up(self, spec: TrialSpec) -> bool:
        """Tell whether a trial has lost its worker or storage too often to run again in this run."""
        return self._losses[spec.key()] > LOSSES

    def close(self) -> None:
        """Write Optuna's journal, complete with all ended trials."""
        for history in self._histories:
            if history.earlier and history not in self._searches and not is_recorded(history, self._storage):
                self._search(history)
        self._journal.save()

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study folder holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the study folder holds everything."""

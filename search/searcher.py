"""Which trial of a study comes next: the named policies, then each cell's search, all in one Tune run."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from search.results import StudyFolder, TrialRow, row_of
from search.space import CellSearch
from search.study import SEARCHED, StudySpec, cell_key
from trainables.catalog import part_names
from trainables.spec import TrialSpec

LOSSES = 3  # workers that a trial may lose before it has failed

Configure = Callable[[TrialSpec], dict[str, Any]]


class StudySearcher(Searcher):
    """Hands out what the study folder does not hold yet. A search begins once what it starts from has ended."""

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        configure: Configure,
    ) -> None:
        super().__init__(metric="val_accuracy", mode="max")
        self._study = study
        self._folder = folder
        self._configure = configure
        self._running: dict[str, TrialSpec] = {}  # by Tune's trial id
        self._losses: Counter[str] = Counter()  # of a trial's workers, by key
        rows = folder.rows()
        done = {row.trial for row in rows if row.status != "failed" or row.policy == SEARCHED}
        self._queue = [spec for spec in study.trials() if spec.key() not in done]
        self._searches: dict[str, CellSearch] = {}
        self._awaited: dict[str, set[str]] = defaultdict(set)  # cell -> keys of the policies that it starts from
        if SEARCHED in study.policies:
            self._open_searches(rows, folder.unfinished(done))

    def _open_searches(self, rows: Sequence[TrialRow], unfinished: Sequence[TrialSpec]) -> None:
        search, starts = self._study.search, self._study.search.warm_start
        of_cell: dict[str, list[TrialRow]] = defaultdict(list)
        for row in rows:
            if row.policy == SEARCHED or (row.policy in starts and row.status == "done"):
                of_cell[row.cell].append(row)
        parts: dict[str, list[str]] = {}  # by model: the granularity is the study's
        for cell in self._study.cells():
            if cell.dense.model not in parts:
                parts[cell.dense.model] = part_names(cell)
            key = cell_key(cell)
            told = of_cell[key]
            self._searches[key] = CellSearch(cell, parts[cell.dense.model], search.sampler, search.trials, len(told))
            for row in told:
                self._tell(row)
        for spec in self._queue:
            if spec.policy in starts:
                self._awaited[cell_key(spec)].add(spec.key())
        for spec in unfinished:
            if spec.policy == SEARCHED and cell_key(spec) in self._searches:
                self._searches[cell_key(spec)].go_on(spec)
                self._queue.insert(0, spec)

    def _tell(self, row: TrialRow) -> None:
        if row.status == "failed":
            self._searches[row.cell].give_up()
        else:
            self._searches[row.cell].tell(row.parts, row.val_accuracy)

    @property
    def specs(self) -> list[TrialSpec]:
        """A spec of every kind still to come: what they need is made before they run."""
        return [*self._queue, *(search.cell for search in self._searches.values() if search.remaining > 0)]

    @property
    def total(self) -> int:
        """Trials still to come."""
        return len(self._queue) + sum(s.remaining - len(self._awaited[key]) for key, s in self._searches.items())

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Give Tune the next trial, nothing for now, or the end."""
        if self._queue:
            spec = self._queue.pop(0)
        else:
            open_searches = {key: search for key, search in self._searches.items() if search.remaining > 0}
            if not open_searches:  # what still runs may lose its worker and come back
                return None if self._running else Searcher.FINISHED  # type: ignore[return-value]
            ready = [search for key, search in open_searches.items() if not self._awaited[key]]
            if not ready:
                return None
            spec = min(ready, key=lambda search: (search.running, -search.remaining)).propose()
        self._running[trial_id] = spec
        self._folder.start_trial(spec)
        return self._configure(spec)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note an epoch."""
        spec = self._running[trial_id]
        key = spec.key()
        if "error" in result:
            return
        if spec.policy == SEARCHED:
            self._searches[cell_key(spec)].report(key, result["epoch"], result["val_accuracy"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note how a trial ended."""
        spec = self._running.pop(trial_id)
        key, cell = spec.key(), cell_key(spec)
        if error:
            self._losses[key] += 1
            if not self.gave_up(spec):
                self._queue.insert(0, spec)
                return
        failed = error or result is None or "error" in result
        accuracy = result["best_val_accuracy"] if result is not None and not failed else None
        if spec.policy == SEARCHED:
            stopped = not failed and result is not None and not result["final"]
            self._searches[cell].finish(key, accuracy, stopped)
        elif key in self._awaited[cell]:
            self._awaited[cell].discard(key)
            outcome = self._folder.outcome(key)
            if outcome is not None and outcome.status == "done":
                self._tell(row_of(outcome))

    def gave_up(self, spec: TrialSpec) -> bool:
        """Tell whether a trial has lost its worker too often to be tried again in this run."""
        return self._losses[spec.key()] > LOSSES

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study folder is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

"""Passes Tune's events on to the watchers of a running study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from typing import Any, Protocol

from ray import tune

from search.results.dense_networks import DenseNetwork
from search.results.folder import StudyFolder
from search.results.rows import TrialRow, row_of
from search.searching.searcher import LOSSES, StudySearcher
from trainables.spec import EpochReport, TrialSpec
from trainables.trial.reports import TrialLost, from_tune
from trainables.trial.trainable import write_outcome


class Watcher(Protocol):
    """Follows a running study."""

    def say(self, text: str) -> None:
        """Take a message."""

    def planned(self, trials: int) -> None:
        """Take the number of trials to run."""

    def dropped(self, trials: int, reason: str) -> None:
        """Take the number of planned trials that will not run, and the reason."""

    def trained(self, networks: Sequence[DenseNetwork]) -> None:
        """Take the dense networks that the trials start from, before the first trial."""

    def started(self, spec: TrialSpec) -> None:
        """Take the spec of a trial that starts."""

    def epoch(self, spec: TrialSpec, report: EpochReport) -> None:
        """Take the report of an epoch."""

    def ended(self, row: TrialRow) -> None:
        """Take the row of a trial that has ended."""


@dataclass
class Dropped:
    """Tells the watchers of trials that will not run."""

    watchers: Sequence[Watcher]

    def __getstate__(self) -> dict[str, Any]:
        """Keep everything out of Tune's snapshots, as `TuneCallback` does."""
        return {}

    def __call__(self, trials: int, reason: str) -> None:
        """Pass on the number of trials, and the reason."""
        for watcher in self.watchers:
            watcher.dropped(trials, reason)


@dataclass
class TuneCallback(tune.Callback):
    """Passes Tune's events on, and writes the outcome of a trial that could not write it itself."""

    folder: StudyFolder
    searcher: StudySearcher
    watchers: Sequence[Watcher]
    check: Callable[[], None]
    reported: dict[str, set[int]] = field(default_factory=dict)  # epochs of each running trial, by Tune's id

    def __getstate__(self) -> dict[str, Any]:
        """Keep everything out of Tune's snapshots: nobody reads them, and watchers hold locks and terminals."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Raise an error if the run has to stop."""
        self.check()
        self.searcher.check()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on the start of a trial."""
        for watcher in self.watchers:
            watcher.started(spec_of(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass on an epoch, or the message of a trial that lost its storage."""
        report = from_tune(result)
        if isinstance(report, TrialLost):
            for watcher in self.watchers:
                watcher.say(report.error)
        elif isinstance(report, EpochReport):
            self.reported.setdefault(trial.trial_id, set()).add(report.epoch)
            for watcher in self.watchers:
                watcher.epoch(spec_of(trial), report)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on the end, unless the trial is tried again."""
        if not isinstance(from_tune(trial.last_result), TrialLost):
            self._end(trial, "stopped", "")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on the end, unless the trial is tried again."""
        if self.searcher.gave_up(spec_of(trial)):
            message = Path(trial.error_file).read_text().strip().rpartition("\n")[2] if trial.error_file else "unknown"
            last = shorten(message, 240, placeholder=" ...")
            self._end(trial, "failed", f"its worker was lost more than {LOSSES} times; the last time: {last}")

    def _end(self, trial: Any, status: Any, error: str) -> None:
        spec = spec_of(trial)
        outcome = self.folder.outcome(spec.key())
        if outcome is None:
            outcome = self.folder.unended(spec, status, error)
            write_outcome(self.folder.trial(spec.key()), outcome)
        reported = self.reported.pop(trial.trial_id, set())
        for watcher in self.watchers:
            for report in outcome.history:
                if report.epoch not in reported:
                    watcher.epoch(spec, report)
            watcher.ended(row_of(outcome))


@lru_cache(maxsize=4096)
def _parse_spec(text: str) -> TrialSpec:
    return TrialSpec.model_validate_json(text)


def spec_of(trial: Any) -> TrialSpec:
    """The spec of a Tune trial."""
    return _parse_spec(trial.config["spec"])

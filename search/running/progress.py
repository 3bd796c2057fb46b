"""Progress of a running study: a live table in a terminal, otherwise a plain line from time to time."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from search.results.dense_networks import DenseNetwork
from search.results.durations import about
from search.results.rows import TrialRow
from trainables.counts import quantity
from trainables.spec import EpochReport, TrialSpec

QUIET_SECONDS = 10.0  # between two plain lines


class Progress:
    """A watcher that shows the progress of a study on stderr."""

    def __init__(self) -> None:
        self._console = Console(file=sys.__stderr__)  # sys.stderr is Ray's while the trials run
        self._started = time.monotonic()
        self._first_trial: float | None = None
        self._last_line = 0.0
        self._message = ""
        self._total = 0
        self._done: Counter[str] = Counter()
        self._running: dict[str, str] = {}  # trial -> its policy
        self._failed = 0
        self._said: set[str] = set()
        self._best: dict[str, TrialRow] = {}
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """Show a message as a line that stays; in a terminal it stands above the live table."""
        self._message = text
        self._said.add(text)
        line = f"{time.monotonic() - self._started:6.1f} s  {text}"
        if self._console.is_terminal:
            self._console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.__stderr__, flush=True)

    def planned(self, trials: int) -> None:
        """Note the number of trials to run."""
        self._total = trials
        self.say(f"{quantity(trials, 'trial')} to run")

    def dropped(self, trials: int, reason: str) -> None:
        """Note that some of the trials will not run, and show the reason."""
        self._total -= trials
        self.say(reason)

    def trained(self, networks: Sequence[DenseNetwork]) -> None:
        """Ignore dense networks: their training has told its own progress."""

    def started(self, spec: TrialSpec) -> None:
        """Note that a trial runs."""
        self._first_trial = self._first_trial or time.monotonic()
        if spec.key() in self._running:
            self.say(f"a trial of {spec.policy} at sparsity {spec.sparsity:g} was interrupted and goes on")
        self._running[spec.key()] = spec.policy

    def epoch(self, spec: TrialSpec, report: EpochReport) -> None:
        """Ignore epochs: progress counts trials."""

    def ended(self, row: TrialRow) -> None:
        """Note that a trial has ended."""
        self._running.pop(row.trial, None)
        self._done[row.policy] += 1
        if row.status == "failed":
            self._failed += 1
        if row.status == "failed" and row.error not in self._said:  # many trials may fail with the same error
            self._said.add(row.error)
            self.say(f"a trial of {row.policy} at sparsity {row.sparsity:g} failed: {row.error}")
        known = self._best.get(row.policy)
        if row.best_val_accuracy is not None and (
            known is None or row.best_val_accuracy > (known.best_val_accuracy or 0.0)
        ):
            self._best[row.policy] = row
        now = time.monotonic()
        if not self._console.is_terminal and (
            now - self._last_line > QUIET_SECONDS or self._done.total() == self._total
        ):
            self._last_line = now
            self.say(f"{self._counts()}, {self._time_left()}")

    def _counts(self) -> str:
        return f"{self._done.total()} of {quantity(self._total, 'trial')}, {self._failed} failed"

    def _time_left(self) -> str:
        done = self._done.total()
        if not done or self._first_trial is None:
            return "time left unknown"
        seconds = (time.monotonic() - self._first_trial) / done * max(0, self._total - done)
        return f"{about(seconds)} left"

    def _table(self) -> Table:
        spent = time.monotonic() - self._started
        done = self._counts() if self._done else self._message
        table = Table(title=f"{done} · {spent:.0f} s · {self._time_left()}", title_justify="left")
        for name in ("policy", "done", "running", "best accuracy", "at sparsity"):
            table.add_column(name, justify="left" if name == "policy" else "right")
        running = Counter(self._running.values())
        for policy in sorted({*self._done, *running}):
            best = self._best.get(policy)
            accuracy = f"{100 * (best.best_val_accuracy or 0.0):.1f} %" if best else ""
            table.add_row(
                policy,
                str(self._done[policy]),
                str(running[policy]),
                accuracy,
                f"{best.sparsity:g}" if best else "",
            )
        return table

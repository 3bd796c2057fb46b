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
from search.results.scale import ACCURACY, rank, scale_of
from search.running.messages import Messages, Verbosity, to_stderr
from trainables.counts import quantity
from trainables.spec import EpochReport, TrialSpec

QUIET_SECONDS = 10.0  # between two plain lines


class Progress(Messages):
    """A watcher that shows the progress of a study on stderr. A quiet run shows failures alone."""

    def __init__(self, verbosity: Verbosity = "normal") -> None:
        super().__init__(verbosity, self._line)
        self._console = Console(file=sys.__stderr__)  # sys.stderr is Ray's while the trials run
        self._first_trial: float | None = None
        self._last_line = 0.0
        self._message = ""
        self._total = 0
        self._done: Counter[str] = Counter()
        self._running: dict[str, str] = {}  # trial -> its policy
        self._failed = 0
        self._warned: set[str] = set()
        self._best: dict[str, TrialRow] = {}
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Progress":
        if self._console.is_terminal and not self.quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live.is_started:
            self._live.stop()

    def say(self, text: str) -> None:
        """Show a message as a line that stays; in a terminal it stands above the live table."""
        self._message = text
        super().say(text)

    def warn(self, text: str) -> None:
        """Show a message that a quiet run shows, too."""
        self._warned.add(text)
        super().warn(text)

    def _line(self, line: str) -> None:
        if self._console.is_terminal:
            self._console.print(line, markup=False, highlight=False)
        else:
            to_stderr(line)

    def planned(self, trials: int) -> None:
        """Note the number of trials to run."""
        self._total = trials
        self.say(f"{quantity(trials, 'trial')} to run")

    def dropped(self, trials: int, reason: str) -> None:
        """Note that some of the trials will not run, and show the reason."""
        self._total -= trials
        self.warn(reason)

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
        if row.status == "failed" and row.error not in self._warned:  # many trials may fail with the same error
            self._warned.add(row.error)
            self.warn(f"a trial of {row.policy} at sparsity {row.sparsity:g} failed: {row.error}")
        known = self._best.get(row.policy)
        if row.best_val_accuracy is not None and (known is None or rank(row) > rank(known)):
            self._best[row.policy] = row
        if self.verbose:
            self.say(f"{_described(row)}; {self._counts()}, {self._time_left()}")
            return
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
        metric = next((row.metric for row in self._best.values()), ACCURACY)
        table = Table(title=f"{done} · {spent:.0f} s · {self._time_left()}", title_justify="left")
        for name in ("policy", "done", "running", f"best {metric}", "at sparsity"):
            table.add_column(name, justify="left" if name == "policy" else "right")
        running = Counter(self._running.values())
        for policy in sorted({*self._done, *running}):
            best = self._best.get(policy)
            reached = scale_of(best.metric).text(best.best_val_accuracy) if best else ""
            table.add_row(
                policy,
                str(self._done[policy]),
                str(running[policy]),
                reached,
                f"{best.sparsity:g}" if best else "",
            )
        return table


def _described(row: TrialRow) -> str:
    """Say how a trial has ended."""
    reached = "" if row.best_val_accuracy is None else f", {scale_of(row.metric).text(row.best_val_accuracy)}"
    name = f"{row.model}, {row.policy} by {row.criterion} at sparsity {row.sparsity:g}, seed {row.seed}"
    return f"trial {row.trial} ({name}): {row.status}{reached}, {row.seconds:.1f} s"

"""What a run says while it works, and how much of it is shown."""

import sys
import time
from collections.abc import Callable
from typing import Literal, get_args

from trainables.lookup import pick

Verbosity = Literal["quiet", "normal", "verbose"]


def to_stderr(text: str) -> None:
    """Print a line to stderr, even while sys.stderr is Ray's."""
    print(text, file=sys.__stderr__, flush=True)


class Messages:
    """Shows messages with the seconds since the start. A quiet run shows warnings alone, a verbose run also details."""

    def __init__(self, verbosity: Verbosity = "normal", show: Callable[[str], None] = to_stderr) -> None:
        """show: gets each line that is shown. Raises ValueError for an unknown verbosity."""
        self._verbosity: str = pick("progress", verbosity, {name: name for name in get_args(Verbosity)})
        self._show = show
        self._started = time.monotonic()

    @property
    def quiet(self) -> bool:
        """Whether only warnings are shown."""
        return self._verbosity == "quiet"

    @property
    def verbose(self) -> bool:
        """Whether details are shown."""
        return self._verbosity == "verbose"

    def say(self, text: str) -> None:
        """Show how far the work is, or what it found."""
        if not self.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Show what a quiet run shows, too."""
        self._show(f"{time.monotonic() - self._started:6.1f} s  {text}")

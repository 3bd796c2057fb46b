"""The log of a job, line by line."""

from collections.abc import Callable


class JobLog:
    """Passes on each line of a log once, although the text comes in pieces and may start again."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        self.lines = 0  # number of lines passed on
        self._echo = echo
        self._seen = 0  # characters read, with those of the unfinished line
        self._position = 0  # characters since the last start
        self._unfinished = ""

    def restart(self) -> None:
        """Expect the text from its start again. Lines that were passed on are skipped."""
        self._position = 0

    def take(self, text: str) -> None:
        """Read the next piece of text."""
        new = text[max(0, self._seen - self._position) :]
        self._position += len(text)
        self._seen = max(self._seen, self._position)
        *lines, self._unfinished = (self._unfinished + new).split("\n")
        for line in lines:
            self._pass_on(line)

    def end(self) -> None:
        """Pass on the last line if it has no line break."""
        if self._unfinished:
            self._pass_on(self._unfinished)
            self._unfinished = ""

    def _pass_on(self, line: str) -> None:
        if not line.startswith("Running entrypoint for job ") and " job_manager.py:" not in line:  # lines of Ray
            self.lines += 1
            self._echo(line)

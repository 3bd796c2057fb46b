"""How a command ends: errors as lines and exit codes, and Ctrl-C."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import typer

from trainables.storage.credentials import redacted


@contextmanager
def errors_as_lines(tracebacks: bool) -> Iterator[None]:
    """Print an error as `error: ` lines and exit: with 2 for a mistake of the user, with 1 if the storage or Ray fails.

    A file that cannot be read or written is a mistake, too. tracebacks: print where the error was raised before it.
    """
    try:
        with _traced() if tracebacks else nullcontext():
            yield
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"error: {redacted(line)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        from trainables.storage.folder import StorageError

        if isinstance(error, StorageError | TimeoutError):
            for line in (str(error), *getattr(error, "__notes__", ())):
                print(f"error: {redacted(line)}", file=sys.stderr)
            sys.exit(1)
        if error.filename is None:
            raise
        print(f"error: {redacted(str(error.filename))}: {error.strerror}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def _traced() -> Iterator[None]:
    """Print the traceback of an error that passes, without secrets."""
    try:
        yield
    except (ValueError, OSError):
        print(redacted(traceback.format_exc()), end="", file=sys.stderr)
        raise


@contextmanager
def stoppable() -> Iterator[None]:
    """At Ctrl-C, say how to continue and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        raise typer.Exit(130) from None

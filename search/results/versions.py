"""Versions of the libraries in use."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """List the versions of Python and of the libraries; a library that is not installed is left out.

    A cluster's node gets this project's code with a job, and need not have it installed.
    """
    found = {"python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

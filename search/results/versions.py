"""With which libraries something is made."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Tell the versions of python and of the libraries, but for those that are not installed.

    A node of a cluster gets this project's code with a job, and need not have it installed.
    """
    found = {"python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""Versions of the installed libraries."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """List the versions of Python and of the libraries. A library that is not installed is left out.

    On a cluster, this project itself may not be installed: a job brings its code along.
    """
    installed = {"python": platform.python_version()}
    for name in libraries:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed

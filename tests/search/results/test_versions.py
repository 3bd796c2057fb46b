from importlib.metadata import version
from platform import python_version

from search.results.versions import versions


def test_what_is_not_installed_is_left_out() -> None:
    assert versions(("torch", "a-library-that-nobody-has")) == {"python": python_version(), "torch": version("torch")}

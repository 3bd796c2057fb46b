"""The names of all models, without an import of torch or torchvision."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from trainables.lookup import did_you_mean
from trainables.models import libraries
from trainables.names import NAMES
from trainables.own_function import is_external

OWN = NAMES["model"]
_REGISTERED = re.compile(r'^@register_model\((?:name="(\w+)")?\)\n(?:@.*\n)*def (\w+)', re.MULTILINE)


@cache
def torchvision_names() -> tuple[str, ...]:
    """Return the registered names of torchvision's classifiers, sorted. Reads its source: an import takes seconds."""
    package = find_spec("torchvision")
    assert package is not None
    assert package.origin is not None
    sources = (file.read_text() for file in (Path(package.origin).parent / "models").glob("*.py"))
    return tuple(sorted(name or function for text in sources for name, function in _REGISTERED.findall(text)))


def check(name: str, width: float = 1.0) -> None:
    """Refuse an unknown name, or a width that the model does not have. Imports no model of a user or a library.

    Raises:
        ValueError: the name is unknown or that of a function of the running script, its library is not installed, or
            the width is not 1.0 for a model that is not the project's own.
    """
    if name in OWN:
        return
    if name.startswith("__main__:"):
        raise ValueError(
            f"model {name!r} must be in a file that the workers can import, but lies in the script or notebook that "
            f"runs; put the function into a file mymodel.py beside it, and name it mymodel:{name.partition(':')[2]}"
        )
    if libraries.package_of(name):
        libraries.refuse_missing(name)
    elif not is_external(name) and name not in torchvision_names():
        raise did_you_mean("model", name, {*OWN, *torchvision_names()})
    if width != 1.0:
        raise ValueError(
            f"width must be 1.0 for {name}, but got {width}; only these have a width: {', '.join(sorted(OWN))}"
        )

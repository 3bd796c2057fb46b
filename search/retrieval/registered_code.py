"""The code that a registered network brings along, and the packages that this code needs."""

import shutil
from importlib.metadata import packages_distributions, version
from pathlib import Path

import trainables
from trainables.exports.served import requirements
from trainables.models.own_code import OURS, imported_packages, sources
from trainables.models.trust import is_users_own

CODE = (  # of trainables: the folders and files that loading a network imports, and no more
    *("checkpoints", "exports", "models", "storage"),
    *("__init__.py", "arguments.py", "curriculum_spec.py", "data_spec.py", "device_spec.py", "frozen.py", "lookup.py"),
    *("mistakes.py", "names.py", "outcome.py", "own_function.py", "plugins.py", "pruning_spec.py", "py.typed"),
    *("recipe.py", "spec.py", "task_spec.py"),
)


def copy_code(model: str, target: Path) -> None:
    """Copy the part of trainables that CODE lists into a folder.

    A model of the user's own brings its module and those of the user's own that it imports. These may import any part
    of trainables, as a Task often stands beside its model, so all of trainables comes along.
    """
    source, modules = Path(trainables.__file__).parent, _own(model)
    for name in [path.name for path in source.iterdir()] if modules else CODE:
        if (source / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(source / name, target / "trainables" / name, ignore=ignored)
        else:
            (target / "trainables").mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, target / "trainables")
    for module, file in modules.items():
        place = target.joinpath(*module.split("."))
        copied = place / file.name if file.stem == "__init__" else place.with_suffix(".py")
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copied)


def packages(model: str) -> list[str]:
    """List what must be installed to load a network, as "name==version"."""
    known = packages_distributions()
    imported = {name for file in _own(model).values() for name in imported_packages(file) if name not in OURS}
    names = {*requirements(model), *(known[name][0] for name in imported if name in known)}
    return [f"{name}=={version(name).partition('+')[0]}" for name in sorted(names)]


def _own(model: str) -> dict[str, Path]:
    """Find the user's own modules that a model needs: dotted name -> file; none for a model of the catalog."""
    return sources(model.partition(":")[0]) if is_users_own(model) else {}

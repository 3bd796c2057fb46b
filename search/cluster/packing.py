"""What a job takes along: the study, checked as far as this machine can, and the code; never data."""

import ast
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import yaml

import trainables
from search.study.checks import complaints
from search.study.reading import parse_study
from search.study.spec import StudySpec
from trainables.checkpoints import pretrained
from trainables.data import sources
from trainables.models import hub
from trainables.models.trust import is_users_own
from trainables.spec import DenseSpec
from trainables.storage import credentials

STUDY_FILE = "study.yaml"
OURS = {"search": Path(__file__).parents[1], "trainables": Path(trainables.__file__).parent}
CODE = (".py", ".yaml", ".yml", ".toml")  # what is taken along of a user's package; the rest may be data


def check_for_cluster(source: str, storage: str, overrides: Sequence[str] = (), name: str | None = None) -> StudySpec:
    """Read a study that is to run elsewhere and check it as here, but for images and weights that only the cluster has.

    Where data.path is not here, the job itself looks at the images first thing, and at what depends on their size.
    Raises ValueError with all that is wrong.
    """
    study = parse_study(source, overrides, name)
    credentials.refuse("storage", storage)
    found = complaints(study)
    data, path = study.data, Path(study.data.path).expanduser()
    files = {model: file for model, file in study.weights.items() if file not in hub.torchvision_weights(model)}
    elsewhere = [partial(pretrained.check, DenseSpec(model=model, weights=file)) for model, file in files.items()]
    if data.path and data.name in sources.SOURCES and not path.exists():
        elsewhere.append(partial(sources.check, data))
    for check in elsewhere:
        try:
            check()
        except ValueError as absent:
            found = [complaint for complaint in found if complaint != str(absent)]
    for file in files.values():
        if not Path(file).is_absolute():
            found.append(f"weights must be absolute, as they are read on the cluster, but got {file!r}; write it out")
    if data.path and not path.is_absolute():
        found.append(f"data.path must be absolute, as it is read on the cluster, but got {data.path!r}; write it out")
    if "://" not in storage and not Path(storage).is_absolute():
        found.append(
            f"storage must be a place that all nodes reach, but got {storage!r}; "
            "give a URI such as s3://bucket/studies, or the absolute path of a shared folder"
        )
    if found:
        raise ValueError("\n".join(found))
    return study


def pack(study: StudySpec, folder: Path) -> None:
    """Write the study as STUDY_FILE into a folder, and the code of this project and of the user's own models.

    The project is taken whole, with its version, so that nodes need to hold only what it stands on.
    """
    settings = study.model_dump(mode="json", exclude_defaults=True)
    (folder / STUDY_FILE).write_text(yaml.safe_dump(settings, sort_keys=False))
    release = version("howcompact")
    (folder / f"howcompact-{release}.dist-info").mkdir()
    (folder / f"howcompact-{release}.dist-info" / "METADATA").write_text(f"Name: howcompact\nVersion: {release}\n")
    models = [model.partition(":")[0] for model in study.models if is_users_own(model)]
    for name, place in OURS.items():
        shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for place in own_code(models):
        if place.is_dir():
            shutil.copytree(place, folder / place.name, ignore=_not_code, dirs_exist_ok=True)
        else:
            shutil.copy(place, folder)


def environment() -> dict[str, str]:
    """Pick what a job gets of this environment: MLFLOW_TRACKING_URI, where it is a web address without a password."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    address = urlsplit(uri)
    return {"MLFLOW_TRACKING_URI": uri} if address.scheme in ("http", "https") and not address.password else {}


def own_code(modules: Iterable[str]) -> list[Path]:
    """Find the folders and files of top-level modules, and of all that they import, but for what is installed."""
    found: dict[str, list[Path]] = {}
    waiting = [module.partition(".")[0] for module in modules]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _places(name)
            waiting += [imported for place in found[name] for imported in _imports(place)]
    return [place for places in found.values() for place in places]


def _places(name: str) -> list[Path]:
    spec = None if name in OURS or name in sys.stdlib_module_names else find_spec(name)
    if spec is None:
        return []
    places = [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""]]
    return [
        place
        for place in places
        if (place.is_dir() or place.suffix == ".py")
        and not {"site-packages", "dist-packages"}.intersection(place.parts)
    ]


def _imports(place: Path) -> set[str]:
    """Names of the top-level modules that a file, or any file of a package, imports."""
    found: set[str] = set()
    for file in place.rglob("*.py") if place.is_dir() else [place]:
        with suppress(SyntaxError, UnicodeDecodeError):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found


def _not_code(folder: str, names: list[str]) -> list[str]:
    """Tell what to leave behind: all but code, hidden files and caches."""
    return [
        name
        for name in names
        if name.startswith(".") or name == "__pycache__" or not ((Path(folder) / name).is_dir() or name.endswith(CODE))
    ]

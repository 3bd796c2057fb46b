"""What is sent with a job: the study, checked as far as this machine can, and the code. Data are never sent."""

import os
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import yaml

import trainables
from search.study.checks import complaints, complaints_of_settings
from search.study.paths import absolute
from search.study.reading import parse_study, with_given
from search.study.spec import StudySpec
from trainables.models.trust import is_users_own
from trainables.spec import DenseSpec
from trainables.storage import credentials

STUDY_FILE = "study.yaml"
OURS = {"search": Path(__file__).parents[1], "trainables": Path(trainables.__file__).parent}
CODE = (".py", ".yaml", ".yml", ".toml")  # files of a user's package that are sent; other files may be data


def check_for_cluster(source: str, storage: str, overrides: Sequence[str] = (), name: str | None = None) -> StudySpec:
    """Read a study for a cluster and check it as `read_study` does, but leave images and weights that are not here.

    The job itself checks images that only the cluster has, and what depends on their size, before its first trial.
    Raises ValueError with all that is wrong. Mistakes in settings, storage and paths are found without importing torch.
    """
    study = with_given(absolute(parse_study(source, overrides, name), only_present=True))
    credentials.refuse("storage", storage)
    if mistakes := [*complaints_of_settings(study), *_relative_paths(study, storage)] or _misfits_here(study):
        raise ValueError("\n".join(mistakes))
    return study


def _relative_paths(study: StudySpec, storage: str) -> list[str]:
    mistakes, path = [], study.data.path
    if path and not Path(path).expanduser().is_absolute():
        mistakes.append(f"data.path must be absolute, as the cluster reads it, but got {path!r}; correct it")
    if "://" not in storage and not Path(storage).is_absolute():
        mistakes.append(
            f"storage must be one that all nodes reach, but got {storage!r}; "
            "give a URI such as s3://bucket/studies, or the absolute path of a shared folder"
        )
    return mistakes


def _misfits_here(study: StudySpec) -> list[str]:
    """Return the `complaints` of a study, without those of images and weights that only the cluster has."""
    from trainables.checkpoints import pretrained  # these import torch
    from trainables.data import sources
    from trainables.models import hub

    mistakes = complaints(study)
    files = {model: file for model, file in study.weights.items() if file not in hub.torchvision_weights(model)}
    on_cluster = [partial(pretrained.check, DenseSpec(model=model, weights=file)) for model, file in files.items()]
    if study.data.path and not Path(study.data.path).expanduser().exists():
        on_cluster.append(partial(sources.check, study.data))
    for check in on_cluster:
        try:
            check()
        except ValueError as absent:
            mistakes = [mistake for mistake in mistakes if mistake != str(absent)]
    for file in files.values():
        if not Path(file).is_absolute():
            mistakes.append(f"weights must be absolute paths, as the cluster reads them, but got {file!r}; correct it")
    return mistakes


def pack(study: StudySpec, folder: Path) -> None:
    """Write the study as STUDY_FILE into a folder, with the code of this project and of the user.

    The project is sent whole, with its version, so the nodes need only its dependencies.
    """
    settings = study.model_dump(mode="json", exclude_defaults=True)
    (folder / STUDY_FILE).write_text(yaml.safe_dump(settings, sort_keys=False))
    release = version("howcompact")
    (folder / f"howcompact-{release}.dist-info").mkdir()
    (folder / f"howcompact-{release}.dist-info" / "METADATA").write_text(f"Name: howcompact\nVersion: {release}\n")
    written = [*filter(is_users_own, study.models), *study.functions(), *filter(None, [study.task])]  # by the user
    for name, package in OURS.items():
        shutil.copytree(package, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for path in own_code(name.partition(":")[0] for name in written):
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=_not_code, dirs_exist_ok=True)
        else:
            shutil.copy(path, folder)


def environment() -> dict[str, str]:
    """Return the variables that a job gets: MLFLOW_TRACKING_URI, if it is a web address without a password."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    address = urlsplit(uri)
    return {"MLFLOW_TRACKING_URI": uri} if address.scheme in ("http", "https") and not address.password else {}


def own_code(modules: Iterable[str]) -> list[Path]:
    """Find the folders and files of top-level modules and of all that they import, without installed packages."""
    from trainables.models.own_code import imported_packages, own_paths  # imports torch

    paths: dict[str, list[Path]] = {}
    waiting = [module.partition(".")[0] for module in modules]
    while waiting:
        name = waiting.pop()
        if name not in paths:
            paths[name] = own_paths(name)
            folders = (path.rglob("*.py") if path.is_dir() else [path] for path in paths[name])
            waiting += [imported for files in folders for file in files for imported in imported_packages(file)]
    return [path for of_module in paths.values() for path in of_module]


def _not_code(folder: str, names: list[str]) -> list[str]:
    """Return what is not sent: hidden files, caches, and all files that are no code."""
    return [
        name
        for name in names
        if name.startswith(".") or name == "__pycache__" or not ((Path(folder) / name).is_dir() or name.endswith(CODE))
    ]

"""What trials share, made once on the cluster before them: decoded images, dense networks, profiles."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ray
import torch

from search.study import StudySpec
from trainables import artifacts
from trainables.data import sources
from trainables.learning.dense import make_dense
from trainables.learning.shared import SHARED, needed
from trainables.pruning.subject import Source
from trainables.spec import DataSpec, DenseSpec, Frozen, TrialSpec
from trainables.storage import Folder
from trainables.trial import leave_no_trace

Say = Callable[[str], None]
References = Mapping[str, Any]  # key of a DataSpec -> reference to its Splits in the object store


def prepare(study: StudySpec, specs: Iterable[TrialSpec], storage: Folder, gpus: float, say: Say) -> References:
    """Decode the images and make every dense network and profile that `specs` need and `storage` lacks.

    Raises ValueError for what only reading the images can tell.
    """
    specs = list(specs)
    data = {spec.dense.data.key(): spec.dense.data for spec in specs}
    references = {key: _decode.remote(spec) for key, spec in data.items()}
    _finish(references.values(), "images read", say)
    remote = {"num_cpus": study.resources.cpus, "num_gpus": gpus, "max_retries": 3}
    dense = {s.dense.key(): s.dense for s in specs}
    missing = [d for key, d in dense.items() if artifacts.find(storage, "dense", key) is None]
    tasks = [
        _train.options(**remote).remote(spec, references[spec.data.key()], storage, study.resources.cpus)
        for spec in missing
    ]
    _finish(tasks, "dense networks trained", say)
    wanted = {(kind, named.key()): (named, spec.dense) for spec in specs for kind, named in needed(spec).items()}
    for kind, shared in SHARED.items():
        lacking = [
            found for (k, key), found in wanted.items() if k == kind and artifacts.find(storage, kind, key) is None
        ]
        tasks = [
            _measure.options(**remote).remote(kind, named, references[d.data.key()], storage, study.resources.cpus)
            for named, d in lacking
        ]
        _finish(tasks, shared.done, say)
    return references


def _finish(tasks: Iterable[Any], what: str, say: Say) -> None:
    waiting, done = list(tasks), 0
    total = len(waiting)
    while waiting:
        ready, waiting = ray.wait(waiting, fetch_local=False)
        for task in ready:
            try:
                ray.get(task)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, ValueError):
                    raise ValueError(str(error.cause)) from None
                raise
        done += len(ready)
        say(f"{what}: {done} of {total}")


@ray.remote(max_retries=3)
def _decode(data: DataSpec) -> Any:
    return sources.load(data)


@ray.remote
def _train(spec: DenseSpec, splits: Any, storage: Folder, cpus: float) -> None:
    leave_no_trace(cpus)
    unfinished = storage / "artifacts" / "unfinished" / spec.key()
    artifacts.find_or_make(
        storage, "dense", spec.key(), lambda folder: make_dense(spec, splits, folder, unfinished, _device())
    )


@ray.remote
def _measure(kind: Source, spec: Frozen, splits: Any, storage: Folder, cpus: float) -> None:
    leave_no_trace(cpus)
    make = SHARED[kind].make
    artifacts.find_or_make(storage, kind, spec.key(), lambda folder: make(spec, splits, storage, folder, _device()))


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

"""What trials share, made once on the cluster before them: decoded images, dense networks, profiles."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
import torch

from search.study import StudySpec
from trainables.artifacts import Kind, find_or_make, is_sound
from trainables.data import sources
from trainables.learning.curricula import is_scored
from trainables.learning.dense import make_dense
from trainables.learning.scores import scores
from trainables.learning.shared import SHARED, needed
from trainables.pruning.subject import Source
from trainables.spec import Curriculum, DataSpec, DenseSpec, Frozen, TrialSpec
from trainables.storage import Folder, StorageError
from trainables.trial import leave_no_trace

Say = Callable[[str], None]
References = Mapping[str, Any]  # key of a DataSpec -> reference to its Splits in the object store


@dataclass(frozen=True)
class Workshop:
    """Where what trials share is made, and with what."""

    storage: Folder
    cpus: float  # of each task, as of each trial
    gpus: float
    say: Say

    def make(self, task: Any, asked: Iterable[tuple[Any, ...]], what: str) -> None:
        """Run a task for each tuple of arguments at the same time; ValueError and StorageError pass through."""
        needs = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        run = task.options(**needs, max_retries=3, retry_exceptions=[StorageError]).remote
        _finish([run(*arguments, self.storage, self.cpus) for arguments in asked], what, self.say)


def prepare(study: StudySpec, specs: Iterable[TrialSpec], storage: Folder, gpus: float, say: Say) -> References:
    """Decode the images and make every dense network and profile that `specs` need and `storage` lacks.

    Raises ValueError for what only reading the images can tell.
    """
    specs = list(specs)
    shop = Workshop(storage, study.resources.cpus, gpus, say)
    networks = [network for spec in specs for network in spec.networks]
    references = decode(networks, say)
    train(networks, references, shop)
    scored = {
        (curriculum.measure, curriculum.network, curriculum.table, spec.dense.key()): (curriculum, spec.dense)
        for spec in specs
        for curriculum in spec.scored
        if is_scored(curriculum)
    }
    shop.make(_score, [(c, dense, references[dense.data.key()]) for c, dense in scored.values()], "samples scored")
    wanted = {(kind, named.key()): (named, spec.dense) for spec in specs for kind, named in needed(spec).items()}
    for kind, shared in SHARED.items():
        due = {key: found for (k, key), found in wanted.items() if k == kind}
        lacking = [due[key] for key in _lacking(storage, kind, due)]
        shop.make(_measure, [(kind, named, references[d.data.key()]) for named, d in lacking], shared.done)
    return references


def decode(networks: Iterable[DenseSpec], say: Say) -> References:
    """Read the images that networks are trained on, each data set once."""
    data = {network.data.key(): network.data for network in networks}
    tasks: dict[str, Any] = {key: _decode.options(num_returns=2).remote(spec) for key, spec in data.items()}
    _finish([told for _, told in tasks.values()], "images read", say)
    for _, told in tasks.values():
        say(ray.get(told))
    return {key: splits for key, (splits, _) in tasks.items()}


def train(networks: Iterable[DenseSpec], references: References, shop: Workshop) -> None:
    """Train the dense networks that the storage lacks: those that score samples, then those that go by scores."""
    named = {network.key(): network for network in networks}
    for scored in (False, True):
        due = {key: network for key, network in named.items() if (network.curriculum != Curriculum()) == scored}
        lacking = [due[key] for key in _lacking(shop.storage, "dense", due)]
        shop.make(_train, [(n, references[n.data.key()]) for n in lacking], "dense networks trained")


def _lacking(storage: Folder, kind: Kind, keys: Iterable[str]) -> list[str]:
    """Name what is not there or damaged: all files are read, which a trial of each would do, too."""
    keys = list(keys)
    with ThreadPoolExecutor(4) as pool:
        sound = pool.map(partial(is_sound, storage, kind), keys)
        return [key for key, found in zip(keys, sound, strict=True) if not found]


def _finish(tasks: Iterable[Any], what: str, say: Say) -> None:
    waiting, done = list(tasks), 0
    total = len(waiting)
    while waiting:
        ready, waiting = ray.wait(waiting, fetch_local=False)
        for task in ready:
            try:
                ray.get(task)
            except ray.exceptions.RayTaskError as error:
                for kind in (ValueError, StorageError):
                    if isinstance(error.cause, kind):
                        raise kind(str(error.cause)) from None
                raise
        done += len(ready)
        say(f"{what}: {done} of {total}")


@ray.remote(max_retries=3)
def _decode(data: DataSpec) -> tuple[Any, str]:
    splits = sources.load(data)
    return splits, sources.told(data, splits)


@ray.remote
def _score(curriculum: Curriculum, dense: DenseSpec, splits: Any, storage: Folder, cpus: float) -> None:
    """Refuse scores that do not fit, before a trial goes by them."""
    leave_no_trace(cpus)
    scores(curriculum, dense, splits.train, storage)


@ray.remote
def _train(spec: DenseSpec, splits: Any, storage: Folder, cpus: float) -> None:
    leave_no_trace(cpus)
    find_or_make(storage, "dense", spec.key(), lambda folder: make_dense(spec, splits, storage, folder, _device()))


@ray.remote
def _measure(kind: Source, spec: Frozen, splits: Any, storage: Folder, cpus: float) -> None:
    leave_no_trace(cpus)
    make = SHARED[kind].make
    find_or_make(storage, kind, spec.key(), lambda folder: make(spec, splits, storage, folder, _device()))


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

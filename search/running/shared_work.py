"""What trials share, made once on the cluster before them: decoded images, dense networks, profiles."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from search.running.gpu_sharing import share_of_gpu
from search.study.spec import Resources
from trainables.artifacts.dense import make_dense
from trainables.artifacts.kinds import SHARED, needed
from trainables.checkpoints.artifact_store import Kind, find_or_make, is_sound
from trainables.curriculum_spec import Curriculum
from trainables.data import sources
from trainables.learnability.curriculum_kinds import is_scored
from trainables.learnability.scores import scores
from trainables.spec import DataSpec, DenseSpec, TrialSpec
from trainables.storage.folder import Folder, StorageError
from trainables.training.process import WorkerResources, leave_no_trace, own_device
from trainables.training.workers import team

Say = Callable[[str], None]
References = Mapping[str, Any]  # key of a DataSpec -> reference to its Splits in the object store


@dataclass(frozen=True)
class SharedWork:
    """Where what trials share is made, and with what."""

    storage: Folder
    place: WorkerResources  # of each training, as of each trial
    say: Say

    def make(self, task: Any, asked: Iterable[tuple[Any, ...]], what: str) -> None:
        """Run a task for each tuple of arguments at the same time, on one worker.

        ValueError and StorageError pass through.
        """
        self._run(task, asked, what, replace(self.place, workers=1))

    def train(self, task: Any, asked: Iterable[tuple[Any, ...]], what: str) -> None:
        """Run a task that leads the workers of a training for each tuple of arguments, as `make`."""
        self._run(task, asked, what, self.place)

    def _run(self, task: Any, asked: Iterable[tuple[Any, ...]], what: str, place: WorkerResources) -> None:
        groups: dict[Any, Any] = {}  # task -> the placement group that it has to itself
        for arguments in asked:
            group = placement_group(place.bundles) if place.workers > 1 else None
            run = task.options(
                num_cpus=place.cpus,
                num_gpus=place.gpus,
                max_retries=3,
                retry_exceptions=[StorageError, ray.exceptions.RayError],  # the second: of a worker that was lost
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, 0) if group else "DEFAULT",
            )
            groups[run.remote(*arguments, self.storage, place)] = group
        _finish(groups, what, self.say)


def place_of(resources: Resources, has: Mapping[str, float], grows: bool) -> WorkerResources:
    """What a trial occupies on a cluster, which has so much of CPU and GPU; ValueError where it waits for ever."""
    gpus = resources.gpus
    if gpus == "auto":
        gpus = 1.0 if has.get("GPU") else 0.0
    place = WorkerResources(resources.cpus, gpus, resources.workers, resources.precision)
    asked = {"CPU": place.workers * place.cpus, "GPU": place.workers * place.gpus}
    if not grows and not _holds(has, asked):
        raise ValueError(
            f"resources must fit into this machine: it has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, "
            f"but a trial asks for {asked['CPU']:g} and {asked['GPU']:g}; lower workers, cpus or gpus"
        )
    return place


def awaited(place: WorkerResources, nodes: Iterable[Mapping[str, float]]) -> str:
    """Say what a trial waits for where no node, of which each has so much of CPU and GPU, holds a worker of it."""
    if any(_holds(node, place.bundles[0]) for node in nodes):
        return ""
    return (
        f"no node has the {place.cpus:g} CPUs and {place.gpus:g} GPUs that a worker of a trial asks for: trials wait "
        "for one that joins; where none will, stop this and lower resources.cpus or resources.gpus"
    )


def _holds(has: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(has.get(kind, 0.0) >= amount for kind, amount in asked.items())


def prepare(
    specs: Iterable[TrialSpec], shared_work: SharedWork, sharing: int = 0
) -> tuple[References, WorkerResources]:
    """Decode the images and make every dense network and profile that `specs` need and the storage lacks.

    sharing: how many trials are to come, where a probe is to tell how many of them share a GPU; the place of each is
    returned.

    Raises ValueError for what only reading the images can tell.
    """
    if wait := awaited(shared_work.place, (node["Resources"] for node in ray.nodes() if node["Alive"])):
        shared_work.say(wait)
    specs = list(specs)
    networks = [network for spec in specs for network in spec.networks]
    references = decode(networks, shared_work.say)
    if sharing:
        place, told = share_of_gpu(shared_work.place, specs, references, sharing)
        shared_work.say(told)
        shared_work = replace(shared_work, place=place)
    train(networks, references, shared_work)
    scored = {
        (curriculum.measure, curriculum.network, curriculum.table, spec.dense.key()): (curriculum, spec.dense)
        for spec in specs
        for curriculum in spec.scored
        if is_scored(curriculum)
    }
    shared_work.make(
        _score, [(c, dense, references[dense.data.key()]) for c, dense in scored.values()], "samples scored"
    )
    wanted = {(kind, named.key()): (named, spec.dense) for spec in specs for kind, named in needed(spec).items()}
    for kind, shared in SHARED.items():
        due = {key: found for (k, key), found in wanted.items() if k == kind}
        lacking = [due[key] for key in _lacking(shared_work.storage, kind, due)]
        make = shared_work.train if shared.trains else shared_work.make
        make(_make, [(kind, named, [references[d.data.key()]]) for named, d in lacking], shared.done)
    return references, shared_work.place


def decode(networks: Iterable[DenseSpec], say: Say) -> References:
    """Read the images that networks are trained on, each data set once."""
    data = {network.data.key(): network.data for network in networks}
    tasks: dict[str, Any] = {key: _decode.options(num_returns=2).remote(spec) for key, spec in data.items()}
    _finish(dict.fromkeys(told for _, told in tasks.values()), "images read", say)
    for _, told in tasks.values():
        say(ray.get(told))
    return {key: splits for key, (splits, _) in tasks.items()}


def train(networks: Iterable[DenseSpec], references: References, shared_work: SharedWork) -> None:
    """Train the dense networks that the storage lacks: those that score samples, then those that go by scores."""
    named = {network.key(): network for network in networks}
    for scored in (False, True):
        due = {key: network for key, network in named.items() if (network.curriculum != Curriculum()) == scored}
        lacking = [due[key] for key in _lacking(shared_work.storage, "dense", due)]
        shared_work.train(_make, [("dense", n, [references[n.data.key()]]) for n in lacking], "dense networks trained")


def _lacking(storage: Folder, kind: Kind, keys: Iterable[str]) -> list[str]:
    """Name what is not there or damaged: all files are read, which a trial of each would do, too."""
    keys = list(keys)
    with ThreadPoolExecutor(4) as pool:
        sound = pool.map(partial(is_sound, storage, kind), keys)
        return [key for key, found in zip(keys, sound, strict=True) if not found]


def _finish(groups: Mapping[Any, Any], what: str, say: Say) -> None:
    """Wait for tasks, and remove the placement group of each that is over, which the next one may need."""
    waiting, done = list(groups), 0
    total = len(waiting)
    while waiting:
        ready, waiting = ray.wait(waiting, fetch_local=False)
        for task in ready:
            try:
                ray.get(task)
                if groups[task]:
                    remove_placement_group(groups[task])
            except ray.exceptions.RayTaskError as error:
                for kind in (ValueError, StorageError):
                    if isinstance(error.cause, kind):
                        raise kind(str(error.cause)) from None
                raise
        done += len(ready)
        say(f"{what}: {done} of {total}")


@ray.remote(num_cpus=0, max_retries=20)  # run again where its node died, while trials that wait for it hold all CPUs
def _decode(data: DataSpec) -> tuple[Any, str]:
    splits = sources.load(data)
    return splits, sources.told(data, splits)


@ray.remote
def _score(curriculum: Curriculum, dense: DenseSpec, splits: Any, storage: Folder, place: WorkerResources) -> None:
    """Refuse scores that do not fit, before a trial goes by them."""
    leave_no_trace(place)
    scores(curriculum, dense, splits.train, storage)


@ray.remote
def _make(kind: Kind, spec: Any, splits: Sequence[Any], storage: Folder, place: WorkerResources) -> None:
    """Make what trials share. splits: one reference, in a sequence, so that Ray hands it on as it is."""
    leave_no_trace(place)
    make = make_dense if kind == "dense" else SHARED[kind].make

    def fill(folder: Folder) -> None:
        with team(place, splits[0]) as together:
            led = {"team": together} if place.workers > 1 else {}
            make(spec, ray.get(splits[0]), storage, folder, own_device(), **led)

    find_or_make(storage, kind, spec.key(), fill)

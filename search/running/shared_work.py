"""Work that trials share, done once on the cluster before they run: decoded images, dense networks, profiles."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from search.running.dense_progress import dense_watch
from search.running.failures import SharedFailures, raised, scores_of
from search.running.gpu_sharing import share_of_gpu
from search.running.latency_tables import check_latency_budgets
from search.running.messages import Messages
from search.running.tasks import Say, Watch, finish
from search.study.resources import Resources
from trainables.artifacts.dense import make_dense
from trainables.artifacts.kinds import SHARED
from trainables.artifacts.needs import needed
from trainables.checkpoints.artifact_store import Kind, find_or_make, is_sound
from trainables.counts import noun
from trainables.curriculum_spec import Curriculum
from trainables.data import sources
from trainables.data.splits import AnySplits
from trainables.data_spec import DataSpec
from trainables.learnability.scores import scores
from trainables.spec import DenseSpec, LatencySpec, TrialSpec
from trainables.storage.folder import Folder, StorageError
from trainables.training.process import WorkerResources, own_device, prepare_process
from trainables.training.workers import team

References = Mapping[str, Any]  # key of a DataSpec -> reference to its Splits in the object store


@dataclass(frozen=True)
class SharedWork:
    """Where shared work is stored, and the resources that it uses."""

    storage: Folder
    resources: WorkerResources  # of each training; a trial has the same
    messages: Messages
    local: bool  # Ray runs on this machine alone

    def make(self, task: Any, asked: Iterable[tuple[Any, ...]], what: str) -> dict[int, Exception]:
        """Run a task for each tuple of arguments, in parallel, each on one worker.

        Returns the errors of failed tasks by their position in `asked`. Raises StorageError.
        """
        return self._run(task, asked, what, replace(self.resources, workers=1))

    def train(
        self, task: Any, asked: Iterable[tuple[Any, ...]], what: str, watch: Watch | None = None
    ) -> dict[int, Exception]:
        """As `make`, for a task that leads all workers of a training. watch: says from time to time how far it is."""
        return self._run(task, asked, what, self.resources, watch)

    def _run(
        self,
        task: Any,
        asked: Iterable[tuple[Any, ...]],
        what: str,
        resources: WorkerResources,
        watch: Watch | None = None,
    ) -> dict[int, Exception]:
        groups: dict[Any, Any] = {}  # task -> its own placement group, or None
        for arguments in asked:
            group = placement_group(resources.bundles) if resources.workers > 1 else None
            run = task.options(
                num_cpus=resources.cpus,
                num_gpus=resources.gpus,
                max_retries=3,
                retry_exceptions=[StorageError, ray.exceptions.RayError],  # RayError: a worker was lost
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, 0) if group else "DEFAULT",
            )
            groups[run.remote(*arguments, self.storage, resources)] = group
        errors = finish(groups, what, self.messages.say, watch)
        return {position: errors[task] for position, task in enumerate(groups) if task in errors}


def worker_resources(settings: Resources, has: Mapping[str, float], grows: bool) -> WorkerResources:
    """Resources of a trial. has: the cluster's CPUs and GPUs. ValueError if a trial can never start."""
    gpus = settings.gpus
    if gpus == "auto":
        gpus = 1.0 if has.get("GPU") else 0.0
    resources = WorkerResources(settings.cpus, gpus, settings.workers, settings.precision)
    asked = {"CPU": resources.workers * resources.cpus, "GPU": resources.workers * resources.gpus}
    if not grows and not _holds(has, asked):
        raise ValueError(
            f"resources must fit into this machine: it has {_amounts(has)}, "
            f"but a trial asks for {asked['CPU']:g} and {asked['GPU']:g}; lower workers, cpus or gpus"
        )
    return resources


def awaited(resources: WorkerResources, nodes: Iterable[Mapping[str, float]]) -> str:
    """Message if no node can hold a worker of a trial, else "". nodes: CPUs and GPUs of each node."""
    if any(_holds(node, resources.bundles[0]) for node in nodes):
        return ""
    return (
        f"no node has the {_amounts(resources.bundles[0])} that a worker of a trial needs: trials "
        "wait until one joins; if none will, stop this run and lower resources.cpus or resources.gpus"
    )


def _amounts(has: Mapping[str, float]) -> str:
    return " and ".join(f"{has.get(kind, 0):g} {noun(has.get(kind, 0), kind)}" for kind in ("CPU", "GPU"))


def _holds(has: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(has.get(kind, 0.0) >= amount for kind, amount in asked.items())


def prepare(
    specs: Iterable[TrialSpec], shared_work: SharedWork, sharing: int = 0
) -> tuple[References, WorkerResources, SharedFailures]:
    """Decode the images, and make every dense network and profile that `specs` need and the storage lacks.

    sharing: number of trials to come if a probe decides how many of them share a GPU, else 0. Returns references to the
    images, the resources of each trial, and what could not be made. Raises ValueError for mistakes that only the images
    show.
    """
    if wait := awaited(shared_work.resources, (node["Resources"] for node in ray.nodes() if node["Alive"])):
        shared_work.messages.warn(wait)
    specs = list(specs)
    networks = (network for spec in specs for network in spec.networks)
    references = decode(networks, shared_work.messages.say, shared_work.local)
    if sharing:
        resources, message = share_of_gpu(shared_work.resources, specs, references, sharing)
        shared_work.messages.say(message)
        shared_work = replace(shared_work, resources=resources)
    failures = SharedFailures(shared_work.messages.warn)
    train(specs, references, shared_work, failures)
    _check_scores(specs, references, shared_work, failures)
    for kind, shared in SHARED.items():
        due = {
            artifact.key(): (artifact, spec.dense)
            for spec in failures.without(specs)
            for of_kind, artifact in needed(spec).items()
            if of_kind == kind
        }
        lacking = [due[key] for key in _lacking(shared_work.storage, kind, due)]
        make = shared_work.train if shared.trains else shared_work.make
        for turn in [[each] for each in lacking] if shared.alone else [lacking]:
            asked = [(kind, named, [references[d.data.key()]]) for named, d in turn]
            for position, error in make(_make, asked, shared.label).items():
                artifact, dense = turn[position]
                if isinstance(artifact, LatencySpec) and artifact.device.table:
                    raise raised(error)  # the user's table does not fit
                failures.add(kind, artifact.key(), dense, error)
    check_latency_budgets(failures.without(specs), shared_work.storage, shared_work.messages)
    return references, shared_work.resources, failures


def _check_scores(
    specs: Iterable[TrialSpec], references: References, shared_work: SharedWork, failures: SharedFailures
) -> None:
    """Check the scores that curricula read. Raises ValueError for a table that does not fit: the user's mistake."""
    curricula = {
        key: (curriculum, spec.dense) for spec in failures.without(specs) for key, curriculum in scores_of(spec).items()
    }
    asked = [(curriculum, dense, references[dense.data.key()]) for curriculum, dense in curricula.values()]
    for position, error in shared_work.make(_score, asked, "samples scored").items():
        key, (curriculum, dense) = list(curricula.items())[position]
        if curriculum.table:
            raise raised(error)
        failures.add("scores", key, dense, error)


def decode(networks: Iterable[DenseSpec], say: Say, local: bool) -> References:
    """Read the images of the networks' data sets, each set once.

    local: this process reads them. It has imported all that this needs, while Ray's workers have not.
    """
    data = {network.data.key(): network.data for network in networks}
    references: dict[str, Any] = {}
    if local:
        for key, spec in data.items():
            splits, messages = read_data(spec)
            references[key] = ray.put(splits)
            for message in (f"data read: {len(references)} of {len(data)}", *messages):
                say(message)
        return references
    tasks = {key: _decode.options(num_returns=2).remote(spec) for key, spec in data.items()}
    for error in finish(dict.fromkeys(messages for _, messages in tasks.values()), "data read", say).values():
        raise raised(error)
    for _, messages in tasks.values():
        for message in ray.get(messages):
            say(message)
    return {key: splits for key, (splits, _) in tasks.items()}


def train(
    specs: Iterable[TrialSpec], references: References, shared_work: SharedWork, failures: SharedFailures
) -> None:
    """Train the dense networks that the storage lacks: first those without a curriculum, as the others may use them."""
    specs = list(specs)
    for scored in (False, True):
        networks = [network for spec in failures.without(specs) for network in spec.networks]
        due = {n.key(): n for n in networks if (n.curriculum != Curriculum()) == scored}
        lacking = [due[key] for key in _lacking(shared_work.storage, "dense", due)]
        asked = [("dense", network, [references[network.data.key()]]) for network in lacking]
        watch = dense_watch(lacking, shared_work.storage, shared_work.messages.verbose)
        errors = shared_work.train(_make, asked, "dense networks trained", watch)
        if shared_work.messages.verbose:
            for line in watch.lines():  # of the epochs since the last look
                shared_work.messages.say(line)
        for position, error in errors.items():
            failures.add("dense", lacking[position].key(), lacking[position], error)


def _lacking(storage: Folder, kind: Kind, keys: Iterable[str]) -> list[str]:
    """Return the keys of missing or damaged artifacts; reads all their files, as their trials would."""
    keys = list(keys)
    with ThreadPoolExecutor(4) as pool:
        sound = pool.map(partial(is_sound, storage, kind), keys)
        return [key for key, found in zip(keys, sound, strict=True) if not found]


def read_data(data: DataSpec) -> tuple[AnySplits, tuple[str, ...]]:
    """Read a data set; also return the messages on what it holds."""
    splits = sources.load_any(data)
    return splits, sources.start_messages(data, splits)


# It runs again if its node dies, while trials that wait for it hold all CPUs.
_decode: Any = ray.remote(num_cpus=0, max_retries=20)(read_data)


@ray.remote
def _score(curriculum: Curriculum, dense: DenseSpec, splits: Any, storage: Folder, resources: WorkerResources) -> None:
    """Check the scores of samples before a trial uses them; ValueError if they do not fit."""
    prepare_process(resources)
    scores(curriculum, dense, splits.train, storage)


@ray.remote
def _make(kind: Kind, spec: Any, splits: Sequence[Any], storage: Folder, resources: WorkerResources) -> None:
    """Make a shared artifact. splits: one reference; the sequence keeps Ray from resolving it."""
    prepare_process(resources)
    make = make_dense if kind == "dense" else SHARED[kind].make

    def fill(folder: Folder) -> None:
        with team(resources, splits[0]) as together:
            led = {"team": together} if resources.workers > 1 else {}
            make(spec, ray.get(splits[0]), storage, folder, own_device(), **led)

    find_or_make(storage, kind, spec.key(), fill)

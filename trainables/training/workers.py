"""The workers of a training other than its leader: actors in the other bundles of its placement group.

Ray Train would start a controller and all workers again for each trial, which takes some 35 seconds. Here the process
of the trial leads the training, and the other workers start while it prunes.
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from trainables.training.fit import Training, residents
from trainables.training.process import WorkerResources, own_device, prepare_process
from trainables.training.team import ALONE, Team

PATIENCE = 30.0  # seconds in which Ray notices that a worker is lost
GRACE = 1.0  # seconds in which Ray receives the error of a worker before its process ends


class Worker:
    """A worker that follows the leader."""

    def __init__(self, rank: int, address: tuple[str, int], resources: WorkerResources, splits: Any) -> None:
        """Prepare to train. address: host and port of the leader's store. splits: the Splits, which Ray looks up."""
        prepare_process(resources)
        self._rank, self._address, self._size = rank, address, resources.workers
        self._data = residents(splits, own_device())

    def train(self, training: Training) -> None:
        """Train in step with the other workers until the training ends. Raises what the training raises."""
        try:
            if not dist.is_initialized():
                _join(TCPStore(*self._address, self._size), self._rank, self._size)
            deque(training.epochs(self._data, Team(self._rank, self._size)), maxlen=0)
        except BaseException:
            # The other workers wait as long as this process keeps its connections open.
            Timer(GRACE, os._exit, (1,)).start()
            raise


@contextmanager
def team(resources: WorkerResources, splits: Any) -> Iterator[Team]:
    """Lead the workers of a placement group; this process runs in the group's first bundle.

    splits: reference in Ray's object store. The followers train as soon as the leader calls them, and end with the
    context. Raises Ray's own error where a worker is lost, and RuntimeError where the training of a worker fails.
    """
    if resources.workers == 1:
        yield ALONE
        return
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = ray.util.get_current_placement_group()
    assert group is not None
    host = ray.util.get_node_ip_address()
    store = TCPStore(host, 0, resources.workers, is_master=True, wait_for_workers=False)
    followers: list[Any] = [
        ray.remote(Worker)
        .options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        )
        .remote(rank, (host, store.port), resources, splits)
        for rank in range(1, resources.workers)
    ]
    running: list[Any] = []  # a reference for each follower that trains

    def call(training: Training) -> None:
        ray.get([follower.__ray_ready__.remote() for follower in followers])  # raises if a follower is lost
        reference = ray.put(training)
        running[:] = [follower.train.remote(reference) for follower in followers]
        if not dist.is_initialized():
            _join(store, 0, resources.workers)

    try:
        yield Team(0, resources.workers, call)
    except RuntimeError as error:
        if _may_be_lost_connection(error):
            _leave()
            ended, _ = ray.wait(running, num_returns=len(running), timeout=PATIENCE) if running else ([], [])
            if cause := _cause(ended):
                raise cause from error
        raise
    finally:
        _leave()
        for follower in followers:
            ray.kill(follower)


def _join(store: Store, rank: int, size: int) -> None:
    dist.init_process_group("nccl" if own_device().type == "cuda" else "gloo", store=store, rank=rank, world_size=size)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _may_be_lost_connection(error: Exception) -> bool:
    """Whether an error may mean that another worker has closed its connection."""
    return type(error) is RuntimeError or isinstance(error, dist.DistError)


def _cause(ended: list[Any]) -> Exception | None:
    """Find why the first follower ended: Ray lost it, or its training failed. None where neither is the case."""
    import ray

    failure = None
    for reference in ended:
        try:
            ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if not _may_be_lost_connection(error.cause):
                failure = RuntimeError(f"a worker failed: {type(error.cause).__name__}: {error.cause}")
        except ray.exceptions.RayError as lost:
            return lost
    return failure

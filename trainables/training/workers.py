"""The workers of a training beside the one who leads it: actors in the other bundles of its placement group.

Ray Train would start a controller and all workers anew for each trial, some 35 seconds; here the process of the trial
itself leads, and the others come up while it prunes.
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
from trainables.training.process import WorkerResources, leave_no_trace, own_device
from trainables.training.team import ALONE, Team

PATIENCE = 30.0  # seconds until Ray has noticed that a worker is gone
GRACE = 1.0  # seconds in which Ray hears why a worker goes


class Worker:
    """One that does not lead."""

    def __init__(self, rank: int, meeting: tuple[str, int], place: WorkerResources, splits: Any) -> None:
        leave_no_trace(place)
        self._rank, self._meeting, self._place = rank, meeting, place
        self._data = residents(splits, own_device())

    def train(self, training: Training) -> None:
        """Train along."""
        try:
            if not dist.is_initialized():
                store = TCPStore(*self._meeting, self._place.workers)
                _join(store, self._rank, self._place.workers)
            deque(training.epochs(self._data, Team(self._rank, self._place.workers)), maxlen=0)
        except BaseException:
            Timer(GRACE, os._exit, (1,)).start()  # its connections are open while it lives: the others would wait
            raise


@contextmanager
def team(place: WorkerResources, splits: Any) -> Iterator[Team]:
    """Lead the workers of a placement group in whose first bundle this runs; splits: reference in the object store.

    The others come when they are first called, and are gone at the end. Where one is lost, Ray's own error says so.
    """
    if place.workers == 1:
        yield ALONE
        return
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = ray.util.get_current_placement_group()
    assert group is not None
    here = ray.util.get_node_ip_address()
    store = TCPStore(here, 0, place.workers, is_master=True, wait_for_workers=False)
    others: list[Any] = [
        ray.remote(Worker)
        .options(
            num_cpus=place.cpus,
            num_gpus=place.gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        )
        .remote(rank, (here, store.port), place, splits)
        for rank in range(1, place.workers)
    ]
    at_work: list[Any] = []

    def call(training: Training) -> None:
        ray.get([other.__ray_ready__.remote() for other in others])  # of one that is lost, this says so
        sent = ray.put(training)
        at_work[:] = [other.train.remote(sent) for other in others]
        if not dist.is_initialized():
            _join(store, 0, place.workers)

    try:
        yield Team(0, place.workers, call)
    except RuntimeError as error:
        if _is_of_a_connection(error):
            _leave()
            ended, _ = ray.wait(at_work, num_returns=len(at_work), timeout=PATIENCE) if at_work else ([], [])
            if cause := _cause(ended):
                raise cause from error
        raise
    finally:
        _leave()
        for other in others:
            ray.kill(other)


def _join(store: Store, rank: int, size: int) -> None:
    dist.init_process_group("nccl" if own_device().type == "cuda" else "gloo", store=store, rank=rank, world_size=size)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _is_of_a_connection(error: Exception) -> bool:
    """Tell whether an error may be of a connection that another worker has closed."""
    return type(error) is RuntimeError or isinstance(error, dist.DistError)


def _cause(ended: list[Any]) -> Exception | None:
    """Find what ended the first of the workers: its loss, or an error of its own; None where both are elsewhere."""
    import ray

    own = None
    for one in ended:
        try:
            ray.get(one)
        except ray.exceptions.RayTaskError as told:
            if not _is_of_a_connection(told.cause):
                own = RuntimeError(f"a worker failed: {type(told.cause).__name__}: {told.cause}")
        except ray.exceptions.RayError as lost:
            return lost
    return own

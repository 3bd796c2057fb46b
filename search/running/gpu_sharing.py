"""How many trials share a GPU: found out by a short probe before any of them runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray

from trainables.spec import DenseSpec, TrialSpec
from trainables.training.gpu_load import Load, measure
from trainables.training.process import WorkerResources, leave_no_trace, own_device

MANY = (8, 4, 2)
SPARE = 1.5  # a teacher, calibration samples or a wider layer of the user's may take more than the probe saw


def share_of_gpu(
    place: WorkerResources, specs: Sequence[TrialSpec], references: Mapping[str, Any], trials: int
) -> tuple[WorkerResources, str]:
    """Find the place of trials that may share GPUs, and say why; trials: how many there are to come."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    gpus = sum(node["GPU"] for node in nodes)
    processors = min(node.get("CPU", 0.0) / node["GPU"] for node in nodes) / place.cpus
    most = min(math.ceil(trials / gpus), int(processors))
    if most < min(MANY):
        return place, "each trial has a GPU to itself"
    probe = _probe.options(num_cpus=place.cpus, num_gpus=1).remote(largest(specs), references, place)
    try:
        loads: list[Load] = ray.get(probe)
        load = Load.greatest(loads)
    except ray.exceptions.RayError as error:
        return place, f"each trial has a GPU to itself, as a probe failed: {str(error).splitlines()[-1]}"
    many = together(load, most)
    told = f"{load.memory / 2**30:.1f} of {load.total / 2**30:.0f} GiB and {100 * load.busy:.0f} % of its time"
    who = f"{many} trials share a GPU" if many > 1 else "each trial has a GPU to itself"
    return replace(place, gpus=1.0 / many), f"{who}: one takes {told} ({load.device})"


def together(load: Load, most: int) -> int:
    """How many trainings of this load share a device, of 1, 2, 4 and 8, and no more than `most`.

    They must fit into its memory with room to spare, and leave it no busier than all of its time: processes take turns
    on a GPU, so what more of them would gain is only the time in which it waits.
    """
    for many in MANY:
        if many <= most and many * SPARE * load.memory <= load.total and many * load.busy <= 1.0:
            return many
    return 1


def largest(specs: Iterable[TrialSpec]) -> list[DenseSpec]:
    """Of each network on each data set, a training at the largest batch size that trials or their start ask for."""
    found: dict[tuple[str, float, str], DenseSpec] = {}
    for spec in specs:
        for dense in spec.networks:
            size = max(dense.recipe.batch_size, spec.finetune.batch_size)
            key = (dense.model, dense.width, dense.data.key())
            if key not in found or found[key].recipe.batch_size < size:
                found[key] = dense.model_copy(update={"recipe": dense.recipe.model_copy(update={"batch_size": size})})
    return list(found.values())


@ray.remote(max_retries=3)
def _probe(networks: list[DenseSpec], references: Mapping[str, Any], place: WorkerResources) -> list[Load]:
    leave_no_trace(place)
    return [measure(network, ray.get(references[network.data.key()]), own_device()) for network in networks]

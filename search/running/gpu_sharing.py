"""How many trials share a GPU: a short probe finds it before any trial runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray

from trainables.spec import DenseSpec, TrialSpec
from trainables.training.gpu_load import Load, measure
from trainables.training.process import WorkerResources, own_device, prepare_process

MANY = (8, 4, 2)
SPARE = 1.5  # memory reserve: a teacher, calibration samples or a user's wider layer may take more than the probe


def share_of_gpu(
    resources: WorkerResources, specs: Sequence[TrialSpec], references: Mapping[str, Any], trials: int
) -> tuple[WorkerResources, str]:
    """Find the resources of trials that may share GPUs, and the reason. trials: the number of trials to come."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    gpus = sum(node["GPU"] for node in nodes)
    processors = min(node.get("CPU", 0.0) / node["GPU"] for node in nodes) / resources.cpus
    most = min(math.ceil(trials / gpus), int(processors))
    if most < min(MANY):
        return resources, "each trial has a GPU to itself"
    probe = _probe.options(num_cpus=resources.cpus, num_gpus=1).remote(largest(specs), references, resources)
    try:
        loads: list[Load] = ray.get(probe)
        load = Load.greatest(loads)
    except ray.exceptions.RayError as error:
        return resources, f"each trial has a GPU to itself, as a probe failed: {str(error).splitlines()[-1]}"
    many = together(load, most)
    used = f"{load.memory / 2**30:.1f} of {load.total / 2**30:.0f} GiB and {100 * load.busy:.0f} % of its time"
    sharing = f"{many} trials share a GPU" if many > 1 else "each trial has a GPU to itself"
    return replace(resources, gpus=1.0 / many), f"{sharing}: one takes {used} ({load.device})"


def together(load: Load, most: int) -> int:
    """Number of trainings of this load that share a device: 1, 2, 4 or 8, and at most `most`.

    They must fit into its memory with a reserve, and keep it busy for at most all of its time: processes take turns on
    a GPU, so sharing gains only the time in which it waits.
    """
    for many in MANY:
        if many <= most and many * SPARE * load.memory <= load.total and many * load.busy <= 1.0:
            return many
    return 1


def largest(specs: Iterable[TrialSpec]) -> list[DenseSpec]:
    """Find one training for each network and data set, with the largest batch size that the trials use."""
    trainings: dict[tuple[str, float, str], DenseSpec] = {}
    for spec in specs:
        for dense in spec.networks:
            size = max(dense.recipe.batch_size, spec.finetune.batch_size)
            key = (dense.model, dense.width, dense.data.key())
            if key not in trainings or trainings[key].recipe.batch_size < size:
                trainings[key] = dense.model_copy(
                    update={"recipe": dense.recipe.model_copy(update={"batch_size": size})}
                )
    return list(trainings.values())


@ray.remote(max_retries=3)
def _probe(networks: list[DenseSpec], references: Mapping[str, Any], resources: WorkerResources) -> list[Load]:
    prepare_process(resources)
    return [measure(network, ray.get(references[network.data.key()]), own_device()) for network in networks]

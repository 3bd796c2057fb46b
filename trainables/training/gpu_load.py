"""How much of its device a training uses, measured on a few steps of the training loop."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from trainables.checkpoints.checkpoint import Architecture
from trainables.data.collated import on_device
from trainables.data.splits import AnySplits
from trainables.spec import DenseSpec
from trainables.training.fit import residents
from trainables.training.process import CUDA_CONTEXT
from trainables.training.train import TrainingPlan, evaluate, to_device, train

STEPS = 20  # timed steps; as many steps before them warm up


@dataclass(frozen=True)
class Load:
    """How much of a device a training uses."""

    memory: int  # peak in bytes, with the CUDA context of the process; 0 on a CPU
    busy: float  # fraction of the time in which the device computes; it waits for Python in the rest
    total: int = 0  # memory of the device in bytes; 0 on a CPU
    device: str = "cpu"

    @classmethod
    def greatest(cls, loads: Iterable["Load"]) -> "Load":
        """Combine the largest memory and the largest busy fraction of loads on one device."""
        each = list(loads)
        memory, busy = max(load.memory for load in each), max(load.busy for load in each)
        return cls(memory, busy, each[0].total, each[0].device)


def measure(spec: DenseSpec, splits: AnySplits, device: torch.device) -> Load:
    """Train a new network of `spec` for some steps, evaluate it, and return how much of the device this takes."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    data = residents(splits, device)  # every trial holds all samples on its device
    network = to_device(Architecture.of(spec, splits.inputs).build(), device)
    recipe = spec.recipe.model_copy(update={"epochs": 3})
    samples = on_device(splits.train.first(STEPS * recipe.batch_size), splits, device)
    passes = train(network, samples, TrainingPlan(recipe, spec.data.augment, spec.seed))
    next(passes)  # chooses the fastest kernels and captures graphs
    wall = _seconds(passes)
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiled:
        next(passes)
    evaluate(network, data[1])
    if not on_gpu:
        microseconds = sum(event.self_cpu_time_total for event in profiled.key_averages())
        return Load(0, min(1.0, microseconds / 1e6 / wall))
    kernels = (event for event in profiled.key_averages() if event.device_type.name == "CUDA")
    microseconds = sum(event.self_device_time_total for event in kernels)
    return Load(
        memory=torch.cuda.max_memory_reserved() + CUDA_CONTEXT,
        busy=min(1.0, microseconds / 1e6 / wall)
        or 1.0,  # 0.0: the profiler may not read this GPU; assume that it is busy
        total=torch.cuda.get_device_properties(device).total_memory,
        device=torch.cuda.get_device_name(device),
    )


def _seconds(passes: Iterator[float]) -> float:
    started = perf_counter()
    next(passes)  # reads the loss from the device, and so waits for it
    return perf_counter() - started

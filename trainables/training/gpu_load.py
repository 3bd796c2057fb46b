"""What a training asks of its device: measured on a few steps of the project's own loop."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from trainables.checkpoints.checkpoint import Architecture
from trainables.data.batches import Resident
from trainables.data.splits import Splits
from trainables.spec import DenseSpec
from trainables.training.fit import residents
from trainables.training.process import CONTEXT
from trainables.training.train import TrainingPlan, evaluate, to_device, train

STEPS = 20  # that are timed, after as many that warm up


@dataclass(frozen=True)
class Load:
    """How much of a device a training takes."""

    memory: int  # bytes at its peak, what its process takes by itself included; 0 on a CPU
    busy: float  # of the time, in which the device computes; the rest waits for Python
    total: int = 0  # bytes that the device has
    device: str = "cpu"

    @classmethod
    def greatest(cls, loads: Iterable["Load"]) -> "Load":
        """Take the most of each."""
        each = list(loads)
        memory, busy = max(load.memory for load in each), max(load.busy for load in each)
        return cls(memory, busy, each[0].total, each[0].device)


def measure(spec: DenseSpec, splits: Splits, device: torch.device) -> Load:
    """Train a fresh network of `spec` for some steps, and judge it."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    data = residents(splits, device)  # which every trial has there as a whole
    network = to_device(Architecture.of(spec, splits.image, len(splits.classes)).build(), device)
    recipe = spec.recipe.model_copy(update={"epochs": 3})
    some = Resident(splits.train.first(STEPS * recipe.batch_size), splits, device)
    passes = train(network, some, TrainingPlan(recipe, spec.data.augment, spec.seed))
    next(passes)  # finds out the fastest kernels and captures graphs
    wall = _seconds(passes)
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
        next(passes)
    evaluate(network, data[1])
    if not on_gpu:
        spent = sum(event.self_cpu_time_total for event in seen.key_averages())
        return Load(0, min(1.0, spent / 1e6 / wall))
    kernels = (event for event in seen.key_averages() if event.device_type.name == "CUDA")
    spent = sum(event.self_device_time_total for event in kernels)
    return Load(
        memory=torch.cuda.max_memory_reserved() + CONTEXT,
        busy=min(1.0, spent / 1e6 / wall) or 1.0,  # a profiler that may not look sees nothing
        total=torch.cuda.get_device_properties(device).total_memory,
        device=torch.cuda.get_device_name(device),
    )


def _seconds(passes: Iterator[float]) -> float:
    started = perf_counter()
    next(passes)  # which asks the device for the loss, and so waits for it
    return perf_counter() - started

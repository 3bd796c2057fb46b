"""The process that a training runs in: what it may use of its machine, and how it starts clean."""

import ctypes
import gc
from dataclasses import dataclass

import torch

from trainables.spec import Precision

CONTEXT = 600 << 20  # bytes of a GPU that a process takes before it holds a tensor, which PyTorch's limit leaves out

_precision: Precision = "auto"  # of this process


@dataclass(frozen=True)
class WorkerResources:
    """What a training occupies on the cluster: so many workers, each with its processors and at most one GPU."""

    cpus: float = 1.0
    gpus: float = 0.0  # in (0, 1): this share of one, of its memory too
    workers: int = 1
    precision: Precision = "auto"  # of trainings and accuracies

    @property
    def bundles(self) -> list[dict[str, float]]:
        """The same as Ray's placement groups count it, a bundle for each worker."""
        return [{"CPU": self.cpus, "GPU": self.gpus} for _ in range(self.workers)]


def own_device() -> torch.device:
    """The GPU of this process where it has one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_bfloat16(device: torch.device) -> bool:
    """Tell whether this process trains and judges networks on a device in bfloat16 (autocast), or else in float32."""
    return _in_bfloat16_by_default(device) if _precision == "auto" else _precision == "bfloat16"


def hardware(device: torch.device) -> str:
    """Name a device, with the precision where it is not the usual one there."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return name if in_bfloat16(device) == _in_bfloat16_by_default(device) else f"{name}, {_precision}"


def _in_bfloat16_by_default(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def leave_no_trace(place: WorkerResources) -> None:
    """Start from a clean process, as actors are reused: with its own threads and precision."""
    global _precision
    _precision = place.precision
    torch.set_num_threads(max(1, int(place.cpus)))
    _keep_freed_memory()
    if torch.cuda.is_available():
        gc.collect()  # a quarter of a second, which short trials on a CPU need not pay: they leave no memory in cycles
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(memory_fraction(place.gpus, total))


def memory_fraction(gpus: float, total: int) -> float:
    """How much of a GPU's memory, in bytes, PyTorch may hold in one of the processes that share it."""
    return max(gpus / 2, gpus - CONTEXT / total) if 0.0 < gpus < 1.0 else 1.0


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: each step asks for it again, and page faults cost small networks a tenth of it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(trim_threshold, -1)
        mallopt(mmap_threshold, 32 << 20)  # the most that it takes

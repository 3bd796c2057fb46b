"""The process that a training runs in: its share of the machine, and its state at the start."""

import ctypes
import gc
from dataclasses import dataclass

import torch

from trainables.spec import Precision

CUDA_CONTEXT = 600 << 20  # bytes of a GPU that a process takes before its first tensor; PyTorch's limit ignores them

_precision: Precision = "auto"  # of this process


@dataclass(frozen=True)
class WorkerResources:
    """What a training occupies on the cluster: some workers, each with some CPUs and at most one GPU."""

    cpus: float = 1.0  # of each worker
    gpus: float = 0.0  # of each worker: 0, 1, or a fraction of one GPU and of its memory
    workers: int = 1
    precision: Precision = "auto"  # in which networks train and are evaluated

    @property
    def bundles(self) -> list[dict[str, float]]:
        """The same for a placement group of Ray: a bundle for each worker."""
        return [{"CPU": self.cpus, "GPU": self.gpus} for _ in range(self.workers)]


def own_device() -> torch.device:
    """Return the device of this process: its GPU if it has one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_bfloat16(device: torch.device) -> bool:
    """Whether this process trains and evaluates on a device in bfloat16 (autocast); otherwise in float32."""
    return _in_bfloat16_by_default(device) if _precision == "auto" else _precision == "bfloat16"


def hardware(device: torch.device) -> str:
    """Name a device, and the precision if it is not the default of the device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return name if in_bfloat16(device) == _in_bfloat16_by_default(device) else f"{name}, {_precision}"


def _in_bfloat16_by_default(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def prepare_process(resources: WorkerResources) -> None:
    """Set the threads, precision and GPU memory of this process, and free the memory of earlier trials.

    Ray reuses the processes of its actors, so another trial may have run here before.
    """
    global _precision
    _precision = resources.precision
    torch.set_num_threads(max(1, int(resources.cpus)))
    _keep_freed_memory()
    if torch.cuda.is_available():
        gc.collect()  # takes a quarter of a second; without a GPU it is not needed, as no memory is left in cycles
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(memory_fraction(resources.gpus, total))


def memory_fraction(gpus: float, total: int) -> float:
    """Return the fraction of a GPU's memory that PyTorch may hold in one of the processes that share the GPU.

    gpus: the process's share of the GPU. total: bytes of the GPU.
    """
    return max(gpus / 2, gpus - CUDA_CONTEXT / total) if 0.0 < gpus < 1.0 else 1.0


def _keep_freed_memory() -> None:
    """Let glibc keep freed memory, as each step needs it again: page faults take a tenth of a small network's step."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(trim_threshold, -1)
        mallopt(mmap_threshold, 32 << 20)  # bytes; the largest value that glibc accepts

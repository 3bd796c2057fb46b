"""The process that a training runs in: what it may use of its machine, and how it starts clean."""

import ctypes
import gc
from dataclasses import dataclass

import torch

CONTEXT = 600 << 20  # bytes of a GPU that a process takes before it holds a tensor, which PyTorch's limit leaves out


@dataclass(frozen=True)
class Place:
    """What a training occupies on the cluster: so many workers, each with its processors and at most one GPU."""

    cpus: float = 1.0
    gpus: float = 0.0  # in (0, 1): this share of one, of its memory too
    workers: int = 1

    @property
    def bundles(self) -> list[dict[str, float]]:
        """The same as Ray's placement groups count it, a bundle for each worker."""
        return [{"CPU": self.cpus, "GPU": self.gpus} for _ in range(self.workers)]


def own_device() -> torch.device:
    """The GPU of this process where it has one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def leave_no_trace(place: Place) -> None:
    """Start from a clean process, as actors are reused: its own threads, no memory of the trial before."""
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

"""Memory for images. They stream if training cuts from whole images, if settings say so, or if memory is short."""

import math
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from trainables.data_spec import DataSpec
from trainables.names import CUTTING

OF_MACHINE = 1 / 4  # of a machine's memory; Ray reserves 0.3 of it for objects that trials share
OF_GPU = 1 / 8  # of a GPU's memory, which several trials may share
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def must_stream(data: DataSpec) -> bool:
    """Tell whether the settings require that images stream."""
    return data.loading == "stream" or data.augment in CUTTING


def of_machine() -> int:
    """Return the bytes that the pixels of a data set may take on this machine, or in this container."""
    memory = psutil.virtual_memory().total
    for limit in LIMITS:
        with suppress(OSError, ValueError):  # no such file; "max"
            memory = min(memory, int(Path(limit).read_text()))
    return int(OF_MACHINE * memory)


def on_device(device: torch.device) -> float:
    """Return the bytes that the pixels of a split may take on a device. No limit on the CPU: they are there already."""
    return OF_GPU * torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else math.inf

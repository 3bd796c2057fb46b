"""How much faster bfloat16 makes a training step: `python -m tests.benchmarks.precision [MODEL[:WIDTH]...]`.

It runs the project's own training loop on random 32 x 32 images, in float32 and in bfloat16 by turns in one process, on
a GPU if there is one, otherwise on one core. It prints medians of five rounds in milliseconds per step.
"""

import sys
from functools import partial

import torch

from tests.benchmarks.graphs import by_turns, milliseconds, random_images
from trainables.data.batches import Resident
from trainables.spec import Precision
from trainables.training.process import WorkerResources, own_device, prepare_process

MODELS = ("resnet56", "resnet56:0.5", "resnet20", "resnet20:0.5", "vgg16:0.25", "mobilenet:0.25", "small_cnn")
BATCH = 128
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def milliseconds_in(name: str, data: Resident, precision: Precision) -> float:
    """Measure the mean time of a step in one precision."""
    prepare_process(WorkerResources(precision=precision))
    return milliseconds(name, BATCH, data)


def main(models: tuple[str, ...]) -> None:
    """Print a line of Markdown for each network."""
    device = own_device()
    on_gpu = device.type == "cuda"
    data = random_images((60 if on_gpu else 3) * BATCH, device)
    print(torch.cuda.get_device_name() if on_gpu else "one core", torch.__version__)
    print("| network | float32, ms | bfloat16, ms | times as fast |\n|---|---|---|---|")
    for name in models:
        full, half = by_turns(partial(milliseconds_in, name, data), PRECISIONS)
        print(f"| {name} | {full:.2f} | {half:.2f} | {full / half:.2f} |", flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or MODELS)

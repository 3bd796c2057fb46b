"""How many steps several trainings do together on one GPU: `python -m tests.benchmarks.gpu_sharing [PROCESSES...]`.

Processes take turns on a GPU, unless NVIDIA's MPS lets their kernels run side by side. Run it once as it is, and once
after `nvidia-cuda-mps-control -d`. It trains ResNet-56 on random 32 x 32 images in batches of 256 with the project's
own training loop, and prints the steps per second of all processes together.
"""

import multiprocessing
import sys
import time
from typing import Any

import torch

from tests.benchmarks.graphs import STEPS, network, random_images
from trainables.recipe import Recipe
from trainables.training.train import TrainingPlan, train

BATCH = 256
EPOCHS = 3  # timed epochs


def training(rank: int, together: Any, seconds: Any) -> None:
    """Train for one epoch, wait for the other processes, then time the next epochs."""
    data = random_images(STEPS * BATCH, torch.device("cuda"))
    recipe = Recipe(epochs=1 + EPOCHS, batch_size=BATCH)
    model = network("resnet56", data.device)
    losses = train(model, data, TrainingPlan(recipe, "crop_flip"))
    next(losses)
    together.wait()
    started = time.perf_counter()
    for _ in losses:
        pass
    seconds[rank] = time.perf_counter() - started


def main(counts: list[int]) -> None:
    """Print a line of Markdown for each number of processes."""
    print(torch.cuda.get_device_name(), torch.__version__)
    print("| processes | ms per step of each | steps per second of all |\n|---|---|---|")
    spawning = multiprocessing.get_context("spawn")
    for count in counts:
        together, seconds = spawning.Barrier(count), spawning.Array("d", count)
        processes = [spawning.Process(target=training, args=(r, together, seconds)) for r in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        slowest: float = max(seconds[:]) / (EPOCHS * STEPS)
        print(f"| {count} | {1e3 * slowest:.2f} | {count / slowest:.0f} |", flush=True)


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [1, 3, 6])

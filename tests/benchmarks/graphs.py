"""How much faster CUDA graphs make a training step: `python -m tests.benchmarks.graphs [MODEL[:WIDTH]...]`, on a GPU.

It runs the project's own training loop on random 32 x 32 images, both ways by turns in one process, and prints
milliseconds per step. Widths show what odd channel counts cost: `resnet56:0.7 resnet56:0.75` have 11, 22, 45 and 12,
24, 48 channels.
"""

import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar
from unittest import mock

import numpy as np
import torch

from trainables.data.batches import Resident
from trainables.data.splits import Split, Splits
from trainables.models import hub
from trainables.recipe import Recipe
from trainables.training.train import TrainingPlan, to_device, train

T = TypeVar("T")

MODELS = ("resnet56", "resnet20", "vgg16", "mobilenet")
STEPS = 60
ROUNDS = 5


def random_images(count: int, device: torch.device) -> Resident:
    """Make a training split of noise with ten classes."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 3, 32, 32), np.uint8)
    split = Split(images, np.arange(count) % 10, np.arange(count))
    return Resident(split, Splits(split, split, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3), device)


def network(name: str, device: torch.device) -> torch.nn.Module:
    """Build a network for ten classes by its name, as in "resnet56", or its name and width, as in "resnet56:0.7"."""
    model, _, width = name.partition(":")
    return to_device(hub.build(model, 10, 3, float(width or 1)), device)


def milliseconds(name: str, batch_size: int, data: Resident) -> float:
    """Measure the mean time of a step in the second of two epochs; the first epoch does what is done only once."""
    recipe = Recipe(epochs=2, batch_size=batch_size)
    model = network(name, data.device)
    losses = train(model, data, TrainingPlan(recipe, "crop_flip"))
    next(losses)
    started = time.perf_counter()
    next(losses)
    return 1e3 * (time.perf_counter() - started) / (len(data) // batch_size)


def by_turns(measure: Callable[[T], float], ways: Sequence[T]) -> list[float]:
    """Measure each way once in each round; return the median of each way."""
    rounds = [[measure(way) for way in ways] for _ in range(ROUNDS)]
    return [median(of_way) for of_way in zip(*rounds, strict=True)]


def plain(model: torch.nn.Module, *_: object) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the network itself, in place of its CUDA graph."""
    return model


def main(models: tuple[str, ...]) -> None:
    """Print a line of Markdown for each network and batch size."""
    device = torch.device("cuda")
    print(torch.cuda.get_device_name(), torch.__version__)
    print("| network | batch | called, ms | replayed, ms | times as fast |\n|---|---|---|---|---|")
    for name in models:
        for batch_size in (128, 256):
            data = random_images(STEPS * batch_size, device)
            with mock.patch("trainables.training.train.graphed", plain):
                called = milliseconds(name, batch_size, data)
            replayed = milliseconds(name, batch_size, data)
            print(f"| {name} | {batch_size} | {called:.2f} | {replayed:.2f} | {called / replayed:.2f} |", flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or MODELS)

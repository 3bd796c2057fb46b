"""What CUDA graphs bring a training step: `python -m tests.benchmarks.graphs [MODEL[:WIDTH]...]`, on a GPU.

Random 32 x 32 images, the project's own training loop, both ways by turns in one process; in ms a step. Widths tell
what odd channel counts cost: `resnet56:0.7 resnet56:0.75` have 11, 22, 45 and 12, 24, 48.
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
from trainables.spec import Recipe
from trainables.training.train import TrainingPlan, to_device, train

T = TypeVar("T")

MODELS = ("resnet56", "resnet20", "vgg16", "mobilenet")
STEPS = 60
ROUNDS = 5


def random_images(count: int, device: torch.device) -> Resident:
    """Make a training split of noise."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 3, 32, 32), np.uint8)
    split = Split(images, np.arange(count) % 10, np.arange(count))
    return Resident(split, Splits(split, split, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3), device)


def network(asked: str, device: torch.device) -> torch.nn.Module:
    """Build "resnet56" or, at a width, "resnet56:0.7" for ten classes, as it is trained."""
    name, _, width = asked.partition(":")
    return to_device(hub.build(name, 10, 3, float(width or 1)), device)


def milliseconds(asked: str, batch_size: int, data: Resident) -> float:
    """Time a step in the second of two epochs, what is done once left out."""
    recipe = Recipe(epochs=2, batch_size=batch_size)
    model = network(asked, data.device)
    losses = train(model, data, TrainingPlan(recipe, "crop_flip"))
    next(losses)
    started = time.perf_counter()
    next(losses)
    return 1e3 * (time.perf_counter() - started) / (len(data) // batch_size)


def by_turns(measure: Callable[[T], float], ways: Sequence[T]) -> list[float]:
    """Measure each way once a round; the median of each."""
    rounds = [[measure(way) for way in ways] for _ in range(ROUNDS)]
    return [median(of_way) for of_way in zip(*rounds, strict=True)]


def plain(model: torch.nn.Module, *_: object) -> Callable[[torch.Tensor], torch.Tensor]:
    """Call the network as it is."""
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

"""What trainable gates add to a training step: `python -m tests.benchmarks.gating [MODEL:WIDTH...]`.

It runs the project's own training loop on random 32 x 32 images, with and without gates by turns in one process, on a
GPU if there is one, otherwise on one core. It prints medians of five rounds in milliseconds per step.
"""

import sys
import time
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from tests.benchmarks.graphs import by_turns, network, random_images
from trainables.data.batches import Batch, Resident
from trainables.pruning.channels import Channels
from trainables.pruning.gates import ChannelGates
from trainables.pruning_spec import Gates
from trainables.recipe import Recipe
from trainables.task.classification import CLASSIFICATION
from trainables.training.train import TrainingPlan, task_loss, train
from trainables.training.updates import Updates

MODELS = ("resnet20:0.5", "resnet56:0.5", "vgg16:0.25", "mobilenet:0.25")
BATCH = 128


def milliseconds(name: str, data: Resident, gated: bool) -> float:
    """Measure the mean time of a step in the second of two epochs."""
    recipe = Recipe(epochs=2, batch_size=BATCH)
    model = network(name, data.device)
    example = torch.zeros(1, 3, 32, 32, device=data.device)
    gates = ChannelGates(Channels(model, example), Gates(epochs=2), "macs", 0.5) if gated else None

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        return task_loss(CLASSIFICATION, recipe)(batch, logits) + (gates.penalty() if gates else 0.0)

    with gates.attached() if gates else nullcontext():
        losses = train(model, data, TrainingPlan(recipe, other_loss=loss), Updates(model, recipe, gates=gates))
        next(losses)
        started = time.perf_counter()
        next(losses)
    return 1e3 * (time.perf_counter() - started) / (len(data) // BATCH)


def main(models: tuple[str, ...]) -> None:
    """Print a line of Markdown for each network."""
    on_gpu = torch.cuda.is_available()
    torch.set_num_threads(1)
    data = random_images((60 if on_gpu else 3) * BATCH, torch.device("cuda" if on_gpu else "cpu"))
    print(torch.cuda.get_device_name() if on_gpu else "one core", torch.__version__)
    print("| network | plain, ms | gated, ms | more |\n|---|---|---|---|")
    for name in models:
        plain, gated = by_turns(partial(milliseconds, name, data), (False, True))
        print(f"| {name} | {plain:.2f} | {gated:.2f} | {gated / plain - 1:+.1%} |", flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or MODELS)

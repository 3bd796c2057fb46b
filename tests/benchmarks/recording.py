"""What recording each sample costs: processor seconds of an epoch with a record, compared with an epoch without.

    python -m tests.benchmarks.recording [MODEL...]

It trains on augmented random images of CIFAR-10's shape, with one thread on a CPU. The order of the variants rotates
with each round. The quickest round of each variant counts.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from trainables.checkpoints.checkpoint import Architecture
from trainables.data.splits import Split, Splits
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, EpochReport, Taken
from trainables.storage.folder import Folder
from trainables.training.fit import fit, residents
from trainables.training.record import TrainingRecord
from trainables.training.recorder import Recorder
from trainables.training.saves import State
from trainables.training.train import TrainingPlan, to_device

SAMPLES, ROUNDS, WIDTH = 4096, 6, 0.5
VARIANTS: tuple[Taken, ...] = ("off", "during", "after")


def main() -> None:
    """Print a line for each network."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    print(f"{SAMPLES} images, width {WIDTH}, the quickest of {ROUNDS} epochs on {device}")
    for model in sys.argv[1:] or ["small_cnn", "resnet20"]:
        with tempfile.TemporaryDirectory() as folder:
            seconds = {taken: min(times) for taken, times in measure(model, Path(folder), device).items()}
        plain = seconds["off"]
        changes = ", ".join(f"{taken} the pass {seconds[taken] / plain - 1:+.1%}" for taken in VARIANTS[1:])
        print(f"{model}: {plain:.2f} s without a record; {changes}")


def measure(model: str, folder: Path, device: torch.device) -> dict[Taken, list[float]]:
    """Return the processor seconds of each variant, round by round."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (SAMPLES, 3, 32, 32), np.uint8)
    split = Split(images, random.integers(0, 10, SAMPLES), np.arange(SAMPLES))
    few = Split(images[:64].copy(), split.labels[:64].copy(), np.arange(64))
    splits = Splits(split, few, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3)
    data = residents(splits, device)
    built = Architecture(model=model, width=WIDTH, classes=10, image=(3, 32, 32))
    network = to_device(built.build(), device)
    seconds: dict[Taken, list[float]] = {taken: [] for taken in VARIANTS}
    for round_ in range(ROUNDS):
        for taken in np.roll(np.array(VARIANTS), round_).tolist():
            trial = Folder.at(str(folder / f"{taken}-{round_}"))
            start = EpochReport(epoch=0, val_accuracy=0.0, val_loss=1.0, seconds=0.0)
            recorder = Recorder.of(taken, splits, trial / "samples", DenseSpec())
            state = State(network, TrainingRecord(architecture=built), [start])
            started = time.process_time()
            plan = TrainingPlan(Recipe(epochs=1, lr=0.001), "crop_flip", round_)
            list(fit(state, data, plan, trial, recorder))
            seconds[taken].append(time.process_time() - started)
    return seconds


if __name__ == "__main__":
    main()

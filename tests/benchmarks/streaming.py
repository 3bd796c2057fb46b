"""What streaming costs: images per second of the loader, and an epoch on a stream compared with one from memory.

    python -m tests.benchmarks.streaming [IMAGES [MODEL [BATCH]]]

It uses artificial JPEG files of ImageNet's shape, as a folder and as Parquet. Variants take turns, and the quickest
round of each counts. On a machine with other load, only the ratios mean something.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from tests.trainables.photos import write_folder, write_rows
from trainables.data import sources
from trainables.data.batches import Augment, Resident, train_batches
from trainables.data_spec import DataSpec
from trainables.models import hub
from trainables.recipe import Recipe
from trainables.training.train import TrainingPlan, to_device, train

ROUNDS = 3
BATCH = int(sys.argv[3]) if len(sys.argv) > 3 else 64
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
AUGMENTS: tuple[Augment, ...] = ("none", "resized_crop_flip")


def main() -> None:
    """Print a line for each kind of data and augmentation, then one for each epoch."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    model = sys.argv[2] if len(sys.argv) > 2 else "resnet18"
    with tempfile.TemporaryDirectory() as folder, _caches_in(folder):
        for name, write in (("folder", write_folder), ("parquet", write_rows)):
            root = Path(folder) / name
            write(root, {"train": images + images // 9, "test": 20})  # a tenth is held out for validation
            data = DataSpec(name=name, path=str(root), size=224, fit="crop", normalise="imagenet", loading="stream")
            load_alone(data)
        epochs(data, model)


def load_alone(data: DataSpec) -> None:
    """Time the loader alone."""
    splits = sources.load(data)
    data_set = Resident(splits.train, splits, DEVICE)
    for augment in AUGMENTS:
        rates = []
        for threads in (1, torch.get_num_threads()):

            def through(threads: int = threads, augment: Augment = augment) -> None:
                torch.set_num_threads(threads)
                for batch in train_batches(data_set, BATCH, augment, 0):
                    assert batch.images.shape[1:] == (3, 224, 224)

            wall, processor = _quickest(through)
            milliseconds = 1e3 * processor / len(data_set)
            rates.append(f"{threads} threads {len(data_set) / wall:.0f} images/s ({milliseconds:.2f} ms)")
        print(f"{data.name}, {augment}: {', '.join(rates)}; in brackets processor time per image", flush=True)


def epochs(data: DataSpec, model: str) -> None:
    """Train on images in memory and on streams of the same images, by turns."""
    settings: dict[str, dict[str, str]] = {
        "memory": {"loading": "memory"},
        "stream": {},
        "stream, cut at random": {"augment": AUGMENTS[1]},
    }
    sets = {how: data.model_copy(update=changes) for how, changes in settings.items()}
    loaded = {how: sources.load(each) for how, each in sets.items()}
    network = to_device(hub.build(model, 10, 3), DEVICE)
    recipe = Recipe(epochs=1, batch_size=BATCH, lr=0.001)
    rounds: dict[str, list[tuple[float, float, float]]] = {how: [] for how in sets}
    for how in [*sets] * ROUNDS:
        data_set = _Watched(loaded[how].train, loaded[how], DEVICE)
        wall, processor = time.perf_counter(), time.process_time()
        list(train(network, data_set, TrainingPlan(recipe, sets[how].augment)))
        rounds[how].append((time.perf_counter() - wall, time.process_time() - processor, data_set.waited))
    wall, processor = (min(times[n] for times in rounds["memory"]) for n in (0, 1))
    for how, times in rounds.items():
        seconds, _, waited = min(times)
        ratios = seconds / wall, min(time[1] for time in times) / processor
        print(
            f"{model} on {DEVICE}, {len(loaded[how].train)} images, {how}: an epoch {seconds:.2f} s, "
            f"{ratios[0]:.2f} times that from memory, {ratios[1]:.2f} in processor time; {waited / seconds:.1%} waiting"
        )


class _Watched(Resident):
    """Measures how long training waits for images."""

    waited = 0.0

    def pixels(self, order: Tensor, steps: Sequence[slice], cuts: Tensor | None = None) -> Iterator[Tensor]:
        batches = super().pixels(order, steps, cuts)
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            yield batch


def _quickest(run: Callable[[], None]) -> tuple[float, float]:
    """Return the wall seconds and the processor seconds of the quickest of `ROUNDS` rounds."""
    times = []
    for _ in range(ROUNDS):
        wall, processor = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(wall for wall, _ in times), min(processor for _, processor in times)


@contextmanager
def _caches_in(folder: str) -> Iterator[None]:
    kept, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = kept


if __name__ == "__main__":
    main()

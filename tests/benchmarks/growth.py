"""How the cost of a trial grows with its network and its data: `python -m tests.benchmarks.growth [--out FOLDER]`.

A trial prunes a ResNet by capacity, compensates it and trains it for an epoch, on noise. One thing at a time is
doubled. Each trial has a fresh process with one thread; its processor time and its largest memory are measured. Slopes
are those of a straight line on two logarithmic axes. A stage grows as its work where its slope is that of its
multiply-accumulates: an epoch passes each sample through the network three times; pruning measures the network for
each start and twice for each part.
"""

import argparse
import json
import resource
import tempfile
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch

from trainables.artifacts.dense import make_dense
from trainables.checkpoints import artifact_store
from trainables.data.splits import Split, Splits
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

STAGES = ("pruning", "epoch", "memory")


class Size(NamedTuple):
    """What a trial has to do."""

    layers: int = 20
    width: float = 0.25
    classes: int = 10
    side: int = 32
    samples: int = 512


AXES: dict[str, tuple[float, ...]] = {
    "layers": (20, 32, 56),
    "width": (0.25, 0.5, 1.0, 2.0),
    "classes": (10, 100, 1000),
    "side": (16, 32, 64),
    "samples": (512, 1024, 2048, 4096),
}


def splits_of(size: Size) -> Splits:
    """Draw images and labels; an eighth of the samples validates."""
    draws = np.random.default_rng(0)

    def split(count: int) -> Split:
        images = draws.integers(0, 256, (count, 3, size.side, size.side), dtype=np.uint8)
        return Split(images, draws.integers(0, size.classes, count), np.arange(count))

    names = tuple(map(str, range(size.classes)))
    return Splits(split(size.samples), split(size.samples // 8), names, (0.5,) * 3, (0.3,) * 3)


def measure(size: Size) -> dict[str, float]:
    """Run one trial. Return processor seconds, MiB, and the multiply-accumulates of the two stages."""
    torch.set_num_threads(1)
    device, splits = torch.device("cpu"), splits_of(size)
    dense = DenseSpec(model=f"resnet{size.layers}", width=size.width, recipe=Recipe(epochs=0), record="off")
    spec = TrialSpec(
        dense=dense, policy="capacity", sparsity=0.8, compensate=True, calibration=128, finetune=Recipe(epochs=1)
    )
    with tempfile.TemporaryDirectory() as scratch:
        storage = Folder.at(scratch)
        make = partial(make_dense, dense, splits, storage, device=device)
        artifact_store.find_or_make(storage, "dense", dense.key(), make)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = [time.process_time()]
        outcome = storage / "trial"
        for _ in run_trial(spec, splits, storage, outcome, device):
            times.append(time.process_time())
        facts = json.loads(outcome.read("outcome.json"))["facts"]
    passes = 8 + 2 * len(facts["parts"])
    return {
        "pruning": times[1] - times[0],
        "epoch": times[2] - times[1],
        "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "work of pruning": facts["macs_total"] * passes * spec.calibration,
        "work of epoch": facts["macs_total"] * 3 * size.samples,
    }


def slope(x: list[float], y: list[float]) -> float:
    """Fit a straight line on logarithmic axes."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw each stage against each axis."""
    figure, panels = plt.subplots(1, len(found), figsize=(3.2 * len(found), 3.2), layout="constrained")
    for panel, (axis, points) in zip(panels, found.items(), strict=True):
        for stage, unit in zip(STAGES, ("s", "s", "MiB"), strict=True):
            panel.loglog([p["at"] for p in points], [p[stage] for p in points], "o-", label=f"{stage} ({unit})")
        panel.set_xticks([p["at"] for p in points], [f"{p['at']:g}" for p in points])
        panel.minorticks_off()
        panel.set_xlabel(axis)
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print a table of slopes, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("growth"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, Any]]] = {}
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for axis, values in AXES.items():
            sizes = [Size()._replace(**{axis: type(getattr(Size(), axis))(value)}) for value in values]
            found[axis] = [
                {"at": value} | pool.apply(measure, (size,)) for value, size in zip(values, sizes, strict=True)
            ]
            (out / "growth.json").write_text(json.dumps(found, indent=1))
    print("| axis | " + " | ".join(f"{stage}: smallest to largest, slope (work)" for stage in STAGES) + " |")
    print("|---" * (len(STAGES) + 1) + "|")
    for axis, points in found.items():
        at, cells = [point["at"] for point in points], []
        for stage in STAGES:
            own = [point[stage] for point in points]
            work = f"work of {stage}"
            of_work = f" ({slope(at, [point[work] for point in points]):.2f})" if work in points[0] else ""
            cells.append(f"{own[0]:.1f} to {own[-1]:.1f}, {slope(at, own):.2f}{of_work}")
        print(f"| {axis} {at[0]:g} to {at[-1]:g} | " + " | ".join(cells) + " |", flush=True)
    draw(found, out / "growth.png")


if __name__ == "__main__":
    main()

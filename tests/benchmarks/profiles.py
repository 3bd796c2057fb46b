"""What a profile costs, compared with a plain loop that prunes a copy for each part and level, and a training epoch.

    python -m tests.benchmarks.profiles [--images N] [--steps N]

It uses one thread and prints seconds of processor time, all from one run. The time of an epoch is extrapolated from a
few training steps, half of them before the profile and half after it. Images are noise and networks are untrained;
neither changes the work.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trainables.allocation.profiles import Profile, levels_of
from trainables.artifacts.profile import BATCH, measure_profile
from trainables.compensation.compensation import Targets, compensate
from trainables.data.batches import Resident
from trainables.data.splits import Split, Splits
from trainables.models import hub
from trainables.models.layers import weight_name, weight_of
from trainables.names import BLOCKS, GranularityName
from trainables.pruning.context import Calibration, PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Cut, top_units
from trainables.recipe import Recipe
from trainables.spec import LEVELS, ProfileSpec
from trainables.training.calibration import calibration_samples
from trainables.training.process import WorkerResources, prepare_process
from trainables.training.train import TrainingPlan, to_device, train
from trainables.training.updates import Updates

EPOCH = 45_000  # images
STEP = 128
CPU = torch.device("cpu")
Result = TypeVar("Result")
CRITERION: dict[GranularityName, str] = {"weight": "magnitude", "channel": "l1"}


def plain_profile(dense: nn.Module, spec: ProfileSpec, calibration: Calibration) -> Profile:
    """Measure a profile by its definition: for every part and level, copy the network, remove units, evaluate."""
    example, levels = calibration.images[:1], levels_of(spec.levels)
    whole = view(copy.deepcopy(dense), spec.granularity, example)
    scores = CRITERIA[spec.criterion](PruningContext(whole, spec.dense.seed, calibration))
    expected = _logits(dense, calibration)
    curves: tuple[dict[str, tuple[float, ...]], ...] = ({}, {}, {}, {})
    for part in whole.parts:
        rows = []
        for level in levels:
            model = copy.deepcopy(dense)
            kept_units = {part.name: top_units(scores[part.name], max(part.floor, round((1 - level) * part.units)))}
            cut = view(model, spec.granularity, example).remove(kept_units)
            if spec.compensate:
                _repair(model, dense, cut, spec, calibration)
            logits = _logits(model, calibration)
            p, q = expected.softmax(1), logits.softmax(1)
            error = (logits - expected).square().mean(1)
            divergence = (p * (p.log() - q.log())).sum(1).mean()
            rows.append((_accuracy(logits, calibration), float(divergence), float(error.mean()), float(error.max())))
        for curve, values in zip(curves, zip(*rows, strict=True), strict=True):
            curve[part.name] = values
    return Profile(levels, _accuracy(expected, calibration), *(*curves, curves[0]))


def _repair(model: nn.Module, dense: nn.Module, cut: Cut, spec: ProfileSpec, calibration: Calibration) -> None:
    """Fit the layers that lose weights, or all where a block is gone."""
    targets = Targets.read(copy.deepcopy(dense).eval(), calibration.inputs, spec.dense.seed)
    whole = dict(dense.named_modules())
    if spec.granularity not in BLOCKS:
        readers = {name for name, m in model.named_modules() if name in whole and _reads_less(m, whole[name])}
        lose = {n for n in targets.outputs if n in readers or weight_name(n) in cut.masks}
        targets = replace(targets, outputs={n: targets.outputs[n] for n in lose})
    compensate(model, targets, cut, calibration.inputs, batch_statistics=False)


def _reads_less(layer: nn.Module, whole: nn.Module) -> bool:
    layers = isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(whole, nn.Conv2d | nn.Linear)
    return layers and weight_of(layer).shape[1] < weight_of(whole).shape[1]


@torch.no_grad()
def _logits(model: nn.Module, calibration: Calibration) -> Tensor:
    """Return the logits in eval mode: (N, classes) in float64."""
    training = model.training
    logits = torch.cat([model.eval()(images) for images in calibration.inputs_of(BATCH)]).double()
    model.train(training)
    return logits


def _accuracy(logits: Tensor, calibration: Calibration) -> float:
    return float((logits.argmax(1) == calibration.content[1]).double().mean())


def main() -> None:
    """Print both comparisons as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1024, help="images of the ResNet-56 profile")
    parser.add_argument("--steps", type=int, default=30, help="training steps from which the epoch is extrapolated")
    options = parser.parse_args()
    prepare_process(WorkerResources())
    for granularity in CRITERION:
        for model in ("resnet20", "vgg16"):
            print(model, granularity, json.dumps(against_plain_loop(model, granularity)), flush=True)
        print(
            "resnet56", granularity, json.dumps(against_epoch(granularity, options.images, options.steps)), flush=True
        )


def against_plain_loop(model: str, granularity: GranularityName) -> dict[str, float]:
    """Profile a network of width 0.25 on 256 images, both ways."""
    dense, calibration = to_device(hub.build(model, 10, 3, 0.25), CPU), calibration_samples(noise(256), 256, CPU)
    spec = ProfileSpec(granularity=granularity, criterion=CRITERION[granularity], levels=LEVELS)
    seconds, fast = timed(lambda: measure_profile(dense, calibration.images[:1], spec, calibration))
    plain_seconds, plain = timed(lambda: plain_profile(dense, spec, calibration))
    differences = [
        np.abs(np.subtract(fast.distortion[name], curve)).max() / max(curve) for name, curve in plain.distortion.items()
    ]
    return {
        "profile_seconds": seconds,
        "plain_loop_seconds": plain_seconds,
        "times_as_fast": plain_seconds / seconds,
        "largest_difference_of_a_distortion": float(max(differences)),
    }


def against_epoch(granularity: GranularityName, images: int, steps: int) -> dict[str, float]:
    """Profile a full-width ResNet-56, and train it for a few steps."""
    dense, splits = to_device(hub.build("resnet56", 10, 3), CPU), noise(max(images, STEP * steps // 2))
    calibration = calibration_samples(splits, images, CPU)
    spec = ProfileSpec(granularity=granularity, criterion=CRITERION[granularity], levels=LEVELS)
    before = step_seconds(dense, splits, steps // 2)
    seconds, profile = timed(lambda: measure_profile(dense, calibration.images[:1], spec, calibration))
    after = step_seconds(dense, splits, steps // 2)
    epoch = (before + after) / 2 * EPOCH / STEP
    return {
        "profile_seconds": seconds,
        "parts": len(profile.accuracy),
        "levels": len(profile.levels),
        "epoch_seconds_extrapolated": epoch,
        "profile_over_epoch": seconds / epoch,
        "step_seconds_before": before,
        "step_seconds_after": after,
    }


def step_seconds(model: nn.Module, splits: Splits, steps: int) -> float:
    """Measure the mean processor seconds of a training step, after one step that fills the caches."""
    recipe = Recipe(epochs=1, batch_size=STEP)
    updates = Updates(model, recipe)

    def run(count: int) -> None:
        whole, size = splits.train, STEP * count
        data = Resident(Split(whole.images[:size], whole.labels[:size], whole.ids[:size]), splits, CPU)
        list(train(model, data, TrainingPlan(recipe, "crop_flip"), updates))

    run(1)
    return timed(lambda: run(steps))[0] / steps


def noise(count: int) -> Splits:
    """Make random images of CIFAR-10's shape."""
    draw = np.random.default_rng(0)
    split = Split(
        draw.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), draw.integers(0, 10, count), np.arange(count)
    )
    return Splits(split, split, tuple("0123456789"), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def timed(run: Callable[[], Result]) -> tuple[float, Result]:
    """Run a function; return its seconds of processor time and its result."""
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


if __name__ == "__main__":
    main()

"""Do allocations still change when curves have more levels than policies read? And what did fewer levels cost?

    python -m tests.benchmarks.profile_levels CHECKPOINT [--calibration N] [--keep FOLDER] [--time]

CHECKPOINT is a dense network, for example one in artifacts/dense of a storage. Its weights are profiled once, at 201
levels. Other sets of levels are taken from this profile: the 101 that policies read; "six", which profiles had before;
and "bisected", which splits an interval where its line misses the middle by more than `TOLERANCE` of the curve's
range, on the scale of square roots. The last two fill the gaps with a monotone cubic (PCHIP).

It prints for each policy and sparsity: the summed distortion at the chosen counts, over that of 201 levels; the share
of the budget that lies elsewhere, and the largest change of a layer's density, compared with 101 levels (of these,
compared with 201); the validation accuracy, recalibrated. The sum and the accuracy are those of RDP only.
"""

import argparse
import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from search.networks.network import trained
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.allocation.profiles import CURVES, Profile, from_parquet, levels_of, to_parquet
from trainables.artifacts.profile import measure_profile
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Prunable, top_units
from trainables.spec import LEVELS, ProfileSpec, TrialSpec
from trainables.training.fit import residents
from trainables.training.process import WorkerResources, prepare_process
from trainables.training.recalibration import recalibrate
from trainables.training.train import evaluate

FINEST = 2 * LEVELS - 1
SIX = (0, 50, 70, 85, 95, 100)  # of 100
TOLERANCE = 0.01
SPARSITIES = (0.8, 0.9, 0.95)
SUMMED = {"rdp": "distortion", "rdp-worst": "worst_distortion"}
CPU = torch.device("cpu")

Curve = NDArray[np.float64]  # (levels,)
Quota = Mapping[str, int]  # part name -> units to keep


def main() -> None:
    """Print the table of one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--calibration", type=int, default=512, help="training samples")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the profile; a later run reads it")
    parser.add_argument("--time", action="store_true", help="measure 6 and 101 levels, too, for their time")
    options = parser.parse_args()
    prepare_process(WorkerResources())
    network = trained(options.checkpoint, "the benchmark")
    splits, example = network.splits("the benchmark"), network.architecture.example()
    prunable = view(network.model, "weight", example)
    scores = CRITERIA["magnitude"](PruningContext(prunable))
    finest = profiled(options.checkpoint, options.calibration, options.keep, options.time)
    data = residents(splits, CPU)

    def accuracy(quota: Quota) -> float:
        pruned, trial = copy.deepcopy(network.model), TrialSpec()
        view(pruned, "weight", example).remove({name: top_units(scores[name], n) for name, n in quota.items()})
        recalibrate(pruned, data[0], trial.recalibrate, trial.finetune.batch_size, 0)
        return evaluate(pruned, data[1]).metric

    print(f"{network.architecture.model}: {len(prunable.parts)} layers, dense {100 * accuracy({}):.1f} %")
    print("| policy | S | levels | measured | sum | elsewhere % | change of a density | accuracy |")
    for policy in (*SUMMED, "sensitivity", "capacity-functional"):
        curve = SUMMED.get(policy, "accuracy")
        sets = {
            "201": (finest, FINEST),
            "101": thinned(finest, curve),
            "bisected": thinned(finest, curve, bisected),
            "six": thinned(finest, curve, lambda _: SIX),
        }
        for sparsity in SPARSITIES:
            quotas = {}
            for name, (profile, _) in sets.items():
                context = PruningContext(prunable, shared={"profile": profile})
                quotas[name] = allocate(POLICIES[policy], Problem(context, scores, sparsity, "params"))
            for name, quota in quotas.items():
                change = Change.of(quota, quotas["201" if name == "101" else "101"], prunable)
                ratio = (
                    f"{summed(finest, policy, quota, prunable) / summed(finest, policy, quotas['201'], prunable):.3f}"
                )
                cells = (policy, sparsity, name, f"{sets[name][1]:.0f}", ratio if policy in SUMMED else "")
                accurate = f"{100 * accuracy(quota):.1f}" if policy in SUMMED and name in ("101", "six") else ""
                numbers = (f"{100 * change.elsewhere:.1f}", f"{change.density:.3f}", accurate)
                print("|", " | ".join(map(str, (*cells, *numbers))), "|", flush=True)


@dataclass(frozen=True)
class Change:
    """How far two allocations of one budget lie apart."""

    elsewhere: float  # share of the budget that lies in other layers
    density: float  # largest difference of a layer's densities

    @classmethod
    def of(cls, one: Quota, other: Quota, prunable: Prunable) -> "Change":
        """Compare two allocations."""
        differences = {part: abs(one[part.name] - other[part.name]) for part in prunable.parts}
        elsewhere = sum(differences.values()) / 2 / sum(other.values())
        return cls(elsewhere, max(units / part.units for part, units in differences.items()))


def profiled(checkpoint: str, calibration: int, keep: Path | None, timed: bool) -> Profile:
    """Measure 201 levels, or read what an earlier run kept. Prints seconds of processor time."""
    file = None if keep is None else keep / f"{Path(checkpoint).name}-{calibration}.parquet"
    if file is not None and file.exists():
        return from_parquet(file.read_bytes())
    for levels in (len(SIX), LEVELS, FINEST) if timed else (FINEST,):
        network = trained(checkpoint, "the benchmark")
        samples = network.calibration(calibration, "the benchmark", CPU)
        spec = ProfileSpec(calibration=calibration, levels=levels)
        started = time.process_time()
        profile = measure_profile(network.model, network.architecture.example(), spec, samples)
        print(f"{levels} levels: {time.process_time() - started:.1f} s, {samples.evaluations} evaluations", flush=True)
    if file is not None:
        file.write_bytes(to_parquet(profile))
    return profile


def summed(finest: Profile, policy: str, quota: Quota, prunable: Prunable) -> float:
    """Sum the distortions at the counts that an allocation keeps, from the finest curve."""
    curves = getattr(finest, SUMMED.get(policy, "distortion"))
    gone = {part.name: 1.0 - quota[part.name] / part.units for part in prunable.parts}
    return float(sum(np.interp(gone[name], finest.levels, curve) for name, curve in curves.items()))


def thinned(finest: Profile, curve: str, pick: Callable[[Curve], Sequence[int]] | None = None) -> tuple[Profile, float]:
    """Take 101 levels of a profile; with `pick`, only those that it picks of a curve, and a cubic between them.

    Returns the profile and the mean number of measured levels.
    """
    curves: dict[str, dict[str, tuple[float, ...]]] = {name: {} for name in CURVES}
    counts = []
    for part in finest.accuracy:
        picked = range(LEVELS) if pick is None else pick(np.array(getattr(finest, curve)[part][::2]))
        counts.append(len(picked))
        for name in CURVES:
            values = np.array(getattr(finest, name)[part][::2])
            cubic = PchipInterpolator([level / 100 for level in picked], values[list(picked)])
            curves[name][part] = tuple(cubic(levels_of(LEVELS)).tolist())
    return Profile(levels_of(LEVELS), finest.dense_accuracy, **curves), float(np.mean(counts))


def bisected(curve: Curve) -> Sequence[int]:
    """Pick levels of a curve: split an interval while its line misses the middle by more than the tolerance."""
    roots = np.sqrt(np.abs(curve - curve[0]))
    picked, intervals = {0, 100}, [(0, 25), (25, 50), (50, 75), (75, 100)]
    while intervals:
        low, high = intervals.pop()
        middle = (low + high) // 2
        picked |= {low, high, middle}
        line = np.interp(middle, (low, high), roots[[low, high]])
        if high - low > 2 and abs(line - roots[middle]) > TOLERANCE * np.ptp(roots):
            intervals += [(low, middle), (middle, high)]
    return sorted(picked)


if __name__ == "__main__":
    main()

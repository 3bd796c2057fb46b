"""Where a network is most compact: how much of each part can be removed before accuracy falls."""

import time
from typing import Any

from search.networks.network import Network, trial_spec
from search.results.scale import scale_of
from trainables.allocation.profiles import FALLS, Profile, tolerated, units_at
from trainables.artifacts.probes import probe
from trainables.artifacts.profile import measure_profile
from trainables.frozen import Frozen
from trainables.models.layers import prunable_layers
from trainables.names import GranularityName, Source
from trainables.plugins import needs_of
from trainables.pruning.granularities import view
from trainables.training.process import own_device
from trainables.training.train import to_device

SHOWN = 21  # levels 0, 0.05, ..., 1; policies read 101, which take five times as long


class PartTolerance(Frozen):
    """How much of one part can be removed."""

    name: str
    units: int
    weights: int  # of its layers
    sparsities: tuple[float, ...]  # share of its units removed, at each level of the profile
    tolerated: dict[int, float]  # points -> sparsity at which accuracy has fallen by them, or as `Scale.fall`


class Compactness(Frozen):
    """How much of each part of a network can be removed while all others stay whole."""

    network: str
    model: str
    metric: str
    higher_is_better: bool
    granularity: GranularityName
    criterion: str
    calibration: int  # training samples
    compensated: bool  # whether the layers that lose weights were fitted again
    most_compact: dict[int, str]  # points -> the part with the largest tolerated sparsity
    parts: tuple[PartTolerance, ...]
    profile: Profile
    seconds: float  # that measuring the profile took
    held: dict[str, str]  # layer or block that is not pruned -> what keeps it, the largest first


def compactness(
    network: Network, granularity: str, criterion: str, calibration: int, compensate: bool = False
) -> Compactness:
    """Measure a trained network on its first training samples. Raises ValueError with all that is wrong.

    compensate: whether the layers that lose weights are fitted again first.
    """
    settings = {
        "granularity": granularity,
        "criterion": criterion,
        "calibration": calibration,
        "compensate": compensate,
    }
    spec = trial_spec(settings, seed=0).profile.model_copy(update={"levels": SHOWN})
    device = own_device()
    model, example = to_device(network.model, device), network.architecture.example(device)
    samples = network.calibration(spec.calibration, "profile", device)
    started = time.perf_counter()
    shared: dict[Source, Any] = {}
    if "probe" in needs_of("criterion", spec.criterion).inputs:
        shared["probe"], _ = probe(model, example, network.splits("profile"), spec.probe)
    profile = measure_profile(model, example, spec, samples, shared)
    seconds = time.perf_counter() - started
    depth = [layer.name for layer in prunable_layers(model, example)]
    parts, scale = [], scale_of(network.metric.name)
    prunable = view(model, spec.granularity, example)
    for part in sorted(prunable.parts, key=lambda part: depth.index(part.layers[0].name)):
        sparsities = tuple(1.0 - units_at(part, level) / part.units for level in profile.levels)
        curve = profile.accuracy[part.name]
        parts.append(
            PartTolerance(
                name=part.name,
                units=part.units,
                weights=sum(layer.size for layer in part.layers),
                sparsities=sparsities,
                tolerated={points: tolerated(sparsities, curve, scale.fall(points, curve[0])) for points in FALLS},
            )
        )
    return Compactness(
        network=network.name,
        model=network.architecture.model,
        metric=network.metric.name,
        higher_is_better=network.metric.higher_is_better,
        granularity=spec.granularity,
        criterion=spec.criterion,
        calibration=len(samples),
        compensated=compensate,
        most_compact={points: max(parts, key=lambda part: part.tolerated[points]).name for points in FALLS},
        parts=tuple(parts),
        profile=profile,
        seconds=seconds,
        held=dict(prunable.held),
    )

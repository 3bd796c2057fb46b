"""What each layer would keep under a policy, before any trial is paid for."""

import re
import time
from collections.abc import Mapping

import torch
from pydantic import ValidationError

from search.study import SEARCHED
from trainables import catalog, checkpoints
from trainables.allocation.plan import looks_at_samples, plan
from trainables.allocation.policies import POLICIES
from trainables.checkpoints import Architecture
from trainables.data import sources
from trainables.learning.calibration import calibration_samples
from trainables.learning.profile import measure_profile
from trainables.models import hub
from trainables.pruning.layers import count
from trainables.spec import BudgetKind, DataSpec, DenseSpec, Frozen, TrialSpec
from trainables.storage import Folder


class LayerShare(Frozen):
    """One layer before and after."""

    name: str
    size: int  # weights
    keep: int
    density: float
    macs: int  # multiply-accumulates kept, for one image


class Allocation(Frozen):
    """What a policy would keep."""

    policy: str
    sparsity: float
    budget: BudgetKind
    layers: list[LayerShare]
    params_kept: int
    macs_kept: int
    cost_seconds: float  # scoring and sharing the budget


def allocation(network: str, settings: Mapping[str, object], image: str, classes: int, seed: int) -> Allocation:
    """Plan an allocation for a checkpoint, or for a model by name with fresh weights; ValueError says what is wrong.

    settings: of the TrialSpec. image, as "3x32x32", and classes: what a model by name is built for.
    """
    spec = _spec(settings, seed)
    built, model, data = _network(network, image, classes, seed)
    before = count(model, {}, built.example())
    started = time.perf_counter()
    calibration = profile = None
    profiled = POLICIES[spec.policy].profiled
    if profiled or looks_at_samples(spec):
        if data is None:
            raise ValueError(
                f"policy {spec.policy!r} and criterion {spec.criterion!r} must measure a trained network, "
                f"but {network!r} is a name; give a checkpoint"
            )
        calibration = calibration_samples(sources.load(data), spec.calibration, torch.device("cpu"))
        profile = measure_profile(model, built.example(), spec.profile, calibration) if profiled else None
    made = plan(model, built.example(), spec, calibration, profile)
    seconds = time.perf_counter() - started
    after = count(model, made.carry_out(), built.example())
    kept, macs = after.weights, after.macs
    layers = [
        LayerShare(name=name, size=size, keep=kept[name], density=kept[name] / size, macs=macs[name])
        for name, size in before.weights.items()
    ]
    return Allocation(
        policy=spec.policy,
        sparsity=spec.sparsity,
        budget=spec.budget,
        layers=layers,
        params_kept=after.params_kept,
        macs_kept=after.macs_kept,
        cost_seconds=seconds,
    )


def _spec(settings: Mapping[str, object], seed: int) -> TrialSpec:
    try:
        spec = TrialSpec.model_validate({"dense": DenseSpec(seed=seed), **settings})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}, but got {e['input']!r}" for e in error.errors())
        raise ValueError("\n".join(problems)) from None
    if found := catalog.mismatches(spec):
        raise ValueError("\n".join(found))
    if spec.policy == SEARCHED:
        raise ValueError(f"policy must decide without trials, but {SEARCHED!r} does not; run a study")
    return spec


def _network(
    network: str, image: str, classes: int, seed: int
) -> tuple[Architecture, torch.nn.Module, DataSpec | None]:
    """Load a checkpoint, with the data that it was trained on, or build a model by name."""
    folder = Folder.at(network)
    if checkpoints.is_whole(folder):
        saved = checkpoints.load(folder)
        built = Architecture.model_validate(saved.record["architecture"])
        model = checkpoints.rebuild(built, saved.tensors["network"])
        return built, model, DataSpec.model_validate(saved.record["data"])
    shape = re.fullmatch(r"(\d+)x(\d+)x(\d+)", image)
    if not shape:
        raise ValueError(f"--image must be channels x height x width, as 3x32x32, but got {image!r}")
    channels, height, width = (int(extent) for extent in shape.groups())
    hub.check(network)
    hub.check_images(network, classes, (channels, height, width))
    torch.manual_seed(seed)
    built = Architecture(model=network, width=1.0, classes=classes, image=(channels, height, width))
    return built, built.build(), None

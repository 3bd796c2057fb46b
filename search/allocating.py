"""What each layer would keep under a policy, before any trial is paid for."""

import re

import torch
from pydantic import ValidationError

from trainables import checkpoints
from trainables.allocation.plan import plan
from trainables.allocation.policies import POLICIES
from trainables.checkpoints import Architecture
from trainables.models import hub
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.layers import count
from trainables.pruning.views import GRANULARITIES
from trainables.spec import BudgetKind, DenseSpec, Frozen, TrialSpec
from trainables.storage import Folder
from trainables.tables import pick

DEFAULT_CRITERION = {"weight": "magnitude", "channel": "l1"}


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


def allocation(
    network: str,
    policy: str,
    sparsity: float,
    budget: str,
    granularity: str,
    criterion: str | None,
    image: str,
    classes: int,
    seed: int,
) -> Allocation:
    """Plan an allocation for a checkpoint, or for a model by name with fresh weights; ValueError says what is wrong."""
    pick("granularity", granularity, GRANULARITIES)
    chosen = criterion or DEFAULT_CRITERION[granularity]
    allowed = pick("criterion", chosen, CRITERIA).granularities
    if granularity not in allowed:
        raise ValueError(
            f"criterion {chosen!r} must go with granularity {' or '.join(allowed)}, but got {granularity!r}"
        )
    if pick("policy", policy, POLICIES).profiled or policy == "searched":
        raise ValueError(f"policy must decide without trials, but {policy!r} does not; run a study")
    try:
        spec = TrialSpec.model_validate(
            {
                "dense": DenseSpec(seed=seed),
                "granularity": granularity,
                "criterion": chosen,
                "policy": policy,
                "sparsity": sparsity,
                "budget": budget,
            }
        )
    except ValidationError as error:
        raise ValueError(
            "\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}, but got {e['input']!r}" for e in error.errors())
        ) from None
    built, model = _network(network, image, classes, seed)
    before = count(model, {}, built.example())
    made = plan(model, built.example(), spec, None)
    after = count(model, made.carry_out(), built.example())
    layers = [
        LayerShare(
            name=name, size=size, keep=after.weights[name], density=after.weights[name] / size, macs=after.macs[name]
        )
        for name, size in before.weights.items()
    ]
    return Allocation(
        policy=policy,
        sparsity=sparsity,
        budget=spec.budget,
        layers=layers,
        params_kept=after.params_kept,
        macs_kept=after.macs_kept,
        cost_seconds=made.seconds,
    )


def _network(network: str, image: str, classes: int, seed: int) -> tuple[Architecture, torch.nn.Module]:
    folder = Folder.at(network)
    if checkpoints.is_whole(folder):
        saved = checkpoints.load(folder)
        built = Architecture.model_validate(saved.record["architecture"])
        return built, checkpoints.rebuild(built, saved.tensors["network"])
    shape = re.fullmatch(r"(\d+)x(\d+)x(\d+)", image)
    if not shape:
        raise ValueError(f"--image must be channels x height x width, as 3x32x32, but got {image!r}")
    channels, height, width = (int(extent) for extent in shape.groups())
    hub.check(network)
    hub.check_images(network, classes, (channels, height, width))
    torch.manual_seed(seed)
    built = Architecture(model=network, width=1.0, classes=classes, image=(channels, height, width))
    return built, built.build()

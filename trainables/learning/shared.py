"""What trials share beside dense networks, by kind: measured once on one of them, found by the key of its spec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainables import artifacts
from trainables.allocation.plan import looks_at
from trainables.data.splits import Splits
from trainables.learning.profile import load_profile, make_profile
from trainables.outcome import Cost, total
from trainables.pruning.subject import Source
from trainables.spec import Frozen, TrialSpec
from trainables.storage import Folder


@dataclass(frozen=True)
class Shared:
    """How one kind is named, made into a folder from the dense network that a storage has, and read."""

    spec: Callable[[TrialSpec], Frozen]
    make: Callable[[Any, Splits, Folder, Folder, torch.device], None]  # spec, splits, storage, folder, device
    load: Callable[[Folder], tuple[Any, Cost]]
    done: str  # said of those that are made


SHARED: Mapping[Source, Shared] = {
    "profile": Shared(lambda spec: spec.profile, make_profile, load_profile, "profiles measured"),
}


def needed(spec: TrialSpec) -> dict[Source, Frozen]:
    """Name what a trial needs before it starts: kind -> spec."""
    asked = looks_at(spec)
    return {kind: shared.spec(spec) for kind, shared in SHARED.items() if kind in asked}


def read(spec: TrialSpec, storage: Folder) -> tuple[dict[Source, Any], Cost]:
    """Read what a trial needs, which `storage` has, and what making it took."""
    known: dict[Source, Any] = {}
    costs = [Cost(seconds=0.0, evaluations=0, images=0)]
    for kind, named in needed(spec).items():
        made = artifacts.find(storage, kind, named.key())
        assert made is not None, f"{kind} is made before the trials that look at it"
        known[kind], cost = SHARED[kind].load(made)
        costs.append(cost)
    spent = Cost(
        seconds=sum(cost.seconds for cost in costs),
        evaluations=total(cost.evaluations for cost in costs),
        images=total(cost.images for cost in costs),
    )
    return known, spent

"""What trials share beside dense networks, by kind: measured once on one of them, found by the key of its spec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.artifacts.gating import load_gating, make_gating
from trainables.artifacts.probes import load_probes, make_probes
from trainables.artifacts.profile import load_profile, make_profile
from trainables.checkpoints import artifact_store
from trainables.frozen import Frozen
from trainables.names import Source
from trainables.outcome import Cost
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder


@dataclass(frozen=True)
class Shared:
    """How one kind is named, made into a folder from the dense network that a storage has, and read."""

    spec: Callable[[TrialSpec], Frozen]
    make: Callable[..., None]  # spec, splits, storage, folder, device, and a team where it trains
    load: Callable[[Folder], tuple[Any, Cost]]
    done: str  # said of those that are made
    trains: bool = False  # whether several workers can share it


SHARED: Mapping[Source, Shared] = {  # in the order in which they are made
    "probe": Shared(lambda spec: spec.probing, make_probes, load_probes, "networks probed"),
    "profile": Shared(lambda spec: spec.profile, make_profile, load_profile, "profiles measured"),
    "gates": Shared(lambda spec: spec.gating, make_gating, load_gating, "gates trained", trains=True),
}


def needed(spec: TrialSpec) -> dict[Source, Frozen]:
    """Name what a trial needs before it starts: kind -> spec."""
    first = spec.prunings[0]  # the others find another network than the dense one
    asked = first.inputs
    return {kind: shared.spec(first) for kind, shared in SHARED.items() if kind in asked}


def read(spec: TrialSpec, storage: Folder) -> tuple[dict[Source, Any], Cost]:
    """Read what a trial needs, which `storage` has, and what making it took."""
    known: dict[Source, Any] = {}
    costs: list[Cost] = []
    for kind, named in needed(spec).items():
        made = artifact_store.find(storage, kind, named.key())
        assert made is not None, f"{kind} is made before the trials that look at it"
        known[kind], cost = SHARED[kind].load(made)
        costs.append(cost)
    return known, Cost.of_all(costs)

"""The kinds of artifact that trials share beside dense networks; each is stored under the key of its spec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.artifacts.gating import load_gating, make_gating
from trainables.artifacts.latency import load_latency, make_latency
from trainables.artifacts.needs import needed
from trainables.artifacts.probes import load_probes, make_probes
from trainables.artifacts.profile import load_profile, make_profile
from trainables.checkpoints import artifact_store
from trainables.names import Source
from trainables.outcome import Cost
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder


@dataclass(frozen=True)
class Shared:
    """How the artifacts of one kind are made and loaded."""

    make: Callable[
        ..., None
    ]  # spec, splits, storage, folder, device -> writes the artifact to folder; with a team if it trains
    load: Callable[[Folder], tuple[Any, Cost]]  # the artifact, and the cost of making it
    label: str  # what the progress of a study calls the finished ones
    trains: bool = False  # several workers can make it together
    alone: bool = False  # one is made at a time, as others beside it would change it


SHARED: Mapping[Source, Shared] = {  # in this order, as in `needs`
    "latency": Shared(make_latency, load_latency, "latency tables measured", alone=True),
    "probe": Shared(make_probes, load_probes, "networks probed"),
    "profile": Shared(make_profile, load_profile, "profiles measured"),
    "gates": Shared(make_gating, load_gating, "gates trained", trains=True),
}


def read(spec: TrialSpec, storage: Folder) -> tuple[dict[Source, Any], Cost]:
    """Load the artifacts that a trial reads, by kind, and the cost of making them; `storage` must have them."""
    artifacts: dict[Source, Any] = {}
    costs: list[Cost] = []
    for kind, artifact_spec in needed(spec).items():
        folder = artifact_store.find(storage, kind, artifact_spec.key())
        assert folder is not None, f"{kind} must be made before the trials that read it"
        artifacts[kind], cost = SHARED[kind].load(folder)
        costs.append(cost)
    return artifacts, Cost.of_all(costs)

"""What a trial starts from: its dense networks, and what was measured or trained on them. Needs no torch."""

from collections.abc import Callable, Mapping

from trainables.checkpoints.artifact_store import Kind
from trainables.frozen import Frozen
from trainables.names import Source
from trainables.spec import TrialSpec

SPECS: Mapping[Source, Callable[[TrialSpec], Frozen | None]] = {  # in this order: each may read those before it
    "latency": lambda spec: spec.latency_table,
    "probe": lambda spec: spec.probing,
    "profile": lambda spec: spec.profile,
    "gates": lambda spec: spec.gating,
}


def needed(spec: TrialSpec) -> dict[Source, Frozen]:
    """Return the specs of the artifacts that a trial reads beside dense networks: kind -> spec."""
    first = spec.prunings[0]  # only the first pruning starts from the dense network
    return {kind: found for kind, of in SPECS.items() if kind in first.inputs and (found := of(first))}


def artifacts_of(spec: TrialSpec) -> list[tuple[Kind, Frozen]]:
    """List the kind and the spec of each artifact that a trial starts from, dense networks first."""
    return [*(("dense", network) for network in spec.networks), *needed(spec).items()]

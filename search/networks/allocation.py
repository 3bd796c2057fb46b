"""What each layer of a network keeps under a policy, without running a trial."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from search.networks.network import Network, trial_spec
from trainables.allocation.plan import plan
from trainables.artifacts.probes import probe
from trainables.artifacts.profile import measure_profile
from trainables.catalog import feasibility
from trainables.frozen import Frozen
from trainables.latency.measuring import inputs_of
from trainables.latency.table import LatencyTable
from trainables.models import own_code
from trainables.models.layers import count
from trainables.names import SEARCHES, Source
from trainables.pruning.granularities import view
from trainables.pruning.rules import labels, rounded
from trainables.spec import BudgetKind
from trainables.training.calibration import calibration_samples


class LayerShare(Frozen):
    """What one layer keeps."""

    name: str
    size: int  # weights of the dense layer
    keep: int  # weights kept
    density: float
    macs: int  # multiply-accumulates kept, for one image
    rule: str  # that holds for its part; empty if there is none


class Allocation(Frozen):
    """What a network keeps under a policy."""

    policy: str
    sparsity: float
    budget: BudgetKind
    layers: list[LayerShare]
    params_kept: int
    macs_kept: int
    params_fixed: int  # parameters that are never pruned, beside the weights
    macs_fixed: int  # of the multiply-accumulates kept, those of products without weights
    cost_seconds: float  # of scoring and of dividing the budget
    held: dict[str, str]  # layer or block that is not pruned -> what keeps it, the largest first
    parts: dict[str, float]  # part -> fraction of its units that it keeps
    rounded: dict[str, str]  # part that keeps another share than its rule asks for, in whole units -> these shares


def allocation(network: Network, settings: Mapping[str, object], seed: int) -> Allocation:
    """Plan an allocation for a network. settings: fields of the TrialSpec. Raises ValueError with all that is wrong."""
    spec = trial_spec(settings, seed)
    spec = spec.with_code(own_code.described(spec.functions))
    if spec.policy in SEARCHES:
        raise ValueError(f"policy must be one that runs no trials, but got {spec.policy!r}; run a study")
    if spec.budget == "latency" and not spec.device.table:
        raise ValueError(
            "budget 'latency' must come with a table, but got none; measure one by howcompact latency-table, and "
            "give its file by --table"
        )
    if "gates" in spec.inputs:
        raise ValueError("policy and criterion must not use gates, which this command does not train; run a study")
    built, model = network.architecture, network.model
    if spec.granularity == "channel":
        feasibility.prove_cuts(network.name, model, built.example())
    free = view(model, spec.granularity, built.example(), spec.round_to)
    feasibility.refuse_idle_rules(free, spec.layers)
    before = count(model, {}, built.example())
    started = time.perf_counter()
    calibration, shared = None, dict[Source, Any]()
    if spec.device.table:
        shared["latency"] = LatencyTable.at(spec.device.table)
        shared["latency"].refuse_other(free, inputs_of(built.example()))
    if inputs := spec.inputs - {"latency"}:
        asker = f"policy {spec.policy!r} with criterion {spec.criterion!r}"
        splits = network.splits(asker)
        dense = spec.dense.model_copy(update={"data": network.data})
        if found := feasibility.unsaid([spec.model_copy(update={"dense": dense})]):
            raise ValueError("\n".join(found))
        calibration = calibration_samples(splits, spec.calibration, torch.device("cpu"))
        if "probe" in inputs:
            shared["probe"], _ = probe(model, built.example(), splits, spec.probe)
        if "profile" in inputs:
            shared["profile"] = measure_profile(model, built.example(), spec.profile, calibration, shared)
    planned = plan(model, built.example(), spec, calibration, shared)
    seconds = time.perf_counter() - started
    after = count(model, planned.carry_out().masks, built.example())
    kept, macs = (dict.fromkeys(before.weights, 0) | counts for counts in (after.weights, after.macs))
    rules = labels(planned.prunable, spec.layers)
    layers = [
        LayerShare(
            name=name, size=size, keep=kept[name], density=kept[name] / size, macs=macs[name], rule=rules.get(name, "")
        )
        for name, size in before.weights.items()
    ]
    return Allocation(
        policy=spec.policy,
        sparsity=spec.sparsity,
        budget=spec.budget,
        layers=layers,
        params_kept=after.params_kept,
        macs_kept=after.macs_kept,
        params_fixed=after.params_fixed,
        macs_fixed=after.macs_fixed,
        cost_seconds=seconds,
        held=dict(planned.prunable.held),
        parts=planned.parts,
        rounded=rounded(planned.prunable, spec.layers),
    )

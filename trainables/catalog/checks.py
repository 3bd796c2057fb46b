"""What is wrong with a trial's settings, found without building its network."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from trainables.allocation.plan import inputs_of
from trainables.allocation.policies import POLICIES
from trainables.allocation.schedules import SCHEDULES
from trainables.catalog import curriculum_checks
from trainables.catalog.tables import TABLES, resolve
from trainables.checkpoints import pretrained
from trainables.data import sources
from trainables.lookup import did_you_mean
from trainables.models import hub
from trainables.names import BLOCKS, GATED, SEARCHES
from trainables.pruning.gates import SHAPINGS
from trainables.spec import DenseSpec, Distillation, Gates, Schedule, TrialSpec
from trainables.training.recovery import RECOVERIES

FINENESS = {"block": 0, "projected-block": 0, "channel": 1, "weight": 2}


def complaints(spec: TrialSpec) -> list[str]:
    """Say all that is wrong with a trial and can be told without reading images."""
    return [*conflicts(spec), *missing([spec.dense])]


def conflicts(spec: TrialSpec) -> list[str]:
    """Say what is wrong with the settings themselves."""
    return [*mismatches(spec), *curriculum_checks.complaints(spec)]


def missing(networks: Sequence[DenseSpec]) -> list[str]:
    """Say which models, weights and images cannot be had, each looked for once: listing a data set takes its time."""
    found = []
    data = dict.fromkeys(network.data for network in networks)
    for check in (
        *(partial(hub.check, network.model, network.width) for network in networks),
        *(partial(pretrained.check, network) for network in networks),
        *(partial(sources.check, each) for each in data),
    ):
        try:
            check()
        except ValueError as error:
            found.append(str(error))
    return found


def mismatches(spec: TrialSpec) -> list[str]:
    """Say which names are unknown and which do not go together."""
    if spec.round_to > 1 and all(link.granularity != "channel" for link in spec.prunings):
        return [f"round_to must come with granularity 'channel', but got {spec.granularity!r}; leave it out"]
    if spec.before:
        links = (link.model_copy(update={"round_to": 1}) for link in spec.prunings)  # which those of weights ignore
        found = [complaint for link in links for complaint in mismatches(link)]
        return found or _of_chain(spec)
    found = []
    for kind, name in (("criterion", spec.criterion), ("policy", spec.policy)):
        try:
            entry = resolve(kind, name)
        except ValueError as error:
            found.append(str(error))
            continue
        if spec.granularity not in entry.granularities:
            fits = sorted(n for n, other in TABLES[kind].items() if spec.granularity in other.granularities)
            found.append(
                f"{kind} {name!r} must go with granularity {' or '.join(entry.granularities)}, "
                f"but got {spec.granularity!r}; for that use one of: {', '.join(fits)}"
            )
    found += [*_of_schedule(spec), *_of_recovery(spec), *_of_gates(spec)]
    if spec.densities is not None and spec.policy not in SEARCHES:
        found.append(f"densities must come with policy 'searched', but got {spec.policy!r}; leave them out")
    return found


def _of_chain(spec: TrialSpec) -> list[str]:
    found, links = [], spec.prunings
    for earlier, later in pairwise(links):
        if FINENESS[later.granularity] <= FINENESS[earlier.granularity]:
            told = f"but got {earlier.granularity!r} before {later.granularity!r}; let the coarser one go first"
            found.append(f"each pruning must be of finer units than the one before, {told}")
        if later.sparsity <= earlier.sparsity:
            told = f"but got {earlier.sparsity} before {later.sparsity}, both of the dense network; raise the second"
            found.append(f"each pruning must remove more than the one before, {told}")
        if sources := inputs_of(later) - {"samples"}:
            who = f"policy {later.policy!r} with criterion {later.criterion!r}"
            told = f"but {who} looks at {', '.join(sorted(sources))}; let it come first, or name others"
            found.append(f"a pruning after another must look at nothing that was measured on the dense network, {told}")
    for link in links[:-1]:
        if link.policy in SEARCHES or POLICIES[link.policy].joint:
            found.append(f"a pruning that comes before must decide by itself, but got policy {link.policy!r}")
    if spec.policy in SEARCHES and links[0].granularity in BLOCKS:
        found.append(f"policy {spec.policy!r} must know the parts it shares among, but blocks go before; name another")
    return found


def _of_schedule(spec: TrialSpec) -> list[str]:
    schedule = spec.schedule
    if schedule.name not in SCHEDULES:
        return [str(did_you_mean("schedule", schedule.name, SCHEDULES))]
    if schedule.name != Schedule().name and spec.granularity in BLOCKS:
        return [f"granularity {spec.granularity!r} must go at once, but got schedule {schedule.name!r}; leave it out"]
    if schedule.name == Schedule().name and schedule != Schedule():
        return [f"schedule {schedule.name!r} must have neither steps nor step_epochs; leave them out, or name another"]
    if schedule.name != Schedule().name and schedule.steps < 2:
        return [f"schedule {schedule.name!r} must have steps >= 2, but got {schedule.steps}; set schedule.steps"]
    return []


def _of_recovery(spec: TrialSpec) -> list[str]:
    dense, own = spec.dense.recipe.epochs, spec.finetune.epochs
    if spec.recovery not in RECOVERIES:
        return [str(did_you_mean("recovery", spec.recovery, RECOVERIES))]
    if spec.recovery in ("scratch", "scratch-b") and dense == 0:
        return [f"recovery {spec.recovery!r} must have dense epochs to repeat, but got 0; set dense.epochs"]
    if spec.recovery == "rewind" and dense < own:
        return [f"recovery 'rewind' must repeat at most the {dense} dense epochs, but got {own}; lower finetune.epochs"]
    if spec.recovery != "distill" and spec.distillation != Distillation():
        return [f"distillation must come with recovery 'distill', but got {spec.recovery!r}; leave it out"]
    return []


def _of_gates(spec: TrialSpec) -> list[str]:
    gates, policy = spec.gates, POLICIES.get(spec.policy)
    if not {spec.criterion, spec.policy} & {*GATED}:
        told = f"criterion {spec.criterion!r} and policy {spec.policy!r}; leave them out"
        return [f"gates must come with one who goes by them, but got {told}"] if gates != Gates() else []
    found = []
    if gates.shaping not in SHAPINGS:
        found.append(str(did_you_mean("shaping", gates.shaping, SHAPINGS)))
    if spec.schedule.name != Schedule().name:
        found.append(f"gates must go at once, as they know one budget, but got schedule {spec.schedule.name!r}")
    if policy and spec.criterion in GATED and "profile" in policy.inputs:
        found.append(f"criterion 'gates' must come without profiles, which know no budget, but got {spec.policy!r}")
    if policy and policy.joint and spec.finetune.epochs < gates.epochs:
        told = f"but got {spec.finetune.epochs} of {gates.epochs}; raise finetune.epochs"
        found.append(f"policy {spec.policy!r} must have the epochs of fine-tuning that gates are trained in, {told}")
    return found

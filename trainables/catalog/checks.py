"""Find mistakes in the settings of a trial without torch and before any network is built."""

from collections.abc import Mapping
from itertools import pairwise

from trainables.catalog import curriculum_checks, recipe_checks, task_checks
from trainables.counts import quantity
from trainables.data_spec import DataSpec
from trainables.device_spec import DeviceSpec
from trainables.models import known
from trainables.names import (
    BLOCKS,
    CRITERION_NEEDS,
    CUTTING,
    DRAWN_AGAIN,
    GATED,
    GIVEN,
    OF_DENSITIES,
    POLICY_NEEDS,
    Needs,
    unknown,
)
from trainables.plugins import FunctionKind, name_complaints, needs_of
from trainables.pruning_spec import Distillation, Gates, Schedule
from trainables.spec import TrialSpec

FINENESS = {"block": 0, "projected-block": 0, "channel": 1, "weight": 2}


def conflicts(spec: TrialSpec) -> list[str]:
    """List the names that are unknown, and the settings that do not go together."""
    others = (recipe_checks, curriculum_checks, task_checks)
    return [*_of_dense(spec), *mismatches(spec), *(text for checks in others for text in checks.complaints(spec))]


def mismatches(spec: TrialSpec) -> list[str]:
    """List what is wrong with the settings of pruning and recovery."""
    return [*_of_densities(spec), *_of_prunings(spec)]


def _of_densities(spec: TrialSpec) -> list[str]:
    if spec.densities is None and spec.policy == GIVEN:
        return ["policy 'given' must have its densities, but none are given; set given to a table, or to a trial"]
    if spec.densities is not None and spec.policy not in OF_DENSITIES:
        return [f"densities must come with policy 'searched' or 'given', but got {spec.policy!r}; leave them out"]
    return []


def _of_prunings(spec: TrialSpec) -> list[str]:
    if spec.round_to > 1 and all(pruning.granularity != "channel" for pruning in spec.prunings):
        return [f"round_to must come with granularity 'channel', but got {spec.granularity!r}; leave it out"]
    if spec.before:
        prunings = (pruning.model_copy(update={"round_to": 1}) for pruning in spec.prunings)  # weights ignore it
        problems = [complaint for pruning in prunings for complaint in _of_prunings(pruning)]
        return problems or _of_order(spec)
    return [
        *_of_latency(spec),
        *_of_needs("criterion", spec.criterion, spec, CRITERION_NEEDS),
        *_of_needs("policy", spec.policy, spec, POLICY_NEEDS),
        *_of_schedule(spec),
        *_of_recovery(spec),
        *_of_gates(spec),
    ]


def _of_data(data: DataSpec) -> list[str]:
    problems = unknown("data.name", data.name)
    if data.fit == "crop" and data.size is None:
        problems.append("data.fit 'crop' must come with the size to crop to, but data.size is not set; set it")
    if data.augment in CUTTING and data.loading == "memory":
        problems.append(
            f"data.augment {data.augment!r} must stream, as it cuts from whole images, but got data.loading 'memory'; "
            "leave data.loading out"
        )
    return problems


def _of_dense(spec: TrialSpec) -> list[str]:
    problems = _of_data(spec.dense.data)
    try:
        known.check(spec.dense.model, spec.dense.width)
    except ValueError as error:
        problems.append(str(error))
    return problems


def _of_needs(kind: FunctionKind, name: str, spec: TrialSpec, table: Mapping[str, Needs]) -> list[str]:
    if problems := name_complaints(kind, name):
        return problems
    if spec.granularity in (fits := needs_of(kind, name).granularities):
        return []
    others = sorted(other for other, needs in table.items() if spec.granularity in needs.granularities)
    return [
        f"{kind} {name!r} must go with granularity {' or '.join(fits)}, "
        f"but got {spec.granularity!r}; for that use one of: {', '.join(others)}"
    ]


def _of_order(spec: TrialSpec) -> list[str]:
    """List what is wrong with the order of several prunings."""
    problems, prunings = [], spec.prunings
    if spec.budget == "latency":
        problems.append(
            "budget 'latency' must be that of one pruning, as its table starts from the dense network, but got others "
            "before it; leave before out"
        )
    for earlier, later in pairwise(prunings):
        if FINENESS[later.granularity] <= FINENESS[earlier.granularity]:
            problems.append(
                "each pruning must remove finer units than the one before, but got "
                f"{earlier.granularity!r} before {later.granularity!r}; put the coarser one first"
            )
        if later.sparsity <= earlier.sparsity:
            problems.append(
                "each pruning must have a higher sparsity than the one before, as both count from the dense network, "
                f"but got {earlier.sparsity} before {later.sparsity}; raise the second"
            )
        if inputs := later.inputs - {"samples"}:
            problems.append(
                "a later pruning must read nothing that is measured on the dense network, but policy "
                f"{later.policy!r} with criterion {later.criterion!r} reads {', '.join(sorted(inputs))}; "
                "put it first, or choose others"
            )
    for pruning in prunings[:-1]:
        if pruning.policy in OF_DENSITIES or pruning.joint:
            problems.append(
                f"an earlier pruning must use a policy that decides without training, but got {pruning.policy!r}; "
                "choose another"
            )
    if spec.policy in OF_DENSITIES and prunings[0].granularity in BLOCKS:
        problems.append(
            f"policy {spec.policy!r} must know the parts of the network before it starts, but blocks are removed "
            "first; choose another policy"
        )
    return problems


def _of_latency(spec: TrialSpec) -> list[str]:
    device, problems = spec.device, []
    if spec.budget == "latency" and spec.granularity == "weight":
        problems.append(
            "budget 'latency' must go with units that are removed, as masked weights save no time, but got granularity "
            "'weight'; use channel, block or projected-block"
        )
    if device.table and device != DeviceSpec(table=device.table, content=device.content):
        problems.append(
            "device.table must come without name, threads and batch, which the table knows, but got "
            f"{device.name}, {device.threads} and {device.batch}; leave them out"
        )
    if device.table and spec.budget != "latency":
        problems.append(
            "device.table must come with budget 'latency', as the network cannot be timed on another machine, but got "
            f"{spec.budget!r}; name a device of this machine"
        )
    return problems


def _of_schedule(spec: TrialSpec) -> list[str]:
    schedule = spec.schedule
    if problems := unknown("schedule", schedule.name):
        return problems
    one_shot = schedule.name == Schedule().name
    if not one_shot and spec.granularity in BLOCKS:
        return [f"granularity {spec.granularity!r} must go at once, but got schedule {schedule.name!r}; leave it out"]
    if one_shot and schedule != Schedule():
        return [f"schedule {schedule.name!r} must have neither steps nor step_epochs; leave them out, or name another"]
    if not one_shot and schedule.steps < 2:
        return [f"schedule {schedule.name!r} must have steps >= 2, but got {schedule.steps}; set schedule.steps"]
    return []


def _of_recovery(spec: TrialSpec) -> list[str]:
    dense, finetune = spec.dense.recipe.epochs, spec.finetune.epochs
    if problems := name_complaints("recovery", spec.recovery):
        return problems
    if spec.recovery in DRAWN_AGAIN and spec.compensate:
        return [f"compensate must be false with recovery {spec.recovery!r}, which draws new weights; leave it out"]
    if spec.recovery in DRAWN_AGAIN and dense == 0:
        return [f"recovery {spec.recovery!r} must have dense epochs to repeat, but got 0; set dense.epochs"]
    if spec.recovery == "rewind" and dense < finetune:
        return [
            f"recovery 'rewind' must repeat at most the {quantity(dense, 'dense epoch')}, but got {finetune}; "
            "lower finetune.epochs"
        ]
    if spec.recovery != "distill" and spec.distillation != Distillation():
        return [f"distillation must come with recovery 'distill', but got {spec.recovery!r}; leave it out"]
    return []


def _of_gates(spec: TrialSpec) -> list[str]:
    gates = spec.gates
    if not {spec.criterion, spec.policy} & {*GATED}:
        if gates == Gates():
            return []
        return [
            f"gates must come with a criterion or a policy that reads them, but got criterion {spec.criterion!r} and "
            f"policy {spec.policy!r}; leave them out"
        ]
    problems = unknown("shaping", gates.shaping)
    if spec.schedule.name != Schedule().name:
        problems.append(
            "gates must come with schedule 'one-shot', as they are trained for one budget, but got "
            f"{spec.schedule.name!r}; leave it out"
        )
    if spec.criterion in GATED and spec.policy in POLICY_NEEDS and "profile" in POLICY_NEEDS[spec.policy].inputs:
        problems.append(
            "criterion 'gates' must come with a policy that reads no profile, as gates are trained for one budget and "
            f"a profile has none, but got {spec.policy!r}; choose another"
        )
    if spec.joint and spec.finetune.epochs < gates.epochs:
        problems.append(
            f"policy {spec.policy!r} must train its gates within fine-tuning, but got finetune.epochs "
            f"{spec.finetune.epochs} and gates.epochs {gates.epochs}; raise finetune.epochs"
        )
    return problems

"""Every table by kind, and the refusal of what cannot work."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from trainables.allocation import budget
from trainables.allocation.policies import POLICIES
from trainables.allocation.schedules import SCHEDULES
from trainables.checkpoints import Architecture
from trainables.data import sources
from trainables.data.splits import Shape
from trainables.learning.recovery import RECOVERIES
from trainables.models import hub
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularity import Prunable
from trainables.pruning.soundness import refuse_unsound_cuts
from trainables.pruning.subject import Subject
from trainables.pruning.views import GRANULARITIES, view
from trainables.spec import SEARCHES, Distillation, Schedule, TrialSpec
from trainables.tables import did_you_mean, pick

TABLES: Mapping[str, Mapping[str, Any]] = {
    "criterion": CRITERIA,
    "granularity": GRANULARITIES,
    "policy": POLICIES,
    "schedule": SCHEDULES,
    "recovery": RECOVERIES,
    "data": sources.SOURCES,
}


def resolve(kind: str, name: str) -> Any:
    """Return the entry of a table; ValueError with the nearest names where there is none."""
    return pick(kind, name, pick("kind", kind, TABLES))


def complaints(spec: TrialSpec) -> list[str]:
    """Say all that is wrong with a trial and can be told without reading images."""
    found = mismatches(spec)
    for check in (partial(hub.check, spec.dense.model, spec.dense.width), partial(sources.check, spec.dense.data)):
        try:
            check()
        except ValueError as error:
            found.append(str(error))
    return found


def mismatches(spec: TrialSpec) -> list[str]:
    """Say which names are unknown and which do not go together."""
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
    found += [*_of_schedule(spec), *_of_recovery(spec)]
    if spec.densities is not None and spec.policy not in SEARCHES:
        found.append(f"densities must come with policy 'searched', but got {spec.policy!r}; leave them out")
    return found


def _of_schedule(spec: TrialSpec) -> list[str]:
    schedule = spec.schedule
    if schedule.name not in SCHEDULES:
        return [str(did_you_mean("schedule", schedule.name, SCHEDULES))]
    if schedule.name == Schedule().name and schedule != Schedule():
        return [f"schedule {schedule.name!r} must have neither steps nor step_epochs; leave them out, or name another"]
    if schedule.name != Schedule().name and schedule.steps < 2:
        return [f"schedule {schedule.name!r} must have steps >= 2, but got {schedule.steps}; set schedule.steps"]
    return []


def _of_recovery(spec: TrialSpec) -> list[str]:
    dense, own = spec.dense.recipe.epochs, spec.finetune.epochs
    if spec.recovery not in RECOVERIES:
        return [str(did_you_mean("recovery", spec.recovery, RECOVERIES))]
    if spec.recovery == "rewind" and dense < own:
        return [f"recovery 'rewind' must repeat at most the {dense} dense epochs, but got {own}; lower finetune.epochs"]
    if spec.recovery != "distill" and spec.distillation != Distillation():
        return [f"distillation must come with recovery 'distill', but got {spec.recovery!r}; leave it out"]
    return []


def unreachable(specs: list[TrialSpec]) -> list[str]:
    """Say what only the networks can tell, at their true widths.

    Images that do not fit, criteria that find nothing to score by, budgets below what is reachable.
    """
    found: list[str] = []
    scored: set[tuple[str, str, str]] = set()
    views: dict[tuple[str, str], Prunable | None] = {}
    shape = sources.peek(specs[0].dense.data)
    for spec in specs:
        place = (spec.dense.model, spec.granularity)
        least = POLICIES[spec.policy].least
        who = spec.dense.model if least is budget.floors else f"{spec.dense.model}, policy {spec.policy!r}"
        try:
            if place not in views:
                views[place] = None
                views[place] = _view(spec, shape)
            prunable = views[place]
            if prunable is not None:
                if (*place, spec.criterion) not in scored and not CRITERIA[spec.criterion].looks_at:
                    scored.add((*place, spec.criterion))
                    CRITERIA[spec.criterion].score(Subject(prunable))
                budget.total(prunable, spec.sparsity, spec.budget, least(prunable))
        except ValueError as error:
            found.append(f"{who}: {error}")
    return list(dict.fromkeys(found))


def _view(spec: TrialSpec, shape: Shape) -> Prunable:
    built = _architecture(spec, shape)
    hub.check_images(built.model, built.classes, built.image, built.width)
    model = built.build()
    if spec.granularity == "channel":
        refuse_unsound_cuts(model, built.example())
    return view(model, spec.granularity, built.example())


def _architecture(spec: TrialSpec, shape: Shape) -> Architecture:
    image = (shape.channels, shape.height, shape.width)
    return Architecture(model=spec.dense.model, width=spec.dense.width, classes=shape.classes, image=image)


def blank(spec: TrialSpec) -> Prunable:
    """A network such as a trial's, with fresh weights, at its granularity; for which checks, see `unreachable`."""
    built = _architecture(spec, sources.peek(spec.dense.data))
    return view(built.build(), spec.granularity, built.example())


def part_names(spec: TrialSpec) -> list[str]:
    """Names of the parts that a trial shares its budget among."""
    return [part.name for part in blank(spec).parts]

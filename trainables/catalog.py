"""Every table by kind, and the refusal of what cannot work."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from trainables.allocation import budget
from trainables.allocation.policies import POLICIES
from trainables.checkpoints import Architecture
from trainables.data import sources
from trainables.data.splits import Shape
from trainables.models import hub
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularity import Prunable
from trainables.pruning.soundness import refuse_unsound_cuts
from trainables.pruning.views import GRANULARITIES, view
from trainables.spec import TrialSpec
from trainables.tables import pick

TABLES: Mapping[str, Mapping[str, Any]] = {
    "criterion": CRITERIA,
    "granularity": GRANULARITIES,
    "policy": POLICIES,
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
        if kind == "criterion" and spec.granularity not in entry.granularities:
            fits = sorted(n for n, c in CRITERIA.items() if spec.granularity in c.granularities)
            found.append(
                f"criterion {name!r} must go with granularity {' or '.join(entry.granularities)}, "
                f"but got {spec.granularity!r}; for that use one of: {', '.join(fits)}"
            )
    if spec.densities is not None and spec.policy != "searched":
        found.append(f"densities must come with policy 'searched', but got {spec.policy!r}; leave them out")
    return found


def unreachable(specs: list[TrialSpec]) -> list[str]:
    """Say which images do not fit their network and which budgets are below what it can reach, at its true widths."""
    found: list[str] = []
    views: dict[tuple[str, str], Prunable | None] = {}
    shape = sources.peek(specs[0].dense.data)
    for spec in specs:
        place = (spec.dense.model, spec.granularity)
        try:
            if place not in views:
                views[place] = None
                views[place] = _view(spec, shape)
            prunable = views[place]
            if prunable is not None:
                budget.total(prunable, spec.sparsity, spec.budget)
        except ValueError as error:
            found.append(f"{spec.dense.model}: {error}")
    return list(dict.fromkeys(found))


def _view(spec: TrialSpec, shape: Shape) -> Prunable:
    image = (shape.channels, shape.height, shape.width)
    built = Architecture(model=spec.dense.model, width=spec.dense.width, classes=shape.classes, image=image)
    hub.check_images(spec.dense.model, shape.classes, image, spec.dense.width)
    model = built.build()
    if spec.granularity == "channel":
        refuse_unsound_cuts(model, built.example())
    return view(model, spec.granularity, built.example())


def part_names(spec: TrialSpec) -> list[str]:
    """Names of the parts that a trial shares its budget among."""
    return [part.name for part in _view(spec, sources.peek(spec.dense.data)).parts]

"""What only the network itself can tell: whether it can be pruned as a trial asks."""

from dataclasses import dataclass

from trainables.allocation import budget
from trainables.allocation.plan import of_what_is_left, plan
from trainables.allocation.policies import POLICIES
from trainables.checkpoints.checkpoint import Architecture
from trainables.data import sources
from trainables.data.types import Shape
from trainables.models import hub
from trainables.models.layers import Count, count
from trainables.names import CRITERION_NEEDS
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Prunable
from trainables.pruning.soundness import refuse_unsound_cuts, refuse_unsound_gates
from trainables.pruning_spec import Gates
from trainables.spec import TrialSpec


def unreachable(specs: list[TrialSpec]) -> list[str]:
    """Say what only the networks can tell, at their true widths.

    Images that do not fit, criteria that find nothing to score by, budgets below what is reachable.
    """
    found: list[str] = []
    scored: set[tuple[object, ...]] = set()
    views: dict[tuple[object, ...], _Blank | None] = {}
    shape = sources.peek(specs[0].dense.data)
    for spec in specs:
        place = (spec.dense.model, spec.granularity, "gates" in spec.inputs, spec.before, spec.budget)
        least = POLICIES[spec.policy].least
        who = spec.dense.model if least is budget.floors else f"{spec.dense.model}, policy {spec.policy!r}"
        try:
            if place not in views:
                views[place] = None
                views[place] = _view(spec, shape)
            if (blank := views[place]) is not None:
                prunable, asked = blank.prunable, of_what_is_left(spec, blank.whole, blank.left)
                if (*place, spec.criterion) not in scored and not CRITERION_NEEDS[spec.criterion].inputs:
                    scored.add((*place, spec.criterion))
                    CRITERIA[spec.criterion](PruningContext(prunable))
                budget.total(prunable, asked.sparsity, spec.budget, least(prunable))
        except ValueError as error:
            found.append(f"{who}: {error}")
    return list(dict.fromkeys(found))


@dataclass(frozen=True, eq=False)
class _Blank:
    """A network with fresh weights as a trial's own pruning finds it, and what it holds of the dense one."""

    prunable: Prunable
    whole: Count
    left: Count


def _view(spec: TrialSpec, shape: Shape) -> _Blank:
    """Build a trial's network and let what comes before its own pruning go uniformly, by chance."""
    built = Architecture.of(spec.dense, shape.image, shape.classes)
    hub.check_images(built.model, built.classes, built.image, built.width)
    model, example = built.build(), built.example()
    whole = left = count(model, {}, example)
    for link in spec.prunings:
        if link.granularity == "channel":
            refuse_unsound_cuts(model, example)
        if "gates" in link.inputs:
            refuse_unsound_gates(model, example)
        if link.granularity != spec.granularity:
            by_chance = link.model_copy(update={"policy": "uniform", "criterion": "random", "gates": Gates()})
            plan(model, example, of_what_is_left(by_chance, whole, left)).carry_out()
            left = count(model, {}, example)
    return _Blank(view(model, spec.granularity, example, spec.round_to), whole, left)


def blank(spec: TrialSpec) -> Prunable:
    """A network such as a trial's, with fresh weights, at its granularity; for which checks, see `unreachable`."""
    shape = sources.peek(spec.dense.data)
    built = Architecture.of(spec.dense, shape.image, shape.classes)
    return view(built.build(), spec.granularity, built.example(), spec.round_to)

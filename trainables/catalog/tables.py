"""Every table by kind, and the refusal of what cannot work."""

from collections.abc import Mapping
from typing import Any

from trainables.allocation.policies import POLICIES
from trainables.allocation.schedules import SCHEDULES
from trainables.data import sources
from trainables.learnability.curricula import CURRICULA, PACINGS
from trainables.learnability.measures import MEASURES
from trainables.lookup import pick
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.gates import SHAPINGS
from trainables.pruning.granularities import GRANULARITIES
from trainables.training.recovery import RECOVERIES

TABLES: Mapping[str, Mapping[str, Any]] = {
    "criterion": CRITERIA,
    "granularity": GRANULARITIES,
    "policy": POLICIES,
    "schedule": SCHEDULES,
    "recovery": RECOVERIES,
    "shaping": SHAPINGS,
    "curriculum": CURRICULA,
    "pacing": PACINGS,
    "measure": MEASURES,
    "data": sources.SOURCES,
}


def resolve(kind: str, name: str) -> Any:
    """Return the entry of a table; ValueError with the nearest names where there is none."""
    return pick(kind, name, pick("kind", kind, TABLES))

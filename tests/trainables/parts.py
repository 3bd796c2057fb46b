"""The parts of a network that a trial shares its budget among."""

from trainables.catalog.feasibility import blank
from trainables.spec import TrialSpec


def part_names(spec: TrialSpec) -> list[str]:
    return [part.name for part in blank(spec).parts]

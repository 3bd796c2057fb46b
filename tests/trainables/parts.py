"""The parts of a network among which a trial shares its budget."""

from trainables.catalog.feasibility import blank
from trainables.spec import TrialSpec


def part_names(spec: TrialSpec) -> list[str]:
    return [part.name for part in blank(spec).parts]

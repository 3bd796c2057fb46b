"""A small study whose budget is the time of a device."""

from pathlib import Path

from search.study.spec import StudySpec
from tests.trainables.trials import DATA


def of_device(device: Path | str, **changes: object) -> StudySpec:
    """Return the study. device: its name, or the file of a latency table. changes: settings in place of its own."""
    return StudySpec.model_validate(
        {
            "name": "board",
            "data": DATA,
            "granularity": "channel",
            "criteria": ["l1"],
            "budget": "latency",
            "device": str(device),
            "round_to": 4,
            "policies": ["uniform", "erk"],
            "sparsities": [0.3],
            "seeds": [1],
            "dense": {"epochs": 1},
            "finetune": {"epochs": 1},
            "recalibrate": 3,
            "search": {},
            **changes,
        }
    )

"""Settings that look the same as another one but are not, and what tells them apart."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search.comparison.headline import Arm, Cells
from search.results.folder import StudyFolder
from search.results.names import network_name

OWN = ("policy", "densities", "sparsity", "dense.seed")  # what differs within a setting


def unlike(cells: Cells, folders: Sequence[StudyFolder]) -> dict[str, str]:
    """Find settings of the same network and arm that were trained or pruned otherwise: setting -> "recalibrate=20"."""
    looks: dict[tuple[str, Arm], dict[str, str]] = defaultdict(dict)
    for (setting, _, _), own in cells.items():
        first = next(iter(own.values()))
        looks[network_name(first), Arm.of(first)][setting] = first.trial
    found: dict[str, str] = {}
    for trials in looks.values():
        if len(trials) > 1:
            found |= _apart({setting: _settings(trial, folders) for setting, trial in trials.items()})
    return found


def _apart(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    names = dict.fromkeys(name for told in settings.values() for name in told)
    differing = [name for name in names if len({str(told.get(name)) for told in settings.values()}) > 1]
    return {
        setting: ", ".join(f"{name}={told.get(name)}" for name in differing) or "by settings that are no longer there"
        for setting, told in settings.items()
    }


def _settings(trial: str, folders: Sequence[StudyFolder]) -> dict[str, Any]:
    """Every setting of a trial but those of its own, by dotted name; none where its folder is gone."""
    outcomes = (folder.outcome(trial) for folder in folders)
    spec = next((outcome.spec.identity().model_dump(mode="json") for outcome in outcomes if outcome), {})
    return {name: value for name, value in _flat(spec) if name not in OWN}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

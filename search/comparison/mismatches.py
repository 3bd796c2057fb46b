"""Settings that look alike in a comparison although they differ, and the settings' values that tell them apart."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from search.comparison.headline import Arm
from search.comparison.winners import Cells
from search.results.folder import StudyFolder
from search.results.names import network_name

WITHIN = ("policy", "densities", "sparsity", "dense.seed")  # fields of a trial that differ within a setting


def mismatches(cells: Cells, folders: Sequence[StudyFolder]) -> dict[str, str]:
    """Find settings of one network and arm that were trained or pruned otherwise: setting -> "recalibrate=20"."""
    alike: dict[tuple[str, Arm], dict[str, str]] = defaultdict(dict)
    for cell, own in cells.items():
        first = next(iter(own.values()))
        alike[network_name(first), Arm.of(first)][cell.setting] = first.trial
    found: dict[str, str] = {}
    for trials in alike.values():
        if len(trials) > 1:
            found |= _differences({setting: _fields(trial, folders) for setting, trial in trials.items()})
    return found


def _differences(settings: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    names = dict.fromkeys(name for fields in settings.values() for name in fields)
    differing = [name for name in names if len({str(fields.get(name)) for fields in settings.values()}) > 1]
    return {
        setting: ", ".join(f"{name}={fields.get(name)}" for name in differing) or "by settings that are no longer there"
        for setting, fields in settings.items()
    }


def _fields(trial: str, folders: Sequence[StudyFolder]) -> dict[str, object]:
    """List a trial's fields by dotted name, without those of `WITHIN`; none where the trial's folder is gone."""
    outcomes = (folder.outcome(trial) for folder in folders)
    spec = next((outcome.spec.identity().model_dump(mode="json") for outcome in outcomes if outcome), {})
    return {name: value for name, value in _flat(spec) if name not in WITHIN}


def _flat(fields: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

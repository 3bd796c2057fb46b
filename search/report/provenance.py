"""How a report came about: the commands, the versions, the hardware, the seeds, the date."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from search.report.sections.evidence import Evidence
from search.results.versions import versions
from search.study.reading import parse_study, shipped
from search.study.spec import StudySpec

LIBRARIES = ("howcompact", "torch", "torch-pruning", "ray", "optuna", "numpy")
NAMED = "name"
YAML_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")  # not text without quotes


def made(evidence: Evidence) -> dict[str, str]:
    """Say how a report was made, in a few lines."""
    rows = evidence.comparison.rows
    seeds = sorted({seed for row in rows for seed in row.seeds})
    cover = ", ".join(dict.fromkeys(part for row in rows for part in row.seeds_cover))
    hardware = sorted({trial.hardware for trial in evidence.trials if trial.hardware})
    return {
        "command": compare_command(evidence),
        "seeds": f"{', '.join(map(str, seeds))}; each covers {cover}",
        "hardware": f"{', '.join(hardware)} (trials)",
        **here(),
    }


def here() -> dict[str, str]:
    """Say with what, and when, something is made now."""
    told = (f"{name} {number}" for name, number in versions(LIBRARIES).items())
    return {
        "versions": ", ".join(told) + " (where this was written)",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def compare_command(evidence: Evidence) -> str:
    """The command that writes this report, wherever it is written to."""
    folders = [folder.folder.uri for folder in evidence.folders]
    test = ["--test"] if any(row.test_accuracy for row in evidence.comparison.rows) else []
    return shlex.join(["howcompact", "compare", *folders, *test, "--out", "report"])


def run_command(study: StudySpec, verb: str = "run") -> str:
    """Find the shortest command that gives this study: a shipped one, changed where it differs."""
    wanted = _settings(study)
    commands = []
    for source in shipped():
        given = parse_study(source)
        changes = [
            f"{key}={_bare(json.dumps(value, separators=(',', ': ')))}"
            for key, value in _changes(_settings(given), wanted)
        ]
        command = ["howcompact", verb, source]
        command += ["--name", study.name] if study.name != given.name else []
        commands.append(shlex.join(command + (["--set", *changes] if changes else [])))
    return min(commands, key=len)


def _settings(study: StudySpec) -> dict[str, Any]:
    """Every setting but the name; of what is listed, only what differs from its defaults."""
    whole, changed = (study.model_dump(mode="json", exclude={NAMED}, exclude_defaults=short) for short in (False, True))
    return whole | {name: value for name, value in changed.items() if isinstance(value, list)}


def _bare(text: str) -> str:
    """Leave out the quotes that YAML, too, does not need."""
    return re.sub(r'"([A-Za-z/~][\w./~-]*)"', lambda word: word[0] if word[1].lower() in YAML_WORDS else word[1], text)


def _changes(given: Mapping[str, Any], wanted: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in wanted.items():
        if given[name] == value:
            continue
        if isinstance(value, dict) and value.keys() == given[name].keys():  # those of settings, not of networks
            yield from _changes(given[name], value, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", value

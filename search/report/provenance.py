"""How a page was made: commands, seeds, hardware, versions, date."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from search.report.sections.evidence import Evidence
from search.results.versions import versions
from search.study.reading import parse_study, shipped
from search.study.spec import StudySpec

LIBRARIES = ("howcompact", "torch", "ray", "optuna", "numpy")
FOUND: dict[str, Any] = {  # settings that each run finds; commands refuse them
    "name": True,
    "contents": True,
    "data": {"task", "content"},
    "dense": {"code"},
    "finetune": {"code"},
    "curricula": {"__all__": {"content", "code"}},
}
YAML_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")  # text only within quotes


@dataclass(frozen=True)
class Provenance:
    """How a page was made. It stands once, at the end of the page; figures in files have a line of it below them."""

    name: str  # of what the page shows
    studies: Sequence[StudySpec]
    command: str  # that writes the page
    seeds: Sequence[int]
    covered: Sequence[str]  # what changes from seed to seed
    hardware: Sequence[str] = ()  # of the trials
    versions: Mapping[str, str] = field(default_factory=lambda: versions(LIBRARIES))  # where the page is written
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def commands(self) -> dict[str, str]:
        """What each command is for -> the command."""
        runs = {f"to run study {study.name}": run_command(study) for study in self.studies}
        return {**runs, "to write this page": self.command}

    @property
    def facts(self) -> dict[str, str]:
        """Name -> text."""
        return {
            "seeds": f"{_listed(self.seeds)}. What changes with the seed: {_listed(self.covered)}.",
            **({"hardware of the trials": _listed(self.hardware)} if self.hardware else {}),
            "versions": _listed(f"{name} {number}" for name, number in self.versions.items()) + ", on the machine "
            "that wrote this page",
            "date": self.date,
        }

    @property
    def footer(self) -> str:
        """One line below a figure in a file."""
        return f"howcompact: {self.name}; seeds {_listed(self.seeds)}; {self.date}"


def report_provenance(evidence: Evidence) -> Provenance:
    """Collect how the report of a comparison is made."""
    rows = evidence.comparison.rows
    return Provenance(
        name=evidence.comparison.study,
        studies=evidence.studies,
        command=compare_command(evidence),
        seeds=sorted({seed for row in rows for seed in row.seeds}),
        covered=list(dict.fromkeys(part for row in rows for part in row.seeds_cover)),
        hardware=sorted({trial.hardware for trial in evidence.trials if trial.hardware}),
    )


def compare_command(evidence: Evidence) -> str:
    """Give the command that writes this report."""
    folders = [folder.folder.uri for folder in evidence.folders]
    test_option = ["--test"] if any(row.test_accuracy for row in evidence.comparison.rows) else []
    margin = evidence.comparison.margin
    margin_option = [] if margin is None else ["--margin", f"{100 * margin:g}"]
    return shlex.join(["howcompact", "compare", *folders, *margin_option, *test_option, "--out", "report"])


def run_command(study: StudySpec, verb: str = "run") -> str:
    """Find the shortest command for this study: a shipped study, and what differs from it."""
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
    """Give every setting of a user but the name; items of lists without the fields that have their defaults."""
    whole, changed = (study.model_dump(mode="json", exclude=FOUND, exclude_defaults=short) for short in (False, True))
    return whole | {name: value for name, value in changed.items() if isinstance(value, list)}


def _bare(text: str) -> str:
    """Remove the quotes that YAML does not need."""
    return re.sub(r'"([A-Za-z/~][\w./~-]*)"', lambda word: word[0] if word[1].lower() in YAML_WORDS else word[1], text)


def _changes(given: Mapping[str, Any], wanted: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the wanted value of each setting that differs."""
    for name, value in wanted.items():
        if given[name] == value:
            continue
        if isinstance(value, dict) and value.keys() == given[name].keys():  # settings; networks by name go whole
            yield from _changes(given[name], value, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", value


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))

"""search/README.md documents what --json prints; the models of the commands and their output have the same shape."""

import json
import re
import shutil
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from search.cluster.jobs import Job
from search.comparison.compare import Comparison
from search.comparison.importance import Importances
from search.networks.allocation import Allocation
from search.networks.inspection import Inspection
from search.networks.latency import LatencyReport
from search.networks.probe import Probing
from search.networks.profile import Compactness
from search.results.folder import StudyFolder
from search.results.status import StudyStatus
from search.results.to_json import FORMAT
from search.retrieval.best import Front
from search.retrieval.copying import Retrieved
from search.running.clean import Cleaned
from search.running.dry_run import DryRun
from search.running.run import RunSummary
from search.samples.summary import Learnability
from search.study.schema import study_schema
from search.verification.verify import Verified
from tests.search.comparison.test_importance import cell, peaked
from tests.search.conftest import howcompact
from tests.search.reports import study_of

README = (Path(__file__).parents[3] / "search" / "README.md").read_text()
SECTION = README.partition("## What --json prints")[2].partition("\n## ")[0]
COMMANDS: dict[str, type[BaseModel]] = {
    "run": RunSummary,
    "run --dry-run": DryRun,
    "status": StudyStatus,
    "compare": Comparison,
    "best": Retrieved,
    "best --pareto": Front,
    "importance": Importances,
    "learnability": Learnability,
    "verify": Verified,
    "clean": Cleaned,
    "allocate": Allocation,
    "inspect": Inspection,
    "profile": Compactness,
    "probe": Probing,
    "latency-table": LatencyReport,
}


def fields_of(kind: Any) -> dict[str, Any]:
    """Field -> type of a model or of a dataclass; nothing for other types."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return get_type_hints(kind) if isinstance(kind, type) and is_dataclass(kind) else {}


def shape(kind: Any) -> str:
    """Write a type as it is in JSON."""
    if fields_of(kind):
        return str(kind.__name__)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return shape(args[0])
    if origin is Literal:
        return "string" if all(isinstance(value, str) for value in args) else "number"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(shape(arg) for arg in args))
    if kind in (Any, object):
        return "any value"
    if kind in (str, bool, NoneType):
        return {str: "string", bool: "true or false", NoneType: "null"}[kind]
    if kind in (int, float):
        return "number"
    if origin in (list, tuple):
        return f"[{', '.join(dict.fromkeys(shape(arg) for arg in args if arg is not ...))}]"
    if len(args) != 2:
        raise TypeError(kind)
    return f"{{string: {shape(args[1])}}}"  # JSON has no other keys


def models_in(kind: Any) -> list[Any]:
    """Find the models that a type holds, at every depth."""
    if fields := fields_of(kind):
        return [kind, *(model for annotation in fields.values() for model in models_in(annotation))]
    return [model for arg in get_args(kind) for model in models_in(arg)]


def line(model: Any) -> str:
    fields = (f"`{name}` {shape(annotation)}" for name, annotation in fields_of(model).items())
    return f"- **{model.__name__}**: {', '.join(fields)}"


MODELS = {model.__name__: model for root in (*COMMANDS.values(), Job) for model in models_in(root)}


@pytest.mark.parametrize("name", MODELS)
def test_the_readme_has_the_fields_and_types_of_each_object(name: str) -> None:
    assert line(MODELS[name]) in re.sub(r"\n  (?=\S)", " ", SECTION).splitlines()


def test_the_readme_has_the_version_of_the_format() -> None:
    assert f"`format`, the version of these shapes: {FORMAT}." in " ".join(SECTION.split())


def test_the_readme_has_no_other_objects() -> None:
    assert set(re.findall(r"^- \*\*(\w+)\*\*", SECTION, re.MULTILINE)) == {*MODELS}


def test_the_readme_says_which_command_prints_which_object() -> None:
    for command, model in COMMANDS.items():
        assert re.search(rf"^\| `{re.escape(command)}` \| {model.__name__}\b", SECTION, re.MULTILINE), command


def documented() -> dict[str, dict[str, str]]:
    """Read the objects of the README: name -> field -> type."""
    objects = re.findall(r"^- \*\*(\w+)\*\*: (.*)$", re.sub(r"\n  (?=\S)", " ", SECTION), re.MULTILINE)
    return {name: dict(re.findall(r"`(\w+)` ([^`]+?)(?:, (?=`)|$)", fields)) for name, fields in objects}


def assert_shape(value: object, kind: str, where: str) -> None:
    """Check that a JSON value has a documented type, at every depth: its objects have all their keys and no other."""
    kinds = kind.replace("true or false", "bool").split(" or ")
    if value is None or isinstance(value, bool | int | float | str):
        name = {type(None): "null", bool: "bool", str: "string"}.get(type(value), "number")
        assert {name, "any value"} & {*kinds}, (where, value, kind)
    elif isinstance(value, list):
        (entries,) = (kind[1:-1] for kind in kinds if kind.startswith("["))
        for number, entry in enumerate(value):
            assert_shape(entry, entries.replace(", ", " or "), f"{where}[{number}]")
    elif (name := kinds[0]) in OBJECTS:
        assert {*value} == {*OBJECTS[name]}, where  # type: ignore[misc]
        for field, entry in value.items():  # type: ignore[attr-defined]
            assert_shape(entry, OBJECTS[name][field], f"{where}.{field}")
    else:
        entries = re.fullmatch(r"\{string: (.+)\}", kind)[1]  # type: ignore[index]
        for field, entry in value.items():  # type: ignore[attr-defined]
            assert_shape(entry, entries, f"{where}.{field}")


OBJECTS = documented()


def test_what_the_commands_print_has_the_documented_shape(trained: StudyFolder, tmp_path: Path) -> None:
    def assert_printed(kind: str, *arguments: str) -> None:
        ended = howcompact(*arguments, "--json", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        printed = json.loads(ended.stdout)
        assert next(iter(printed)) == "format"
        assert printed.pop("format") == FORMAT
        assert_shape(printed, kind, arguments[0])

    study, network = trained.folder.uri, str(tmp_path / "best")
    assert_printed("StudyStatus", "status", study)
    assert_printed("DryRun", "run", "digits", "--dry-run")
    assert_printed("Comparison", "compare", study)
    assert_printed("Comparison", "compare", study, "--test", "--margin", "0.3")
    shutil.copytree(trained.folder.parent.uri, tmp_path / "copy")
    copy = StudyFolder.open(str(tmp_path / "copy" / trained.folder.name))
    copy.write_table()
    assert_printed("Verified", "verify", copy.folder.uri)
    assert_printed("Cleaned", "clean", copy.folder.parent.uri)
    assert_printed("Retrieved", "best", study, "--policy", "erk", "--out", network)
    assert_printed("Front", "best", study, "--pareto", "--policy", "erk", "--out", str(tmp_path / "front"))
    assert_printed("Allocation", "allocate", network, "--policy", "uniform", "--sparsity", "0.5")
    assert_printed("Inspection", "inspect", network)
    dense = (trained.folder.parent / "artifacts" / "dense").folders()
    (dense_network,) = ((trained.folder.parent / "artifacts" / "dense" / name).uri for name in dense)
    assert_printed("Compactness", "profile", dense_network, "--calibration", "32")
    assert_printed("Probing", "probe", dense_network, "--samples", "100")
    searches = study_of(tmp_path, cell(0, peaked("block0.conv")), search={"warm_start": ["uniform", "capacity"]})
    assert_printed("Importances", "importance", searches.folder.uri)
    written = ("--out", str(tmp_path / "table.parquet"), "--round-to", "4", "--quiet")
    assert_printed("LatencyReport", "latency-table", "small_cnn", "--device", "torch-cpu", "--image", "3x8x8", *written)
    assert_printed("{string: {string: {string: string}}}", "catalog")


def test_schema_prints_the_schema_of_study_files(tmp_path: Path) -> None:
    assert json.loads(howcompact("schema", cwd=tmp_path).stdout) == study_schema()

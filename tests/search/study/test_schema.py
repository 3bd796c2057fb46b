"""The JSON schema of a study file accepts what is a study and refuses what is not, and explains every setting."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from search.study.reading import shipped
from search.study.schema import DIALECT, FILE, study_schema
from search.study.spec import StudySpec
from trainables.names import NAMES

SCHEMA = study_schema()
NEEDED = {"Pruning": {"granularity", "criterion", "policy", "sparsity"}, "": {"name"}}  # settings without a default


def valid(study: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(study))


def settings() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for model, schema in ({"": SCHEMA} | SCHEMA["$defs"]).items():
        for name, field in schema["properties"].items():
            yield model, name, field


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == DIALECT


@pytest.mark.parametrize("name", shipped())
def test_shipped_studies_name_the_schema_and_fit_it(name: str) -> None:
    text = shipped()[name]
    assert f"# yaml-language-server: $schema={FILE}" in text.splitlines()
    assert valid(yaml.safe_load(text))


@pytest.mark.parametrize("model", ["", *SCHEMA["$defs"]])
def test_every_setting_has_a_description_and_a_default(model: str) -> None:
    for owner, name, field in settings():
        if owner == model:
            assert field["description"].endswith("."), name
            assert ("default" in field) == (name not in NEEDED.get(owner, ())), name


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"tracking": False, "records": {"dense": False, "finetune": "after"}},
        {"curricula": ["easy-first", {"name": "drop-hardest", "phase": "dense"}]},
        {"models": ["my.module:network", "resnet50"], "data": {"size": None}, "resources": {"gpus": 0.5}},
    ],
)
def test_what_a_study_accepts_fits(right: dict[str, Any]) -> None:
    assert valid(right)
    StudySpec.model_validate({"name": "s"} | right)


@pytest.mark.parametrize(
    "wrong",
    [
        {"polices": ["uniform"]},
        {"policies": ["unifrom"]},
        {"finetune": {"epoch": 3}},
        {"sparsities": [1.5]},
        {"search": {"sampler": "tpee"}},
        {"curricula": ["easy-frist"]},
        {"data": {"name": "digit"}},
        {"before": [{"granularity": "block"}]},
        {"seeds": "0"},
        [],
    ],
)
def test_a_typo_does_not_fit(wrong: Any) -> None:
    assert not valid(wrong)


def test_names_of_closed_tables_are_offered() -> None:
    text = repr(SCHEMA)
    for names in NAMES.values():
        assert all(repr(name) in text for name in names)

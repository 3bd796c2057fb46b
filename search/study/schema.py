"""The JSON schema of a study file, by which editors complete and check it."""

from typing import Any

from search.study.spec import StudySpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = "study.schema.json"  # the name that the shipped studies expect beside them


def study_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12), with a description of each setting and its default.

    A file may leave its name out. The checksum of the data is no setting: each run computes it.
    """
    schema = StudySpec.model_json_schema()
    del schema["required"]
    del schema["$defs"]["DataSpec"]["properties"]["content"]
    return {"$schema": DIALECT, **schema, "title": "A study of howcompact"}

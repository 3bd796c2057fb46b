"""The JSON schema of study files. With it, editors complete and check them."""

from typing import Any

from search.study.spec import StudySpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = "study.schema.json"  # the shipped studies expect this file beside them


def study_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12), with a description of each setting and its default.

    The name is not required, because the file's name replaces it. Checksums are left out, because each run
    computes them.
    """
    schema = StudySpec.model_json_schema()
    del schema["required"]
    del schema["$defs"]["DataSpec"]["properties"]["content"]
    del schema["$defs"]["Curriculum"]["properties"]["content"]
    del schema["properties"]["contents"]
    return {"$schema": DIALECT, **schema, "title": "A study of howcompact"}

"""The densities of the policy "given": from a table, from a trial of another study, or written in the study."""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, TypeAdapter, ValidationError

from search.study import strict_yaml
from trainables.frozen import Frozen
from trainables.names import GranularityName
from trainables.outcome import Outcome
from trainables.pruning_spec import Share
from trainables.storage.columns import read_columns
from trainables.storage.credentials import Address
from trainables.storage.folder import Folder
from trainables.storage.strict_json import from_json

NAMES, DENSITIES = ("part", "layer", "name"), ("density", "share")  # columns of a table
OUTCOME = "outcome.json"

Densities = Mapping[str, Share]
Key = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{16})?$")]


class Given(Frozen):
    """Where the densities come from: a table, a trial of another study, or this setting itself."""

    table: Address = Field("", description="A CSV, Parquet, JSON or YAML file with the density of each part.")
    study: Address = Field("", description="The folder of another study, with `trial`.")
    trial: Key = Field("", description="The key of the trial whose parts have the densities.")
    densities: Densities = Field({}, description="The density of each part; each run fills it from the other settings.")


def _of_table(value: object) -> object:
    return {"table": value} if isinstance(value, str) else value


GivenSetting = Annotated[Given, BeforeValidator(_of_table, json_schema_input_type=str | Given)]


def read_given(given: Given, granularity: GranularityName) -> Given:
    """Replace the place of densities by the densities themselves, which count in the keys of trials.

    Raises ValueError where none or several places are named, and where the densities cannot be read or are not in
    [0, 1], not all 0.
    """
    places = [name for name in ("table", "study", "densities") if getattr(given, name)]
    if len(places) != 1 or bool(given.study) != bool(given.trial):
        raise ValueError(
            "given must name a table, or a study and a trial, or the densities themselves, but has "
            f"{', '.join([*places, *(['trial'] if given.trial else [])]) or 'none'}; name one of them"
        )
    if given.table:
        densities = densities_of(given.table)
    elif given.study:
        densities = _read_trial(given.study, given.trial, granularity)
    else:
        densities = _checked(dict(given.densities), "it")
    return Given(densities=densities)


def densities_of(table: str) -> dict[str, float]:
    """Read a table. Raises ValueError as `read_given` does."""
    return _checked(_read_table(table), table)


def _checked(values: Mapping[str, Any], source: str) -> dict[str, float]:
    try:
        densities = TypeAdapter(dict[str, Share]).validate_python(values)
    except ValidationError as error:
        name, value = error.errors()[0]["loc"][0], error.errors()[0]["input"]
        raise ValueError(f"given must have densities from 0 to 1, but {source} has {value!r} for {name}") from None
    if not any(densities.values()):
        raise ValueError(f"given must have a density above 0, but {source} has none")
    return densities


def _read_trial(study: str, trial: str, granularity: GranularityName) -> dict[str, float]:
    folder = Folder.at(study) / "trials" / trial
    try:
        outcome = Outcome.from_file(folder.read(OUTCOME))
    except FileNotFoundError:
        raise ValueError(
            f"given must name a trial that has ended, but {study} has no trial {trial}; howcompact best names one"
        ) from None
    if outcome.facts is None:
        raise ValueError(f"given must name a trial that pruned its network, but trial {trial} of {study} failed")
    if outcome.spec.granularity != granularity:
        raise ValueError(
            f"given must name a trial of granularity {granularity!r}, but trial {trial} of {study} has "
            f"{outcome.spec.granularity!r}; name another"
        )
    return dict(outcome.facts.parts)


def _read_table(table: str) -> dict[str, Any]:
    """Read a file by the end of its name: name -> density as it is written there."""
    file = Folder.at(table)
    try:
        content = file.parent.read(file.name)
    except FileNotFoundError:
        raise ValueError(f"given.table must be a file, but {table} is not there; correct it") from None
    kind = file.name.rpartition(".")[2].lower()
    if kind not in _READERS:
        raise ValueError(f"given.table must end with .{', .'.join(_READERS)}, but got {table}; rename or convert it")
    try:
        return _READERS[kind](content)
    except ValueError as error:
        raise ValueError(f"given.table must hold the density of each part, but {table} does not: {error}") from None


def _of_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns = list(rows[0]) if rows else []
    name, density = (next((c for c in columns if c in known), None) for known in (NAMES, DENSITIES))
    if name is None or density is None:
        raise ValueError(f"it must have a column {' or '.join(NAMES)}, and a column {' or '.join(DENSITIES)}")
    return _once([(str(row[name]), row[density]) for row in rows])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated := [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]:
        raise ValueError(f"it names {repeated[0]} more than once")
    return dict(pairs)


def _of_mapping(values: Any) -> dict[str, Any]:
    """Read name -> density, or what has it as `parts`, such as the output of `howcompact allocate --json`."""
    if isinstance(values, dict) and isinstance(values.get("parts"), dict):
        values = values["parts"]
    if not isinstance(values, dict) or not values:
        raise ValueError("it must map names to densities, or have such a map as its parts")
    return {str(name): value for name, value in values.items()}


_READERS = {
    "json": lambda content: _of_mapping(from_json(content.decode())),
    "yaml": lambda content: _of_mapping(strict_yaml.parse(content.decode())),
    "yml": lambda content: _of_mapping(strict_yaml.parse(content.decode())),
    "csv": lambda content: _of_columns(list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))),
    "parquet": lambda content: _of_columns(read_columns(content).to_pylist()),
}

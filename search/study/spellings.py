"""Settings that a study file may write in more than one way, and the form of its name."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, StringConstraints

from trainables.curriculum_spec import Curriculum
from trainables.device_spec import DeviceSpec
from trainables.names import CurriculumName
from trainables.spec import Quantise, Taken
from trainables.storage.credentials import Address

TABLES = ".parquet"  # ends the path of a latency table, and the name of no device


def _off_if_false(value: object) -> object:
    """Read a bare off, which YAML reads as false."""
    return "off" if value is False else value


def _listed(value: object) -> object:
    return (value,) if isinstance(value, bool) else value


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _device(value: object) -> object:
    return {"table": value} if isinstance(value, str) and value.endswith(TABLES) else _named(value)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Named = Annotated[Curriculum, BeforeValidator(_named, json_schema_input_type=CurriculumName | Curriculum)]
Compensate = Annotated[tuple[bool, ...], BeforeValidator(_listed, json_schema_input_type=bool | tuple[bool, ...])]
Device = Annotated[DeviceSpec, BeforeValidator(_device, json_schema_input_type=str | DeviceSpec)]
Tracking = Annotated[Address, BeforeValidator(_off_if_false, json_schema_input_type=str | Literal[False])]
Record = Annotated[Taken, BeforeValidator(_off_if_false, json_schema_input_type=Taken | Literal[False])]
Quantising = Annotated[Quantise, BeforeValidator(_off_if_false, json_schema_input_type=Quantise | Literal[False])]

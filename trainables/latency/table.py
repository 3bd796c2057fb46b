"""A latency table: how long a device takes for networks of different widths, and what it predicts for others."""

import hashlib
from copy import copy
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from trainables.counts import quantity
from trainables.device_spec import DeviceName
from trainables.frozen import Frozen
from trainables.names import GranularityName
from trainables.pruning.granularity import Prunable
from trainables.pruning.held import some
from trainables.pruning.latency_cost import PICOSECONDS, Floats
from trainables.storage import columns
from trainables.storage.folder import Folder
from trainables.storage.strict_json import damage_as_error

FIT = 0.05  # a table is unfit if the median error of its prediction is larger
NOISY = 0.2  # other work is likely if the spread or the drift of a table is larger
KEY = b"howcompact.latency-table"

AnyPrunable = TypeVar("AnyPrunable", bound=Prunable)


class TableHeader(Frozen):
    """What was measured, and how."""

    model: str
    inputs: str  # the extents and the type of each input for one sample
    granularity: GranularityName
    units: dict[str, int]  # part of the dense network -> units
    round_to: int  # channels were kept in multiples of this
    device: DeviceName
    hardware: str  # name of the processor or the GPU
    threads: int
    batch: int
    runs: int  # of each network
    spread: float = Field(ge=0.0)  # interquartile range of a network's runs over their median: median over networks
    drift: float = Field(ge=0.0)  # largest time of the dense network in a group over its smallest, less 1
    versions: dict[str, str]  # of the runtime
    measured: str  # end of measuring: UTC, ISO 8601

    @property
    def setting(self) -> str:
        """Name the device and its settings in short."""
        return f"{self.device} ({self.hardware}, {quantity(self.threads, 'thread')}, batches of {self.batch})"


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Measured networks. The dense network is the first one."""

    header: TableHeader
    kept: NDArray[np.int64]  # (networks, parts) units, in the order of `header.units`
    ms: Floats  # (networks,) lower quartile of the runs, as other work only adds time
    held_out: NDArray[np.bool_]  # (networks,) whether a network tests the prediction; it is not fitted

    @property
    def dense_ms(self) -> float:
        """The dense network's milliseconds."""
        return float(self.ms[0])

    def priced(self, prunable: AnyPrunable) -> AnyPrunable:
        """View the same network with its latency. Raises ValueError for a table of another network."""
        self.refuse_other(prunable, self.header.inputs)
        seen = copy(prunable)
        seen.latency = prunable.latency_terms().fitted(self.kept[~self.held_out], self.ms[~self.held_out])
        return seen

    def refuse_other(self, prunable: Prunable, inputs: str) -> None:
        """Raise ValueError if the table is of another network, of other units or of other inputs."""
        units = {part.name: part.units for part in prunable.parts}
        if units != self.header.units:
            here, there = ({*found.items()} for found in (units, self.header.units))
            differ = sorted(name for name, _ in here ^ there)
            raise ValueError(
                f"a latency table must be of the network that is pruned, but it is of {self.header.model} with "
                f"{quantity(len(self.header.units), 'part')}, and {some(dict.fromkeys(differ))} differ; measure "
                "the network with howcompact latency-table"
            )
        if inputs != self.header.inputs:
            raise ValueError(
                f"a latency table must be of the inputs that the network takes, {inputs}, but it is of "
                f"{self.header.inputs}; measure again with these"
            )

    def errors(self, prunable: Prunable) -> Floats:
        """Predict the networks that were held out: (held out,) differences, as fractions of their measured time."""
        latency = self.priced(prunable).latency
        assert latency is not None
        predicted = latency(self.kept[self.held_out]) / PICOSECONDS
        wrong: Floats = np.abs(predicted / self.ms[self.held_out] - 1.0)
        return wrong

    def to_parquet(self) -> bytes:
        """Write the table: a row for each network."""
        names = [*self.header.units]
        kept = [list(zip(names, row, strict=True)) for row in self.kept.tolist()]
        table = pa.table(
            {
                "kept": pa.array(kept, pa.map_(pa.string(), pa.int64())),
                "ms": pa.array(self.ms, pa.float64()),
                "held_out": pa.array(self.held_out, pa.bool_()),
            }
        )
        return columns.to_parquet(table.replace_schema_metadata({KEY: self.header.model_dump_json()}))

    @classmethod
    def at(cls, where: str) -> Self:
        """Read the file at a path or a URI. Raises ValueError for what is not a table."""
        return cls.from_parquet(_bytes_at(where), where)

    @classmethod
    def from_parquet(cls, content: bytes, where: str) -> Self:
        """Read a table. Raises ValueError for what is not one. where: what errors call the file."""
        with damage_as_error(f"the latency table {where}"):
            table = columns.read_columns(content)
            metadata = table.schema.metadata or {}
            if KEY not in metadata:
                raise ValueError("it must be a file of howcompact latency-table, but says nothing of how it was made")
            header = TableHeader.model_validate_json(metadata[KEY])
            rows = [dict(row) for row in table.column("kept").to_pylist()]
            kept = np.array([[row[name] for name in header.units] for row in rows], np.int64)
            ms = table.column("ms").to_numpy()
            held_out = table.column("held_out").to_numpy()
            _refuse_wrong(header, kept, ms, held_out)
            return cls(header, kept, ms, held_out)


def table_content(where: str) -> str:
    """Return 16 hexadecimal digits of the bytes of a table. Raises ValueError where it cannot be read."""
    return hashlib.sha256(_bytes_at(where)).hexdigest()[:16]


def _bytes_at(where: str) -> bytes:
    file = Folder.at(where)
    try:
        return file.parent.read(file.name)
    except FileNotFoundError:
        raise ValueError(f"device.table must be a file, but {where} is not there; correct it") from None


def _refuse_wrong(header: TableHeader, kept: NDArray[np.int64], ms: Floats, held_out: NDArray[np.bool_]) -> None:
    units = np.array([*header.units.values()])
    if not (len(units) and len(kept) and (kept >= 0).all() and (kept <= units).all() and (kept[0] == units).all()):
        raise ValueError("its first network must be the dense one, and none may keep more units")
    if not (np.isfinite(ms).all() and (ms > 0).all()):
        raise ValueError("ms must be above 0")
    if held_out[0] or not held_out.any() or held_out.all():
        raise ValueError("it must hold out some networks, and not the dense one")

"""The settings of a device: on what a network is timed."""

from typing import Literal, Self

from pydantic import Field

from trainables.frozen import Frozen
from trainables.storage.credentials import Address

DeviceName = Literal["auto", "torch-cpu", "torch-cuda", "onnxruntime-cpu"]


class DeviceSpec(Frozen):
    """A device of the machine that measures, or a table that was measured elsewhere."""

    name: DeviceName = Field("auto", description="The device; auto: PyTorch, on the GPU where a trial has one.")
    threads: int = Field(1, ge=1, le=1024, description="Threads of the CPU.")
    batch: int = Field(1, ge=1, le=1 << 16, description="Samples that the network takes at once.")
    table: Address = Field("", description="Path or URI of a table of `howcompact latency-table`, for another machine.")
    content: str = Field("", description="Checksum of the table, which each run computes.")

    def identity(self) -> Self:
        """Leave out the path of a table whose checksum is known."""
        same = super().identity()
        return same.model_copy(update={"table": ""}) if self.table and self.content else same

    def found_by(self, now: "DeviceSpec") -> "DeviceSpec":
        """Take the path of the same table from `now`; return this unchanged where that is another device."""
        return now if self.table and self.content and now.content == self.content else self

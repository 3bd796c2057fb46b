"""The settings of a curriculum: which samples each step of a training draws."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field

from trainables.frozen import Frozen
from trainables.names import CurriculumName, MeasureName, PacingName
from trainables.storage.credentials import Address


class Curriculum(Frozen):
    """How a training draws its samples by their scores. The default draws every sample once an epoch."""

    name: CurriculumName = Field(
        "standard", description="Name of the curriculum; standard draws every sample once an epoch."
    )
    phase: Literal["finetune", "dense"] = Field("finetune", description="The training that follows the curriculum.")
    measure: MeasureName = Field("learnability", description="The measure that scores the samples.")
    network: str = Field("", description="Model whose dense training scores the samples; empty: the trial's own model.")
    content: str = Field("", description="Checksum of the user's own network or of the table, which each run computes.")
    code: str = Field("", description="Checksums of the user's own curriculum and measure, which each run computes.")
    table: Address = Field(
        "",
        description="Path or URI of samples.parquet of `howcompact learnability`; its means over seeds are the scores.",
    )
    pacing: PacingName = Field("linear", description="How fast a paced curriculum adds the other samples.")
    start: float = Field(
        0.2, gt=0.0, le=1.0, description="Fraction of the samples that a paced curriculum begins with."
    )
    full: float = Field(
        0.8, gt=0.0, le=1.0, description="Fraction of the steps after which a paced curriculum uses all samples."
    )
    fraction: float = Field(
        0.3, gt=0.0, lt=1.0, description="Fraction of the samples that a dropping curriculum leaves out."
    )
    balanced: bool = Field(
        True, description="Whether samples are ordered and dropped class by class, if they have labels."
    )
    shuffled: bool = Field(False, description="Control: the scores are shuffled among the samples.")

    def identity(self) -> Self:
        """Leave out the path of a table whose checksum is known."""
        same = super().identity()
        return same.model_copy(update={"table": ""}) if self.table and self.content else same

    def found_in(self, now: "Iterable[Curriculum]") -> "Curriculum":
        """Take the path of the same table from the curricula in `now`; return this unchanged where none has it."""
        same = [other.table for other in now if self.table and self.content and other.content == self.content]
        return self.model_copy(update={"table": same[0]}) if same else self

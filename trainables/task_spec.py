"""What a network is trained for: a function of the user's own, and what each run finds of it. Needs no torch."""

from typing import Annotated

from pydantic import Field

from trainables.frozen import Frozen

MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class MetricSpec(Frozen):
    """What judges a network."""

    name: MetricName = Field("accuracy", description="Name of the metric.")
    higher_is_better: bool = Field(True, description="Whether a higher value is better.")

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that higher is better: 1 or -1."""
        return 1.0 if self.higher_is_better else -1.0


class TaskSpec(Frozen):
    """A task of the user's own; by default the classification of images."""

    function: str = Field("", description='The function "package.module:function" that returns the Task.')
    code: str = Field("", description="Checksum of its code, which each run computes.")
    metric: MetricSpec = Field(MetricSpec(), description="The metric of the Task, which each run looks up.")

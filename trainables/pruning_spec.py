"""The settings of pruning and recovery that a study shares among its trials."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trainables.frozen import Frozen
from trainables.names import CriterionName, GranularityName, PolicyName, ScheduleName, ShapingName

Sparsity = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Schedule(Frozen):
    """How the sparsity rises: at once, or in steps with training between them."""

    name: ScheduleName = Field(
        "one-shot", description="How the sparsity rises: at once, or in steps with training between them."
    )
    steps: int = Field(1, ge=1, description="Number of pruning steps.")
    step_epochs: int = Field(
        1, ge=1, description="Epochs of training between two steps, at the constant learning rate of fine-tuning."
    )


class Distillation(Frozen):
    """How a pruned network learns from the outputs of the dense one."""

    temperature: float = Field(4.0, gt=0.0, description="Temperature of both softmax outputs; the default is ours.")
    weight: float = Field(
        0.9,
        ge=0.0,
        le=1.0,
        description="Weight of the dense network's output in the loss; the labels have the rest. The default is ours.",
    )


class Gates(Frozen):
    """How gates on channels are trained with the weights until they meet the budget. All defaults are ours."""

    epochs: int = Field(
        1,
        ge=1,
        description="The first epochs of fine-tuning train the gates too, this many; a third of all epochs works best.",
    )
    shaping: ShapingName = Field("straight-through", description="Shape of the gradient that a gate passes on.")
    resolution: int = Field(
        100_000,
        ge=1,
        le=1_000_000,
        description="M of the gate function: an open or closed gate is within 1 / M of 1 or 0.",
    )
    lr: float = Field(
        0.005, gt=0.0, description="Learning rate of the gates, divided by their number; decays to 0 over `epochs`."
    )
    strength: float = Field(0.2, gt=0.0, description="Weight of the distance to the budget in the loss.")
    power: Literal[1, 2] = Field(1, description="Power of the distance to the budget in the loss.")


class Pruning(Frozen):
    """An earlier one-shot pruning: its units, its criterion, its policy and its sparsity."""

    granularity: GranularityName = Field(
        description="The units that this pruning removes; coarser than those of the trial."
    )
    criterion: CriterionName = Field(description="The criterion that scores the units.")
    policy: PolicyName = Field(description="The policy that shares the budget.")
    sparsity: Sparsity = Field(description="Fraction of the dense network's budget that is removed after this pruning.")


class LayerRule(Frozen):
    """What the layers that a rule matches keep. The part of a layer keeps it: all units, a share, or a range of it."""

    match: str = Field("", description="Pattern of the names of layers or parts, such as 'heads*' or '*.conv1'.")
    type: str = Field("", description="Class of the module that has a layer, such as Linear; with match, both hold.")
    keep: float | None = Field(None, description="Only 1.0: no pruning removes a unit of these layers.")
    density: Share | None = Field(None, description="The share of its units that each part keeps.")
    at_least: Share | None = Field(None, description="The smallest share of its units that each part keeps.")
    at_most: Share | None = Field(None, description="The largest share of its units that each part keeps.")

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if not (self.match or self.type):
            raise ValueError("a rule must name its layers, but has neither match nor type; add one")
        bounds = [name for name in ("at_least", "at_most") if getattr(self, name) is not None]
        given = [name for name in ("keep", "density") if getattr(self, name) is not None] + bounds[:1]
        if not given:
            raise ValueError("a rule must say what its layers keep; add keep: 1.0, density, at_least or at_most")
        if len(given) > 1:
            raise ValueError(
                f"a rule must have only one of keep, density and a range, but got {' and '.join(given)}; leave one out"
            )
        if self.keep not in (None, 1.0):
            raise ValueError(
                f"keep must be 1.0, which keeps all units, but got {self.keep:g}; for a share use density instead"
            )
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(
                f"at_least must not exceed at_most, but got {self.at_least:g} and {self.at_most:g}; exchange them"
            )
        return self

    @property
    def shares(self) -> tuple[float, float]:
        """The smallest and the largest share of its units that a part may keep."""
        fixed = self.density if self.keep is None else self.keep
        if fixed is not None:
            return fixed, fixed
        return self.at_least or 0.0, 1.0 if self.at_most is None else self.at_most

    @property
    def label(self) -> str:
        """The rule in short: "heads* keep 1", "*.conv1 0.3 to 0.8", "Linear 0.5", "fc at least 0.3"."""
        low, high = self.shares
        if self.at_least is not None and self.at_most is not None:
            share = f"{low:g} to {high:g}"
        elif self.at_least is not None or self.at_most is not None:
            share = f"at most {high:g}" if self.at_least is None else f"at least {low:g}"
        else:
            share = f"{'keep ' if self.density is None else ''}{low:g}"
        return " ".join(filter(None, (self.match, self.type, share)))

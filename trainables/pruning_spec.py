"""The settings of pruning and recovery that a study shares among its trials."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.frozen import Frozen
from trainables.names import CriterionName, GranularityName, PolicyName, ScheduleName, ShapingName

Sparsity = Annotated[float, Field(ge=0.0, lt=1.0)]


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

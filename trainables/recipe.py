"""The settings of a training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trainables.frozen import Frozen
from trainables.names import OptimizerName


class Recipe(Frozen):
    """How a network is trained."""

    epochs: int = Field(10, ge=0, description="Number of epochs.")
    lr: float = Field(0.05, gt=0.0, description="Learning rate at the start.")
    batch_size: int = Field(128, ge=2, description="Samples in a batch.")
    optimizer: OptimizerName = Field(
        "sgd", description="The optimizer: SGD with momentum, AdamW, or package.module:function."
    )
    code: str = Field("", description="Checksum of the code of the user's own optimizer, which each run computes.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Momentum of SGD; beta1 of AdamW.")
    nesterov: bool = Field(False, description="Whether SGD has Nesterov's momentum.")
    weight_decay: float = Field(5e-4, ge=0.0, description="Weight decay.")
    schedule: Literal["cosine", "linear", "step", "constant"] = Field(
        "cosine",
        description="Learning rate over the epochs: falls to 0 as a cosine or in a line, falls to a tenth at half and "
        "at three quarters of the epochs, or stays constant.",
    )
    warmup: float = Field(
        0.0, ge=0.0, description="Epochs in which the learning rate rises in a line from 0; the schedule has the rest."
    )
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="Share of each label spread over all classes.")
    loss_weights: Literal["balanced"] | tuple[Annotated[float, Field(ge=0.0)], ...] = Field(
        (),
        description="Weight of each class in the loss; balanced weighs classes with few training samples more, with a "
        "mean of 1 over the samples.",
    )
    mixup: float = Field(
        0.0, ge=0.0, description="Mix pairs of images and of their losses, in a share drawn from Beta(mixup, mixup)."
    )
    cutmix: float = Field(
        0.0, ge=0.0, description="Paste a box of one image into another, of an area drawn from Beta(cutmix, cutmix)."
    )
    grad_clip: float = Field(0.0, ge=0.0, description="Largest norm of all gradients together; 0 does not clip.")
    ema: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Decay of a moving average of the weights after each step, which is evaluated and kept; 0: none.",
    )

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError("nesterov needs optimizer 'sgd' with a momentum; set momentum, or leave nesterov out")
        if self.warmup and self.warmup >= self.epochs:
            raise ValueError(
                f"warmup must be shorter than the training, but got {self.warmup:g} of {self.epochs} epochs; lower it"
            )
        return self

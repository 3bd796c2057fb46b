"""What a trial occupies on the cluster, and which trainings record their samples."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from trainables.frozen import Frozen
from trainables.pruning_spec import Share
from trainables.spec import DenseSpec, Precision, Taken, TrialSpec


def off_if_false(value: object) -> object:
    """Read a bare off, which YAML reads as false."""
    return "off" if value is False else value


Record = Annotated[Taken, BeforeValidator(off_if_false, json_schema_input_type=Taken | Literal[False])]


class Resources(Frozen):
    """What one trial occupies on the cluster."""

    workers: int = Field(
        1, ge=1, le=64, description="Workers that share each training; the result is the same for any number."
    )
    cpus: float = Field(1.0, gt=0.0, description="CPU cores of each worker.")
    gpus: Share | Literal["auto"] = Field(
        "auto", description="GPUs of each worker, or a share of one; auto measures what is fastest."
    )
    precision: Precision = Field(
        "auto", description="Precision of trainings and accuracies; auto: bfloat16 on GPUs that have it, else float32."
    )


class Recording(Frozen):
    """Which trainings record each training sample, and when."""

    dense: Record = Field(
        DenseSpec().record,
        description="When dense training records each sample: during its epoch, after the epoch, or never.",
    )
    finetune: Record = Field(
        TrialSpec().record,
        description="When recovery records each sample: during its epoch, after the epoch, or never.",
    )

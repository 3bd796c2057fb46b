"""What a trial occupies on the cluster, and which trainings record their samples."""

from typing import Literal

from pydantic import Field

from search.study.spellings import Record
from trainables.frozen import Frozen
from trainables.pruning_spec import Share
from trainables.spec import DenseSpec, Precision, TrialSpec


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

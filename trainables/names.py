"""The names that settings may use and what each one needs. The code behind the names is not imported.

So a study with a misspelt name is refused before torch is imported. A test checks that each table of functions has
exactly these names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from trainables.lookup import did_you_mean

GranularityName = Literal["weight", "channel", "block", "projected-block"]
BLOCKS: tuple[GranularityName, ...] = ("block", "projected-block")
Source = Literal["samples", "latency", "profile", "gates", "probe"]  # measurements that a trial may read
SEARCHED, RANDOM_SEARCH = SEARCHES = (
    "searched",
    "random-search",
)  # a search chooses their densities; the second is a control
GIVEN = "given"  # the user gives its densities: a table, or another trial's
OF_DENSITIES = (*SEARCHES, GIVEN)  # policies whose trials have densities among their settings
GATES_JOINT = "gates-joint"  # keeps the units of open gates, and the weights that were trained with the gates
DRAWN_AGAIN = ("scratch", "scratch-b")  # recoveries that train new random weights
CUTTING = ("resized_crop", "resized_crop_flip")  # augmentations that cut from whole images, which must stream
MEASURES_OF_LABELS = ("aum", "el2n", "confidence", "variability")  # read the probability or the margin of a label
GATED = ("gates", GATES_JOINT)  # criteria and policies that read trained gates


@dataclass(frozen=True)
class Needs:
    """The granularities that a policy or a criterion works on, and the measurements that it reads."""

    granularities: tuple[GranularityName, ...] = get_args(GranularityName)
    inputs: tuple[Source, ...] = ()


POLICY_NEEDS: Mapping[str, Needs] = {
    "uniform": Needs(),
    "uniform-plus": Needs(("weight",)),
    "random": Needs(),
    "random-best": Needs(inputs=("samples",)),
    "erk": Needs(),
    "igq": Needs(),
    "global": Needs(),
    "by-score": Needs(),
    "isomorphic": Needs(),
    "lamp": Needs(),
    "snip": Needs(inputs=("samples",)),
    "synflow": Needs(),
    "alpha-pruning": Needs(),
    "gates": Needs(("channel",), inputs=("gates",)),
    GATES_JOINT: Needs(("channel",), inputs=("gates",)),
    "sensitivity": Needs(inputs=("profile",)),
    "rdp": Needs(inputs=("profile",)),
    "rdp-worst": Needs(inputs=("profile",)),
    "capacity": Needs(inputs=("samples",)),
    "capacity-energy": Needs(),
    "capacity-coding": Needs(),
    "capacity-functional": Needs(inputs=("profile",)),
    "capacity-information": Needs(inputs=("samples",)),
    **dict.fromkeys(OF_DENSITIES, Needs()),
}

CRITERION_NEEDS: Mapping[str, Needs] = {
    "magnitude": Needs(("weight",)),
    "l1": Needs(("channel", *BLOCKS)),
    "l2": Needs(("channel", *BLOCKS)),
    "bn-scale": Needs(("channel",)),
    "taylor": Needs(inputs=("samples",)),
    "snip": Needs(inputs=("samples",)),
    "group-norm": Needs(("channel",)),
    "gates": Needs(("channel",), inputs=("gates",)),
    "probe": Needs(BLOCKS, inputs=("probe",)),
    "random": Needs(),
}

NAMES: Mapping[str, tuple[str, ...]] = {
    "policy": tuple(POLICY_NEEDS),
    "criterion": tuple(CRITERION_NEEDS),
    "granularity": get_args(GranularityName),
    "schedule": ("one-shot", "iterative", "gradual"),
    "recovery": ("finetune", "rewind", "distill", "scratch", "scratch-b"),
    "optimizer": ("sgd", "adamw"),
    "shaping": ("straight-through", "sech2"),
    "curriculum": (
        "standard",
        "easy-first",
        "hard-first",
        "weigh-easy",
        "weigh-hard",
        "sample-easy",
        "sample-hard",
        "drop-hardest",
        "drop-easiest",
    ),
    "pacing": ("linear", "quadratic", "root", "step", "exponential", "logarithmic"),
    "measure": (
        "learnability",
        "forgetting",
        "first-learned",
        "aum",
        "el2n",
        "confidence",
        "variability",
        "correctness",
    ),
    "model": ("vgg16", "resnet20", "resnet32", "resnet56", "mobilenet", "small_cnn", "vit"),  # the project's own
    "data.name": ("digits", "parquet", "folder", "cifar10", "cifar100", "fashion_mnist"),
}


def _one_of(kind: str) -> Any:
    """Show the names of a kind in the JSON schema. Pydantic accepts other names; the checks refuse them with a hint."""
    return Field(json_schema_extra={"enum": [*NAMES[kind]]})


def or_own(names: Iterable[str]) -> Any:
    """Show names in the JSON schema where a function of the user's own may stand for one."""
    return Field(json_schema_extra={"anyOf": [{"enum": [*names]}, {"pattern": r"^[\w.]+:\w+$"}]})


PolicyName = Annotated[str, or_own(NAMES["policy"])]
CriterionName = Annotated[str, or_own(NAMES["criterion"])]
RecoveryName = Annotated[str, or_own(NAMES["recovery"])]
OptimizerName = Annotated[str, or_own(NAMES["optimizer"])]
ScheduleName = Annotated[str, _one_of("schedule")]
ShapingName = Annotated[str, _one_of("shaping")]
CurriculumName = Annotated[str, or_own(NAMES["curriculum"])]
PacingName = Annotated[str, _one_of("pacing")]
MeasureName = Annotated[str, or_own(NAMES["measure"])]
DataName = Annotated[str, _one_of("data.name")]
ModelName = Annotated[
    str, Field(examples=[*NAMES["model"], "timm:NAME", "hf:CLASS", "package.module:function"])
]  # or one of torchvision's


def unknown(kind: str, name: str) -> list[str]:
    """Return a complaint with the nearest names if a name is unknown; an empty list if it is known."""
    return [] if name in NAMES[kind] else [str(did_you_mean(kind, name, NAMES[kind]))]

"""Short names of networks, prunings and curricula, as tables, figures and pages show them."""

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

from trainables.curriculum_spec import Curriculum
from trainables.data_spec import DataSpec
from trainables.learnability.curriculum_kinds import label_of
from trainables.names import GIVEN
from trainables.own_function import is_external
from trainables.plugins import known_of
from trainables.pruning_spec import LayerRule, Schedule
from trainables.spec import TrialSpec

COMPENSATED = "compensated"
TRAINING = ("compensation", "recovery", "curriculum")  # fields: what happens to a network after it is pruned


class OfNetwork(Protocol):
    """A result of one network, or of several networks of one kind."""

    @property
    def dataset(self) -> str:
        """Name of the data set."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def width(self) -> float:
        """Factor on the model's channels."""


class Pruned(OfNetwork, Protocol):
    """A result of one way to prune."""

    @property
    def before(self) -> str:
        """Earlier prunings; empty if there are none."""

    @property
    def granularity(self) -> str:
        """Units that were removed: weight, channel, block or projected-block."""

    @property
    def criterion(self) -> str:
        """Criterion that scored the units."""

    @property
    def schedule(self) -> str:
        """Schedule of the sparsity."""

    @property
    def rules(self) -> str:
        """Rules for layers; empty if there are none."""


class Trained(Protocol):
    """A result of one way to go on from a pruned network."""

    @property
    def compensation(self) -> str:
        """COMPENSATED, or empty."""

    @property
    def recovery(self) -> str:
        """How the network was trained."""

    @property
    def curriculum(self) -> str:
        """Short name of the curriculum."""


class OfPolicy(Trained, Protocol):
    """A result of one policy."""

    @property
    def policy(self) -> str:
        """Policy that shared the budget."""


def model_name(model: str, width: float) -> str:
    """Name a model with its width: "resnet20 x 0.5", or "resnet20" at width 1."""
    return model if width == 1 else f"{model} x {width:g}"


def network_name(result: OfNetwork) -> str:
    """Name the network of a result with its data set: "cifar10: resnet20"."""
    return f"{result.dataset}: {model_name(result.model, result.width)}"


def pruning_name(result: Pruned) -> str:
    """Name earlier prunings, the removed units, their criterion, the schedule if it is not the default, and rules.

    For example "channels by magnitude, iterative".
    """
    before = f"{result.before}, then " if result.before else ""
    schedule = "" if result.schedule == Schedule().name else f", {result.schedule}"
    rules = f", layers {result.rules}" if result.rules else ""
    return f"{before}{result.granularity}s by {result.criterion}{schedule}{rules}"


def policy_label(spec: TrialSpec) -> str:
    """Name the policy of a trial.

    Given densities are told apart by a checksum, "given-0123abcd", and functions of the user's own by that of their
    code, "package.module:function-0123abcd".
    """
    if is_external(spec.policy):
        return f"{spec.policy}-{known_of(spec.code).get(spec.policy, '')[:8]}"
    if spec.policy != GIVEN:
        return spec.policy
    text = json.dumps(spec.densities, sort_keys=True)
    return f"{GIVEN}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def data_name(data: DataSpec) -> str:
    """Name a data set: by its name, or by the function of the user's task."""
    return data.task.function or data.name


def rules_name(rules: Sequence[LayerRule]) -> str:
    """Name the rules for layers: "heads* keep 1; *.conv1 0.3 to 0.8"."""
    return "; ".join(rule.label for rule in rules)


def training_name(result: Trained) -> str:
    """Name what happened after pruning, without standard training: "compensated, finetune, easy-first linear"."""
    curriculum = "" if result.curriculum == Curriculum().name else result.curriculum
    return ", ".join(filter(None, (result.compensation, result.recovery, curriculum)))


def differing(results: Sequence[Trained]) -> list[str]:
    """Name the fields of TRAINING in which results differ."""
    values = {name: {getattr(result, name) for result in results} for name in TRAINING}
    return [name for name in TRAINING if len(values[name]) > 1]


def policy_name(result: OfPolicy, differs: Sequence[str]) -> str:
    """Name the policy of a result, and its values of the fields in `differs`: "erk, compensated"."""
    return ", ".join(filter(None, (result.policy, *(getattr(result, name) for name in differs))))


def curriculum_name(curriculum: Curriculum) -> str:
    """Name a curriculum: "easy-first linear"."""
    return label_of(curriculum)

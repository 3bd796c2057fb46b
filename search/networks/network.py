"""The network that a command examines, saved or with fresh weights, and the settings of the command."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search.results.names import rules_name
from trainables.arguments import Arguments, blank
from trainables.catalog import checks
from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.checkpoint import Architecture
from trainables.checkpoints.record import Record, TrainedRecord
from trainables.data import sources
from trainables.data.splits import AnySplits
from trainables.data_spec import DataSpec
from trainables.mistakes import checked
from trainables.models import trial_run
from trainables.models.trust import NO_TRUST, Trust
from trainables.pruning.context import Calibration
from trainables.pruning.held import some
from trainables.pruning_spec import LayerRule
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder
from trainables.task_spec import MetricSpec
from trainables.training.calibration import calibration_samples

DTYPES = {"float32": torch.float32, "int64": torch.int64, "int32": torch.int32}


@dataclass(frozen=True, eq=False)
class Network:
    """A network on the CPU, and its training data."""

    name: str  # as the user gave it
    architecture: Architecture
    model: nn.Module
    data: DataSpec | None  # None: the weights are fresh
    rules: str = ""  # for layers, of the trial that has pruned it
    trust: Trust = NO_TRUST

    @property
    def metric(self) -> MetricSpec:
        """What judges it."""
        return self.data.task.metric if self.data else MetricSpec()

    def splits(self, asker: str) -> AnySplits:
        """Load the data that it was trained on.

        Raises ValueError, in the name of `asker`, if the weights are fresh, and for a task that is not trusted.
        """
        if self.data is None:
            raise untrained(asker, self.name)
        self.trust.check_task(self.data.task.function)
        return sources.load_any(self.data)

    def calibration(self, samples: int, asker: str, device: torch.device) -> Calibration:
        """Load the first training samples. Raises ValueError as `splits` does."""
        return calibration_samples(self.splits(asker), samples, device)


class _Ruled(Record):
    layers: tuple[LayerRule, ...] = ()


class _RulesRecord(Record):
    """The record of a network, which has the settings of its trial if a trial has pruned it."""

    spec: _Ruled | None = None


def untrained(asker: str, name: str) -> ValueError:
    """Build the error for a network that is not trained."""
    return ValueError(
        f"{asker} must measure a trained network, but {name!r} is not the folder of a checkpoint; give one that "
        "`howcompact best --out` wrote, or one in artifacts/dense of a storage"
    )


def saved(name: str, trust: Trust = NO_TRUST) -> Network | None:
    """Load the network of a checkpoint, as `checkpoint.load` does. None if the name is not a checkpoint's folder."""
    folder = Folder.at(name)
    if not manifest.is_whole(folder):
        return None
    found = checkpoint.load(folder, trust)
    pruned_by = found.read(_RulesRecord).spec
    rules = rules_name(pruned_by.layers) if pruned_by else ""
    return Network(name, found.architecture, found.network(), found.read(TrainedRecord).data, rules, trust)


def trained(name: str, asker: str, trust: Trust = NO_TRUST) -> Network:
    """Load the network of a checkpoint, as `saved`. Raises ValueError, in the name of `asker`, if there is none."""
    if found := saved(name, trust):
        return found
    raise untrained(asker, name)


def fresh(name: str, image: str, classes: int, seed: int, width: float = 1.0) -> Network:
    """Build a model by its name. image: its input, as "3x32x32". width: as in a study.

    Raises ValueError if one does not fit.
    """
    shape = re.fullmatch(r"(\d+)x(\d+)x(\d+)", image)
    if not shape:
        raise ValueError(f"--image must be channels x height x width, as 3x32x32, but got {image!r}")
    channels, height, across = (int(extent) for extent in shape.groups())
    trial_run.check_images(name, classes, (channels, height, across), width)
    torch.manual_seed(seed)
    built = Architecture(model=name, width=width, classes=classes, image=(channels, height, across))
    return Network(name, built, built.build(), None)


def by_name(
    name: str, image: str | None, tensor: str | None, classes: int, width: float = 1.0
) -> tuple[nn.Module, Arguments]:
    """Build a model by its name, and return it with an example (1, ...). image, tensor: what --image or --input says.

    Raises ValueError as `fresh` and `any_fresh` do, and if there are both.
    """
    if tensor is None:
        built = fresh(name, image or "3x32x32", classes, seed=0, width=width)
        return built.model, built.architecture.example()
    if image is not None:
        raise not_alone("--image")
    return any_fresh(name, tensor, classes, seed=0)


def not_alone(other: str) -> ValueError:
    """Refuse --input beside something else that gives the input."""
    return ValueError(f"--input must go with a model's name alone, but got also {other}; leave one out")


def any_fresh(name: str, tensor: str, classes: int, seed: int) -> tuple[nn.Module, Tensor]:
    """Build a model that reads one tensor, and return it with an example (1, ...).

    tensor: its input without the batch, as "16:int64" or "2x128"; the type is float32 by default. Numbers are 0, whole
    ones 1 and 0 in turn, which every table has. Raises ValueError if one does not fit.
    """
    found = re.fullmatch(rf"([1-9]\d*(?:x[1-9]\d*)*)(?::({'|'.join(DTYPES)}))?", tensor)
    if not found:
        raise ValueError(
            f"--input must be the extents of one input and its type, {some(DTYPES)}, as 16:int64 for token ids or "
            f"2x128 for a signal of two channels, but got {tensor!r}"
        )
    shape, dtype = [int(extent) for extent in found[1].split("x")], DTYPES[found[2] or "float32"]
    example = blank(shape, dtype)
    torch.manual_seed(seed)
    return trial_run.built_for(name, classes, example), example


def trial_spec(settings: Mapping[str, object], seed: int) -> TrialSpec:
    """Check the settings of a trial. Raises ValueError with all that is wrong."""
    spec = checked(TrialSpec, {"dense": DenseSpec(seed=seed), **settings})
    if found := checks.mismatches(spec):
        raise ValueError("\n".join(found))
    return spec

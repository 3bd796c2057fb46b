"""A trial prunes attention, recurrent layers and shared weights; its masks hold to the end, also after a kill."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainables.trials import (
    CPU,
    DENSE,
    WEIGHT,
    facts_of,
    make_shared,
    outcome_of,
    run_until_killed,
    without_times,
)
from trainables.allocation.output_variance import output_variances
from trainables.allocation.plan import prune_further
from trainables.checkpoints import checkpoint
from trainables.checkpoints.epochs import epoch_names
from trainables.compensation.compensation import Targets, compensate
from trainables.data.splits import Splits
from trainables.evaluate import load_trial
from trainables.models.layers import count, prunable_layers
from trainables.models.trust import Trust
from trainables.pruning.context import Calibration, PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularity import top_units
from trainables.pruning.masks import Weights
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial


class Kinds(nn.Module):
    """Patches, attention with a packed projection, a recurrent layer, an own matrix, and two layers that share one."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, 12, 2, 2)
        self.attend = nn.MultiheadAttention(12, 2, batch_first=True)
        self.recur = nn.LSTM(12, 8, batch_first=True, bidirectional=True)
        self.mix = nn.Parameter(torch.randn(16, 16) / 4)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, 8, 8) to (B, classes)."""
        x = self.patches(x).flatten(2).mT
        x = x + self.attend(x, x, x)[0]
        x = self.recur(x)[0].mean(1) @ self.mix
        logits: Tensor = self.head(self.second(self.first(x).relu()).relu())
        return logits


def kinds(num_classes: int, in_channels: int) -> nn.Module:
    return Kinds(num_classes, in_channels)


NAMES = [
    *("mix", "patches", "attend.q_proj", "attend.k_proj", "attend.v_proj", "attend.out_proj"),
    *(f"recur.weight_{side}_l0{way}" for way in ("", "_reverse") for side in ("ih", "hh")),
    *("first", "head"),
]
SPEC = WEIGHT.model_copy(
    update={
        "dense": DENSE.model_copy(update={"model": f"{__name__}:kinds", "width": 1.0, "recipe": Recipe(epochs=1)}),
        "sparsity": 0.8,
        "compensate": True,
    }
)


@pytest.fixture
def pruned() -> tuple[nn.Module, nn.Module, Weights, Calibration]:
    """A network, its copy at a density of a half, and samples."""
    torch.manual_seed(0)
    model = kinds(10, 1).eval()
    samples = Calibration((torch.randn(20, 1, 8, 8), torch.arange(20) % 10))
    return model, deepcopy(model), Weights(model, samples.images[:1]), samples


def test_masks_hold_and_a_killed_trial_goes_on_the_same(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Folder.at(str(tmp_path))
    make_shared([SPEC], splits, storage)
    whole, broken = storage / "whole", storage / "broken"
    list(run_trial(SPEC, splits, storage, whole, CPU))
    facts = facts_of(whole)
    assert list(facts.layers) == NAMES
    assert facts.params_kept == round(0.2 * facts.params_total)
    network = load_trial(whole, outcome_of(whole), CPU, Trust([SPEC.dense.model]))
    layers = prunable_layers(network, torch.zeros(1, 1, 8, 8))
    kept = {layer.name: int((layer.of(network.get_parameter(layer.parameter)) != 0).sum()) for layer in layers}
    assert sum(kept.values()) == facts.params_kept
    assert {name: pytest.approx(kept[name] / layer.size) for name, layer in zip(NAMES, layers, strict=True)} == (
        facts.layers
    )
    run_until_killed(run_trial(SPEC, splits, storage, broken, CPU), 2, monkeypatch)
    list(run_trial(SPEC, splits, storage, broken, CPU))
    assert without_times(outcome_of(broken).history) == without_times(outcome_of(whole).history)


def test_scores_are_those_of_the_rows_of_a_packed_projection(
    pruned: tuple[nn.Module, nn.Module, Weights, Calibration],
) -> None:
    model, _, prunable, samples = pruned
    scores = CRITERIA["taylor"](PruningContext(prunable, calibration=samples))
    nn.functional.cross_entropy(model(samples.inputs), samples.content[1]).backward()
    packed, shared = model.get_parameter("attend.in_proj_weight"), model.get_parameter("first.weight")
    assert packed.grad is not None
    assert shared.grad is not None
    by_part = (packed * packed.grad).abs().view(3, -1)
    for name, expected in zip(("q_proj", "k_proj", "v_proj"), by_part, strict=True):
        torch.testing.assert_close(scores[f"attend.{name}"], expected, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(scores["first"], (shared * shared.grad).abs().flatten(), rtol=1e-4, atol=1e-9)


def test_output_variances_are_those_of_the_packed_projections(
    pruned: tuple[nn.Module, nn.Module, Weights, Calibration],
) -> None:
    model, _, prunable, samples = pruned
    variances = output_variances(PruningContext(prunable, calibration=samples))
    attend = model.get_submodule("attend")
    tokens = model.get_submodule("patches")(samples.inputs).flatten(2).mT
    outputs = nn.functional.linear(tokens, attend.get_parameter("in_proj_weight")).flatten(0, 1).double()
    expected = outputs.var(0, unbiased=False).detach().split(12)
    for name, of_rows in zip(("q_proj", "k_proj", "v_proj"), expected, strict=True):
        torch.testing.assert_close(variances[f"attend.{name}"], of_rows, rtol=1e-4, atol=1e-6)
    assert {name: len(values) for name, values in variances.items()} == {
        layer.name: layer.outputs for layer in prunable.layers
    }


def test_compensation_leaves_what_it_cannot_fit_as_pruning_left_it(
    pruned: tuple[nn.Module, nn.Module, Weights, Calibration],
) -> None:
    model, dense, prunable, samples = pruned
    scores = CRITERIA["magnitude"](PruningContext(prunable))
    cut = prunable.remove({part.name: top_units(scores[part.name], part.units // 2) for part in prunable.parts})
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    compensate(model, Targets.read(dense, samples.inputs, 0), cut, samples.inputs)
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {"patches.weight", "patches.bias", "head.weight", "head.bias"}
    kept = count(model, cut.masks, samples.images[:1])
    assert kept.params_kept == prunable.cost(np.array([part.units // 2 for part in prunable.parts]), "params")
    assert not any(model.get_parameter(name)[~mask].any() for name, mask in cut.masks.items())


def test_a_later_step_removes_weights_among_those_that_are_left(
    pruned: tuple[nn.Module, nn.Module, Weights, Calibration],
) -> None:
    model, _, prunable, samples = pruned
    first = prunable.remove({part.name: torch.arange(0, part.units, 2) for part in prunable.parts}).masks
    quota = {part.name: part.units // 4 for part in prunable.parts}
    second = prune_further(model, samples.images[:1], TrialSpec(), None, first, quota).masks
    assert second.keys() == first.keys()
    for name, mask in second.items():
        assert not (mask & ~first[name]).any()
    assert count(model, second, samples.images[:1]).weights == quota


def test_a_trial_of_an_older_version_goes_on(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoints name masks by modules."""
    whole, broken = Folder.at(str(tmp_path / "whole")), Folder.at(str(tmp_path / "broken"))
    list(run_trial(WEIGHT, splits, storage, whole, CPU))
    run_until_killed(run_trial(WEIGHT, splits, storage, broken, CPU), 2, monkeypatch)
    for name in epoch_names(broken):
        saved = checkpoint.load(broken / name)
        masks = {key.removesuffix(".weight"): bits for key, bits in saved.tensors["masks"].items()}
        checkpoint.save(broken / name, {**saved.tensors, "masks": masks}, saved.record)
    list(run_trial(WEIGHT, splits, storage, broken, CPU))
    assert without_times(outcome_of(broken).history) == without_times(outcome_of(whole).history)

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, ResNet

from tests.trainables.conftest import as_if_trained
from trainables.models import hub
from trainables.models.layers import weight_of
from trainables.names import CRITERION_NEEDS, GranularityName, Source
from trainables.pruning.blocks import Blocks
from trainables.pruning.channels import Channels
from trainables.pruning.context import Calibration, PruningContext
from trainables.pruning.criteria import CRITERIA, weight_gradients
from trainables.pruning.gates import TrainedGates
from trainables.pruning.granularities import view
from trainables.pruning.masks import Weights
from trainables.pruning.probe_order import ProbeResult

EXAMPLE = torch.zeros(1, 1, 8, 8)
STAGE_3 = ["block3_1.conv2", "block3_2.conv2", "block3_3.conv2"]  # added up in the last stage of resnet20


def pairings() -> Iterator[tuple[str, GranularityName, str]]:
    for name, needs in CRITERION_NEEDS.items():
        for granularity in needs.granularities:
            yield name, granularity, "resnet20"
            if name != "bn-scale":  # one of its layers has no batch norm
                yield name, granularity, "small_cnn"


def trained(name: str) -> nn.Module:
    """Random statistics and scales, every second parameter frozen, and one block in eval mode."""
    torch.manual_seed(0)
    model = hub.build(name, 10, 1, width=0.5)
    with torch.no_grad():
        model(torch.randn(16, 1, 8, 8))
    for p in list(model.parameters())[::2]:
        p.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
    model.get_submodule("block3" if name == "small_cnn" else "block2_1").eval()
    next(reversed(list(model.parameters()))).grad = torch.ones(10)
    return model


def samples(n: int = 12) -> Calibration:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 1, 8, 8, generator=generator)
    return Calibration((images, torch.randint(10, (n,), generator=generator, dtype=torch.int64)))


def score(name: str, granularity: GranularityName, model: nn.Module, seed: int = 0) -> Mapping[str, Tensor]:
    inputs = CRITERION_NEEDS[name].inputs
    calibration = samples() if "samples" in inputs else None  # a criterion that reads more than it declares fails
    prunable, shared = view(model, granularity, EXAMPLE), dict[Source, Any]()
    if "gates" in inputs:
        shared["gates"] = TrainedGates({part.name: torch.linspace(0, 1, part.units) for part in prunable.parts}, {})
    if "probe" in inputs:
        assert isinstance(prunable, Blocks)
        shared["probe"] = [ProbeResult(block.name, 8, 0.5, 0.1 * n % 0.7) for n, block in enumerate(prunable.chain)]
    return CRITERIA[name](PruningContext(prunable, seed, calibration, shared))


def loss_of(model: nn.Module, calibration: Calibration, weights: Mapping[str, Tensor]) -> Tensor:
    """The mean cross-entropy with some weights replaced, in eval mode and double precision."""
    double = copy.deepcopy(model).double().eval()
    replaced = {f"{name}.weight": weight for name, weight in weights.items()}
    return F.cross_entropy(functional_call(double, replaced, calibration.images.double()), calibration.content[1])


@pytest.mark.parametrize(("name", "granularity", "model_name"), list(pairings()))
def test_every_criterion_scores_each_unit_and_leaves_the_model_alone(
    name: str, granularity: GranularityName, model_name: str
) -> None:
    model = trained(model_name)
    before = copy.deepcopy(model)
    first, again = (score(name, granularity, model, seed=3) for _ in range(2))
    parts = view(model, granularity, EXAMPLE).parts
    assert {part.name: (part.units,) for part in parts} == {n: tuple(s.shape) for n, s in first.items()}
    for part in first:
        assert first[part].isfinite().all()
        assert torch.equal(first[part], again[part])
        assert not first[part].requires_grad
    state = model.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in before.state_dict().items())
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    *others, last = [p.grad for p in model.parameters()]
    assert last is not None
    assert torch.equal(last, torch.ones(10))
    assert all(grad is None for grad in others)


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_random_scores_differ_between_seeds_and_parts(granularity: GranularityName) -> None:
    one, other = (score("random", granularity, trained("resnet20"), seed) for seed in (0, 1))
    assert not any(torch.equal(one[name], other[name]) for name in one)
    assert len({tuple(scores[:4].tolist()) for scores in one.values()}) == len(one)


def test_magnitude_scores_each_weight_by_its_absolute_value() -> None:
    model = trained("small_cnn")
    scores = score("magnitude", "weight", model)
    assert torch.equal(scores["block2.conv"], weight_of(model.get_submodule("block2.conv")).abs().flatten())


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
def test_channel_norms_count_the_filters_of_every_coupled_layer(name: str, power: int) -> None:
    model = trained("resnet20")
    scores = score(name, "channel", model)
    filters = torch.cat([weight_of(model.get_submodule(w)).detach().flatten(1) for w in STAGE_3], 1)
    stage = next(scores[w] for w in STAGE_3 if w in scores)
    torch.testing.assert_close(stage, (filters.abs() ** power).sum(1) ** (1 / power))
    inner = weight_of(model.get_submodule("block3_2.conv1")).detach().flatten(1)
    torch.testing.assert_close(scores["block3_2.conv1"], (inner.abs() ** power).sum(1) ** (1 / power))


def test_bn_scale_is_the_mean_over_the_batch_norms_of_a_group() -> None:
    model = trained("resnet20")
    scores = score("bn-scale", "channel", model)
    inner = weight_of(model.get_submodule("block3_2.bn1")).detach()
    assert torch.equal(scores["block3_2.conv1"], inner.abs())
    scales = [weight_of(model.get_submodule(w.replace("conv", "bn"))).detach().abs() for w in STAGE_3]
    torch.testing.assert_close(next(scores[w] for w in STAGE_3 if w in scores), torch.stack(scales).mean(0))


def test_bn_scale_refuses_a_part_without_batch_norm() -> None:
    with pytest.raises(ValueError, match=r"'bn-scale' must find a batch norm .* but hidden has none; use"):
        score("bn-scale", "channel", trained("small_cnn"))


def test_group_norm_is_that_of_torch_pruning() -> None:
    torch.manual_seed(0)
    model, example = as_if_trained(ResNet(BasicBlock, [1, 2, 1, 1], 10)), torch.zeros(1, 3, 32, 32)
    scores = CRITERIA["group-norm"](PruningContext(Channels(model, example)))
    graph = tp.DependencyGraph().build_dependency(model, example)
    importance = tp.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer="mean")
    for part, of_part in scores.items():
        group = graph.get_pruning_group(model.get_submodule(part), tp.prune_conv_out_channels, [*range(len(of_part))])
        torch.testing.assert_close(of_part.float(), importance(group))
    assert len(scores) == 9  # the inner convolution of each block, and one coupled group for each of four widths


def test_taylor_and_snip_are_those_of_a_network_worked_by_hand() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    model[1].weight = nn.Parameter(weight)
    image = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    context = PruningContext(Weights(model, image), calibration=Calibration((image, torch.tensor([0]))))
    p = torch.softmax(torch.tensor([1.0 - 4.0, 3.0 + 1.0]), 0)
    change = weight * torch.outer(p - torch.tensor([1.0, 0.0]), torch.tensor([1.0, 2.0]))  # (p - onehot) x^T
    torch.testing.assert_close(CRITERIA["taylor"](context)["1"], change.abs().flatten())
    torch.testing.assert_close(CRITERIA["snip"](context)["1"], (change.abs() / change.abs().sum()).flatten())


@pytest.mark.parametrize("view_of", [Weights, Channels])
def test_gradients_are_those_of_finite_differences(
    view_of: type[Weights] | type[Channels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.pruning.criteria.BATCH", 5)  # of 12 samples, so that the last batch is smaller
    model, calibration = trained("small_cnn"), samples()
    gradients = weight_gradients(PruningContext(view_of(model, EXAMPLE), calibration=calibration))
    assert {name.removesuffix(".weight") for name in gradients} == {
        "block1.conv",
        "block2.conv",
        "block3.conv",
        "block4.conv",
        "hidden",
        "head",
    } - ({"head"} if view_of is Channels else set())
    for name, gradient in ((name.removesuffix(".weight"), gradient) for name, gradient in gradients.items()):
        weight = weight_of(model.get_submodule(name)).detach().double()
        direction = torch.randn_like(weight)
        up, down = (loss_of(model, calibration, {name: weight + step * direction}) for step in (1e-7, -1e-7))
        slope = ((up - down) / 2e-7).item()
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-3, abs=1e-6)
        assert (gradient.dtype, gradient.shape) == (torch.float32, weight.shape)


def test_snip_is_the_gradient_of_a_gate_on_each_channel() -> None:
    model, calibration = trained("resnet20"), samples()
    gate = torch.ones(32, dtype=torch.float64, requires_grad=True)
    weights = {w: weight_of(model.get_submodule(w)).detach().double() for w in STAGE_3}
    gated = {w: weight * gate.view(-1, 1, 1, 1) for w, weight in weights.items()}
    (by_autograd,) = torch.autograd.grad(loss_of(model, calibration, gated), gate)
    scores = score("snip", "channel", model)
    stage = next(scores[w] for w in STAGE_3 if w in scores)
    torch.testing.assert_close(
        stage / stage.sum(), (by_autograd.abs() / by_autograd.abs().sum()).float(), rtol=1e-3, atol=1e-7
    )
    assert sum(s.sum().item() for s in scores.values()) == pytest.approx(1.0)


def test_on_single_weights_snip_ranks_as_taylor_does() -> None:
    taylor, snip = (score(name, "weight", trained("small_cnn")) for name in ("taylor", "snip"))
    total = sum(scores.sum() for scores in taylor.values())
    for name in taylor:
        torch.testing.assert_close(snip[name], taylor[name] / total)


def test_snip_of_a_network_that_learns_nothing_stays_finite() -> None:
    model = trained("small_cnn")
    nn.init.zeros_(weight_of(model.get_submodule("head")))
    assert all((scores == 0).all() for part, scores in score("snip", "weight", model).items() if part != "head")

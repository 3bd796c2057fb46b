"""Gates of channels: their values and gradients, and what a network computes with closed ones."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainables.conftest import assert_same
from tests.trainables.pruning.test_channels import NETWORKS, KeptUnits, build, images, random_units
from trainables.models import hub
from trainables.pruning.channels import Channels
from trainables.pruning.gates import OPENS, SHAPINGS, ChannelGates, is_open, trainable_gate
from trainables.pruning.soundness import refuse_unsound_gates
from trainables.pruning_spec import Gates
from trainables.recipe import Recipe
from trainables.spec import BudgetKind
from trainables.training.updates import Updates


def test_gate_matches_the_formula_of_the_paper_worked_by_hand() -> None:
    w = torch.tensor([0.73, 0.46, 0.5, 0.0], dtype=torch.float64)  # M u = 2.3, -0.4, 0, -5
    gate = trainable_gate(w, SHAPINGS["straight-through"], 10)
    torch.testing.assert_close(gate, torch.tensor([1.03, 0.06, 1.0, 0.0], dtype=torch.float64))
    shaped = trainable_gate(w, SHAPINGS["sech2"], 10)
    torch.testing.assert_close(
        shaped[:2], torch.tensor([1 + 0.03 / np.cosh(0.23) ** 2, 0.06 / np.cosh(0.04) ** 2]).double()
    )


@pytest.mark.parametrize("name", SHAPINGS)
@pytest.mark.parametrize("resolution", [1_000, 100_000, 1_000_000])
def test_gradient_is_the_shaping_and_the_value_is_near_the_step(name: str, resolution: int) -> None:
    w = torch.rand(500, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gate = trainable_gate(w, SHAPINGS[name], resolution)
    (gradient,) = torch.autograd.grad(gate.sum(), w)
    g = SHAPINGS[name]((w - OPENS).detach())
    assert gate.dtype == torch.float32
    assert ((gate - is_open(w).float()).abs() <= 1.1 / resolution).all()
    torch.testing.assert_close(gradient, g, rtol=1e-5, atol=1.1 / resolution)  # they differ by s g' only


@pytest.mark.parametrize("name", SHAPINGS)
def test_gradient_is_that_of_finite_differences_within_a_tooth(name: str) -> None:
    teeth = torch.arange(-500, 500, 7, dtype=torch.float64)
    w = (OPENS + (teeth + 0.5) / 1_000).requires_grad_()
    (gradient,) = torch.autograd.grad(trainable_gate(w, SHAPINGS[name], 1_000).sum(), w)
    with torch.no_grad():
        up, down = (trainable_gate(w + step, SHAPINGS[name], 1_000) for step in (1e-6, -1e-6))
    torch.testing.assert_close(gradient, (up - down) / 2e-6, rtol=1e-6, atol=1e-6)


def gates_on(model: nn.Module, example: Tensor, budget: BudgetKind = "macs", target: float = 0.5) -> ChannelGates:
    return ChannelGates(Channels(model, example), Gates(), budget, target)


def close_all_but(gates: ChannelGates, kept_units: KeptUnits) -> None:
    for name, values in gates.by_part.items():
        values.fill_(0.5e-5)[kept_units[name]] = 0.7


@pytest.mark.parametrize("name", [*NETWORKS, "resnet18", "mobilenet_v2"])
def test_gated_network_computes_what_the_cut_one_does(name: str) -> None:
    model, batch = build(name), images(name, 2)
    gates = gates_on(model, batch[:1])
    kept_units = random_units(Channels(model, batch[:1]), 0)
    with torch.no_grad():
        whole = model(batch)
        with gates.attached():
            assert_same(model(batch), whole)
            close_all_but(gates, kept_units)
            gated = model(batch)
        assert torch.equal(model(batch), whole)  # the network is not changed
        Channels(model, batch[:1]).remove(kept_units)
        assert_same(gated, model(batch))
        assert (gated - whole).abs().max() > 1e-3 * whole.abs().max()


def three_layers() -> nn.Module:
    convs = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU()
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))


def test_weight_decay_does_not_change_gates() -> None:
    model = three_layers()
    gates = gates_on(model, torch.zeros(1, 3, 8, 8))
    before = gates.values.detach().clone()
    updates = Updates(model, Recipe(lr=0.1, weight_decay=5.0), gates=gates)
    weight = next(model.parameters())
    norm = weight.norm().item()
    updates.step(sum((0 * p).sum() for p in (*model.parameters(), gates.values)))  # type: ignore[arg-type]
    assert torch.equal(gates.values, before)
    assert weight.norm().item() == pytest.approx(norm / 2, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gates_stay_exact_under_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, example = hub.build("small_cnn", 10, 1, 0.5), torch.zeros(1, 1, 8, 8)
    gates = gates_on(model, example)
    with gates.attached(), torch.autocast("cpu", dtype):
        loss = model.train()(torch.randn(8, 1, 8, 8)).logsumexp(1).mean() + gates.penalty()
    loss.backward()
    gradient = gates.values.grad
    assert gradient is not None
    assert gradient.dtype == gates.trainable().dtype == torch.float32
    assert gradient.isfinite().all()
    assert gradient.abs().min() > 0


def test_closed_gates_get_gradients_of_the_loss() -> None:
    torch.manual_seed(0)
    model, batch = hub.build("small_cnn", 10, 1, 0.5), torch.randn(8, 1, 8, 8)
    gates = gates_on(model, batch[:1])
    close_all_but(gates, {name: torch.tensor([0]) for name in gates.by_part})
    with gates.attached():
        model.train()(batch).square().sum().backward()
    gradient = gates.values.grad
    assert gradient is not None
    assert (gradient[~is_open(gates.values)] != 0).float().mean() > 0.5


def test_network_whose_closed_channels_have_an_effect_is_refused() -> None:
    layers = nn.Conv2d(1, 8, 3), nn.Sigmoid(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(8, 10)).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(
        ValueError, match="closed gates must silence their channels, but later layers of a Sequential still"
    ):
        refuse_unsound_gates(model, torch.zeros(1, 1, 8, 8))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    refuse_unsound_gates(hub.build("resnet20", 10, 1, 0.25), torch.zeros(1, 1, 8, 8))

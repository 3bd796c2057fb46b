"""The cost of open gates: its slope, the penalty, and the steps that meet the target within the bounds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.pruning.test_channels import NETWORKS
from tests.trainables.pruning.test_gates import close_all_but, gates_on, three_layers
from trainables.allocation.budget import ceilings, dense_counts, floors
from trainables.models import hub
from trainables.pruning.channels import Channels
from trainables.pruning.gates import ChannelGates, is_open
from trainables.pruning.rules import bounded
from trainables.pruning_spec import Gates, LayerRule
from trainables.spec import BudgetKind

COSTED = {
    name: Channels(hub.build(name, 10, 1, 0.25), torch.zeros(1, 1, 8, 8))
    for name in ("small_cnn", "resnet20", "mobilenet")
}


@pytest.mark.parametrize("kind", ["params", "macs"])
@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(sorted(COSTED)), shares=st.lists(st.floats(0, 1), min_size=32, max_size=32))
def test_differentiable_cost_of_counts_is_the_cost(kind: BudgetKind, name: str, shares: list[float]) -> None:
    channels = COSTED[name]
    counts = np.array([round(s * part.units) for s, part in zip(shares, channels.parts, strict=False)])
    assert channels.differentiable_cost(kind)(torch.from_numpy(counts).double()).item() == channels.cost(counts, kind)


@pytest.mark.parametrize(("kind", "positions"), [("macs", (64, 16)), ("params", (1, 1))])
def test_slope_of_the_cost_worked_by_hand(kind: BudgetKind, positions: tuple[int, int]) -> None:
    gates = gates_on(three_layers(), torch.zeros(1, 3, 8, 8), kind)
    assert gates.ratio().item() == pytest.approx(1.0, abs=1e-4)  # all open
    close_all_but(gates, {"0": torch.tensor([0, 3]), "2": torch.tensor([1, 2, 5])})
    first, second = (
        9 * positions[0] * 3 + 9 * positions[1] * 3,
        9 * positions[1] * 2 + 10,
    )  # of F = k H W (3 a + a b) + 10 b
    dense = 9 * positions[0] * 3 * 4 + 9 * positions[1] * 4 * 6 + 10 * 6
    ratio = gates.ratio()
    assert ratio.item() == pytest.approx(
        (9 * positions[0] * 3 * 2 + 9 * positions[1] * 2 * 3 + 10 * 3) / dense, rel=1e-4
    )
    (slope,) = torch.autograd.grad(ratio, gates.values)
    expected = torch.cat([torch.tensor({"0": [first] * 4, "2": [second] * 6}[name]) for name in gates.by_part])
    torch.testing.assert_close(slope * dense, expected.float(), rtol=1e-4, atol=0.0)


def test_penalty_is_the_distance_to_the_target() -> None:
    for power, expected in ((1, 10 * 0.6), (2, 10 * 0.6**2)):
        gate_settings = Gates.model_validate({"strength": 10.0, "power": power})
        gates = ChannelGates(Channels(three_layers(), torch.zeros(1, 3, 8, 8)), gate_settings, "macs", 0.4)
        assert gates.penalty().item() == pytest.approx(expected, rel=1e-3)


def test_no_part_closes_and_no_value_leaves_its_interval() -> None:
    example = torch.zeros(1, 3, 32, 32)
    channels = Channels(hub.build(NETWORKS[-3], 10, 3), example)  # its grouped convolutions have a floor of 2
    gates = ChannelGates(channels, Gates(), "macs", 0.0)  # a budget of 0
    with torch.no_grad():
        gates.values.copy_(torch.linspace(-1.0, 0.45, len(gates.values)))
        gates.by_part[channels.parts[0].name].add_(5.0)
    gates.step_to_target(1.0)
    lowest = gates.values.min()
    assert 0.0 < lowest < 1e-5
    assert gates.values.max() <= 1.0
    assert (
        gates.trainable()[gates.values == lowest].min() > 0.0
    )  # otherwise a ReLU would stop the gradient of a closed channel
    for part in channels.parts:
        assert is_open(gates.by_part[part.name]).nonzero().flatten().tolist() == [*range(part.units)][-part.floor :]
    report = gates.report()
    assert report.open == {part.name: part.floor for part in channels.parts}
    assert report.flips == len(gates.values) - sum(report.open.values())
    assert gates.report().flips == 0


@pytest.mark.parametrize("kind", ["params", "macs"])
@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(sorted(COSTED)), target=st.floats(0.1, 1), done=st.floats(0, 1), seed=st.integers(0, 99))
def test_steps_meet_the_falling_target_and_converge(
    kind: BudgetKind, name: str, target: float, done: float, seed: int
) -> None:
    channels = COSTED[name]
    units = np.array([part.units for part in channels.parts])
    dense = channels.cost(units, kind)
    gates = ChannelGates(channels, Gates(), kind, target)
    with torch.no_grad():
        gates.values.copy_(torch.rand(len(gates.values), generator=torch.Generator().manual_seed(seed)))
    gates.step_to_target(done)
    counts = np.array([*gates.report().open.values()])
    now = 1.0 - 2.0 * min(done, 0.5) * (1.0 - target)
    dearest = max(dense - channels.cost(units - one, kind) for one in np.eye(len(units), dtype=np.int64))
    assert now * dense + 1 >= channels.cost(counts, kind) > now * dense - dearest - 1
    for _ in range(3):  # the slope depends on the open gates: one more gate may fit
        gates.step_to_target(done)
    converged = gates.values.detach().clone()
    gates.step_to_target(done)
    assert torch.equal(gates.values, converged)  # converged


@pytest.mark.parametrize("kind", ["params", "macs"])
@settings(max_examples=20, deadline=None)
@given(share=st.floats(0, 1), done=st.floats(0, 1), seed=st.integers(0, 99))
def test_gates_stay_within_the_bounds_of_rules(kind: BudgetKind, share: float, done: float, seed: int) -> None:
    free = COSTED[sorted(COSTED)[0]]
    shares = [(1.0, 1.0), (0.5, 0.5), (0.25, 0.75), (0.0, 1.0)]
    rules = [
        LayerRule(match=part.name, at_least=low, at_most=high)
        for part, (low, high) in zip(free.parts, shares, strict=False)
    ]
    channels = bounded(free, rules)
    least, most = (channels.cost(bound(channels), kind) for bound in (floors, ceilings))
    dense = channels.cost(dense_counts(channels), kind)
    target = (least + share * (most - least)) / dense
    gates = ChannelGates(channels, Gates(), kind, target)
    with torch.no_grad():
        gates.values.copy_(torch.rand(len(gates.values), generator=torch.Generator().manual_seed(seed)))
    for _ in range(2):
        gates.step_to_target(done)
    counts = np.array([*gates.report().open.values()])
    assert ((floors(channels) <= counts) & (counts <= ceilings(channels))).all()
    now = max(least, (1.0 - 2.0 * min(done, 0.5) * (1.0 - target)) * dense)
    assert channels.cost(counts, kind) <= now + 1


@pytest.mark.parametrize("target", [0.3, 0.9])
def test_step_to_the_target_is_a_gradient_step_on_the_penalty(target: float) -> None:
    gate_settings = Gates(shaping="sech2", strength=1.0)
    gates = ChannelGates(Channels(three_layers(), torch.zeros(1, 3, 8, 8)), gate_settings, "macs", target)
    with torch.no_grad():
        gates.values.copy_(torch.tensor([0.55, 0.45, 0.6, 0.3, 0.52, 0.7, 0.58, 0.4, 0.47, 0.65]))
    before = gates.values.detach().clone()
    (gradient,) = torch.autograd.grad(gates.penalty(), gates.values)
    gates.step_to_target(1.0)
    rate = (before - gates.values.detach()) / gradient
    assert rate.min() > 0.0
    torch.testing.assert_close(rate, rate[:1].expand(10), rtol=1e-3, atol=0.0)

"""Residual branches: what they consist of, and which ones stay."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainables.pruning.block_chain import find_chain
from trainables.pruning.blocks import Blocks

WIDTH = 8
TOKENS = torch.randn(1, 5, WIDTH, generator=torch.Generator().manual_seed(0))


class Layer(nn.Module):
    """A pre-norm layer; `forward` is replaced in the tests."""

    def __init__(self, compute: Callable[["Layer", Tensor], Tensor]) -> None:
        super().__init__()
        self.norm, self.mix, self.up, self.down = nn.LayerNorm(WIDTH), mix(), nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)
        self.scale, self.matrix = nn.Parameter(torch.rand(WIDTH)), nn.Parameter(torch.rand(WIDTH, WIDTH))
        self.act, self.compute = nn.ReLU(), compute

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, width) to tokens."""
        return self.compute(self, x)


def mix() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())


def in_place(layer: Layer, x: Tensor) -> Tensor:
    y: Tensor = layer.scale * layer.mix(layer.norm(x))
    y += x
    return y


SUMS = {  # name -> what is computed, the modules of its branches
    "one": (lambda it, x: x + it.mix(it.norm(x)), [{"norm", "mix"}]),
    "in place, scaled, branch first": (in_place, [{"norm", "mix"}]),
    "functions between modules": (lambda it, x: it.down(it.up(x).relu() * 2) + x, [{"up", "down"}]),
    "parallel": (
        lambda it, x: x + it.mix(it.norm(x)) + it.down(it.act(it.up(x))),
        [{"norm", "mix"}, {"up", "act", "down"}],
    ),
    "around another": (lambda it, x: x + (lambda y: y + it.down(it.up(y)))(it.mix(x)), [{"up", "down"}]),
    "no residual": (lambda it, x: it.mix(x) + it.down(it.up(x)), []),
    "no stream": (lambda it, x: it.mix(x) + it.scale, []),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_branch_is_what_only_its_sum_needs(name: str) -> None:
    compute, expected = SUMS[name]
    chain = find_chain(Layer(compute), TOKENS)
    assert [{*block.modules} for block in chain[1:]] == expected
    assert all(block.branch and not block.branch.stays for block in chain)
    assert [block.modules for block in chain[:1]] == [()] * bool(expected)


def shared(layer: Layer, x: Tensor) -> Tensor:
    x = x + layer.mix(x)
    twice: Tensor = layer.mix(x)
    return twice


STAY = {
    "shared": (shared, "mix: mix runs elsewhere, too"),
    "matrix": (lambda it, x: x + it.mix(x @ it.matrix), "mix: matrix is in none of its modules"),
    "not zero": (lambda it, x: x + it.mix(x).sigmoid(), "mix: the network fails, or computes something else"),
    "shapes": (lambda it, x: x + it.down(it.up(x).unflatten(2, (4, 4)).flatten(2)), "up: the network fails, or"),
}


@pytest.mark.parametrize("name", STAY)
def test_a_branch_that_cannot_go_stays_and_the_reason_is_given(name: str) -> None:
    compute, reason = STAY[name]
    model = Layer(compute)
    before = model(TOKENS)
    with pytest.raises(
        ValueError, match=r"'block' must find removable blocks, but Layer has none; not pruned: "
    ) as found:
        Blocks(model, TOKENS)
    module, _, why = reason.partition(": ")
    assert f"{module} ({why}" in str(found.value)
    assert torch.equal(model(TOKENS), before)

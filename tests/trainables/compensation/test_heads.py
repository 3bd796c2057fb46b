"""Compensation after a cut of attention heads: the output projection reads what is left."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from tests.trainables.models.networks import NETWORKS
from trainables.compensation.compensation import Targets, compensate
from trainables.pruning.channels import Channels


class Attentive(nn.Module):
    """Attention and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(12, 4, batch_first=True), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, 12) to (B, 3)."""
        logits: Tensor = self.head(self.attend(x, x, x)[0].mean(1))
        return logits


def test_the_output_projection_is_fitted_to_least_squares_of_torch() -> None:
    torch.manual_seed(0)
    before, tokens = Attentive().double().eval(), torch.randn(20, 5, 12, dtype=torch.float64)
    network = deepcopy(before)
    channels = Channels(network, tokens[:1])
    assert {part.name: part.units for part in channels.parts} == {"attend.q_proj": 4, "attend.out_proj": 12}
    cut = channels.remove({"attend.q_proj": torch.tensor([0, 2])})
    projection = network.attend.out_proj
    read = list[Tensor]()
    hook = projection.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    compensate(network, Targets.read(before, tokens, 0), cut, tokens, damping=1e-9)
    hook.remove()
    inputs = torch.cat([read[0].flatten(0, -2), torch.ones(100, 1, dtype=torch.float64)], 1)
    target = before.attend(tokens, tokens, tokens)[0].flatten(0, -2)
    solution = torch.linalg.lstsq(inputs, target).solution
    torch.testing.assert_close(projection.weight, solution[:-1].T, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(projection.bias, solution[-1], rtol=0.0, atol=1e-5)


def test_compensation_lowers_the_distortion_of_a_cut_transformer() -> None:
    torch.manual_seed(0)
    dense = NETWORKS["vit"][0]().eval()
    nn.init.normal_(dense.get_parameter("heads.head.weight"), std=0.2)
    images = torch.randn(16, 3, 32, 32)
    expected, network = dense(images), deepcopy(dense)
    channels = Channels(network, images[:1])
    kept = {part.name: torch.arange(0, part.units, 2) for part in channels.parts if part.name != "conv_proj"}
    cut = channels.remove(kept)
    pruned = (network(images) - expected).square().mean()
    logits, _ = compensate(network, Targets.read(dense, images, 0), cut, images)
    assert (logits - expected).square().mean() < 0.5 * pruned

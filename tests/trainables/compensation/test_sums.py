"""Residual sums: which layers end a branch, and what they are fitted to."""

from copy import deepcopy

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainables.conftest import as_if_trained
from trainables.compensation.compensation import Targets, compensate
from trainables.models import hub
from trainables.pruning.granularity import Cut
from trainables.pruning.masks import apply


class Branch(nn.Module):
    """Two linear layers and a shortcut that is a layer of its own; the sum is in place or not, behind a norm or not."""

    def __init__(self, in_place: bool, normed: bool) -> None:
        super().__init__()
        self.stem, self.first, self.last = nn.Linear(9, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm = as_if_trained(nn.BatchNorm1d(8)) if normed else nn.Identity()
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out: Tensor = self.norm(self.last(F.relu(self.first(x))))
        if self.in_place:
            out += x
            return out
        return x + out


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_the_last_layer_of_a_branch_is_fitted_to_what_the_sum_lacks(in_place: bool, normed: bool) -> None:
    """What a sum lacks is divided by the slope of the norm behind the layer."""
    torch.manual_seed(0)
    before = Branch(in_place, normed).double().eval()
    images = torch.randn(64, 9, dtype=torch.float64)
    masks = {f"{name}.weight": torch.rand(8, width) < 0.5 for name, width in (("stem", 9), ("first", 8), ("last", 8))}
    network = deepcopy(before)
    apply(network, masks)
    logits, _ = compensate(network, Targets.read(before, images, 0), Cut(masks), images, False, damping=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images))
        stem = network.stem(images)
        read = F.relu(network.first(stem))
        lacking = before(images) - stem
        outputs = network.norm(network.last(read))
    for row in range(8):
        own = masks["last.weight"][row].nonzero().flatten()
        system = torch.cat([read[:, own], torch.ones(64, 1, dtype=torch.float64)], dim=1)
        solution = torch.linalg.lstsq(system, lacking[:, row], driver="gelsd").solution  # some units read nothing
        torch.testing.assert_close(outputs[:, row], system @ solution, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "ends"),
    [
        (lambda: hub.build("small_cnn", 10, 3), []),
        (lambda: hub.build("resnet20", 10, 3), [f"block{s}_{b}.conv2" for s in (1, 2, 3) for b in (1, 2, 3)]),
        (
            lambda: tv.ResNet(tv.resnet.BasicBlock, [1, 2, 1, 1], num_classes=10),
            [
                "layer1.0.conv2",
                "layer2.0.downsample.0",  # runs after conv2
                "layer2.1.conv2",
                "layer3.0.downsample.0",
                "layer4.0.downsample.0",
            ],
        ),
        (
            lambda: tv.VisionTransformer(32, 16, 2, 2, hidden_dim=16, mlp_dim=32, num_classes=10),
            ["encoder.layers.encoder_layer_0.mlp.3", "encoder.layers.encoder_layer_1.mlp.3"],
        ),
    ],
)
def test_which_layers_end_a_branch(network: "object", ends: list[str]) -> None:
    assert callable(network)
    found = Targets.read(network().eval(), torch.randn(2, 3, 32, 32), 0)
    assert list(found.sums) == ends
    assert all(found.sums[name].other.shape == found.outputs[name].shape for name in ends)

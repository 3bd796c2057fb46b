"""Groups of channels of convolutional networks, against those that Torch-Pruning's DepGraph found (version 1.6.1)."""

import numpy as np
import pytest
import torch

from trainables.models import hub
from trainables.pruning.channels import Channels

# network, width, side -> parts, units, and weights and multiply-accumulates with half of each part's units
KNOWN = [
    ("small_cnn", 1.0, 32, (5, 304, 17_880, 3_172_992)),
    ("resnet20", 0.5, 32, (12, 224, 16_972, 2_617_504)),
    ("vgg16", 0.25, 32, (13, 1_056, 230_680, 5_087_872)),
    ("mobilenet", 0.5, 32, (14, 2_992, 210_160, 3_331_072)),
    ("resnet18", 1.0, 32, (12, 2_880, 2_796_640, 9_857_536)),
    ("mobilenet_v2", 1.0, 32, (25, 9_128, 570_112, 1_695_424)),
    ("densenet121", 1.0, 64, (120, 10_240, 1_725_024, 60_232_704)),
    ("efficientnet_b0", 1.0, 64, (40, 11_404, 1_041_168, 8_923_968)),
    ("mobilenet_v3_small", 1.0, 64, (27, 4_872, 395_332, 1_641_088)),
    ("regnet_y_400mf", 1.0, 64, (53, 2_048, 970_112, 8_567_456)),
]


@pytest.mark.parametrize(("name", "width", "side", "known"), KNOWN, ids=[name for name, *_ in KNOWN])
def test_the_groups_are_those_of_torch_pruning(
    name: str, width: float, side: int, known: tuple[int, int, int, int]
) -> None:
    torch.manual_seed(0)
    channels = Channels(hub.build(name, 10, 3, width).eval(), torch.zeros(1, 3, side, side))
    half = np.array([max(part.floor, part.units // 2) for part in channels.parts])
    units = sum(part.units for part in channels.parts)
    assert (len(half), units, channels.cost(half, "params"), channels.cost(half, "macs")) == known

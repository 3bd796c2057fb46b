"""A replayed network, with its batch norms folded, computes the same as the network itself."""

import torch
from torch import Tensor, nn

from trainables.artifacts.replay import Replay


class Convolutions(nn.Module):
    """Every kind of convolution, each before a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.plain_norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.up, self.up_norm = nn.ConvTranspose2d(8, 6, 2, 2, bias=False), nn.BatchNorm2d(6, affine=False)
        self.grouped_up, self.grouped_up_norm = nn.ConvTranspose2d(6, 4, 2, 2, groups=2), nn.BatchNorm2d(4)
        self.grouped, self.grouped_norm = nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.up_norm(self.up(self.plain_norm(self.plain(images)).relu())).relu()
        hidden = self.grouped_norm(self.grouped(self.grouped_up_norm(self.grouped_up(hidden)).relu()))
        return hidden.mean((2, 3))


def test_folded_batch_norms_compute_the_same() -> None:
    torch.manual_seed(0)
    network = Convolutions()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    images = torch.randn(5, 3, 8, 8)
    replay = Replay(network.eval(), images)
    logits, _ = replay.run(images, frozenset())
    torch.testing.assert_close(logits, network(images), rtol=0, atol=1e-6)
    norms = [step for step in replay._steps if "batch_norm" in str(step.target)]
    assert len(norms) == 1  # a transposed convolution of several groups keeps its norm
    network.plain_norm.running_mean.add_(1)  # type: ignore[union-attr]  # folded weights change with the statistics
    torch.testing.assert_close(replay.run(images, frozenset())[0], network(images), rtol=0, atol=1e-6)

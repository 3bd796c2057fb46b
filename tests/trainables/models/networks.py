"""Networks of many kinds, for the contract that every one of them must meet: a module and an example of its input."""

from collections.abc import Callable
from typing import Any

import torch
import torchvision.models as tv
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.maxvit import MaxVit
from torchvision.models.resnet import BasicBlock
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2
from torchvision.models.video import resnet as video
from torchvision.models.video.resnet import VideoResNet

from trainables.models import hub


class Recurrent(nn.Module):
    """Token embeddings, two LSTM layers in both directions, a GRU and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 12, num_layers=2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(24, 10, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T) to logits (B, 4)."""
        logits: Tensor = self.head(self.gru(self.lstm(self.embed(x))[0])[0][:, -1])
        return logits


class Signal(nn.Module):
    """One-dimensional convolutions, one of them grouped, one dilated."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv1d(2, 16, 7, stride=2), nn.BatchNorm1d(16), nn.ReLU()),
            *(nn.Conv1d(16, 32, 3, groups=4), nn.GroupNorm(4, 32), nn.ReLU()),
            *(nn.Conv1d(32, 32, 3, dilation=2, padding_mode="circular", padding=2), nn.ReLU()),
        )
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Map signals (B, 2, T) to logits (B, 5)."""
        logits: Tensor = self.head(self.body(x).mean(2))
        return logits


class UNet(nn.Module):
    """Two levels down and up, with transposed convolutions and concatenated skips."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.middle = nn.Conv2d(16, 32, 3, padding=1)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out2, self.out1 = nn.Conv2d(32, 16, 3, padding=1), nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to a class for each pixel (B, 4, H, W)."""
        one = self.down1(x).relu()
        two = self.down2(nn.functional.max_pool2d(one, 2)).relu()
        up = self.up2(self.middle(nn.functional.max_pool2d(two, 2)).relu())
        up = self.up1(self.out2(torch.cat([up, two], 1)).relu())
        pixels: Tensor = self.out1(torch.cat([up, one], 1))
        return pixels


class Own(nn.Module):
    """Matrices that the module itself stores: packed, one for each head, added, looked up, multiplied as scalars."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Parameter(torch.randn(3 * 8, 8) / 3)
        self.heads = nn.Parameter(torch.randn(2, 8, 4) / 3)
        self.place, self.token = nn.Parameter(torch.randn(1, 17, 8)), nn.Parameter(torch.randn(1, 1, 8))
        self.gain, self.table = nn.Parameter(torch.ones(1, 8)), nn.Parameter(torch.randn(17, 8))
        self.mix = nn.Bilinear(8, 8, 6)
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.attend = nn.MultiheadAttention(6, 2, kdim=8, vdim=8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, 16, 16) to logits (B, 6)."""
        x = self.patches(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place + self.table[torch.arange(17)]
        q, k, v = (x @ w.mT for w in self.qkv.chunk(3))
        x = torch.softmax(q @ k.mT, -1) @ v * self.gain
        x = (x[:, None] @ self.heads).transpose(1, 2).flatten(2) + x
        mixed = self.mix(x, x)
        logits: Tensor = self.attend(mixed, x, x)[0].mean(1)
        return logits


class LanguageModel(nn.Module):
    """A causal transformer whose head has the weight of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(40, 16), nn.Embedding(12, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 40, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T) to logits (B, T, 40)."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], x.device)
        places = self.places(torch.arange(x.shape[1], device=x.device))
        logits: Tensor = self.head(self.layers(self.embed(x) + places, mask=mask, is_causal=True))
        return logits


class Tied(nn.Module):
    """Two linear layers with one weight, beside others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.second = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 12)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 12) to (B, 12)."""
        out: Tensor = self.second(self.inner(self.first(x).relu()).relu())
        return out


class Pixels(nn.Module):
    """A network for segmentation that returns its main output alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, classes, H, W)."""
        logits: Tensor = self.network(x)["out"]
        return logits


def _maxvit() -> Any:
    return MaxVit((64, 64), 16, 2, [16, 32], [1, 1], 8, 0.0, num_classes=10)


def _swin_v2() -> Any:
    blocks = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
    return tv.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [3, 3], **blocks)


def _video() -> Any:
    return VideoResNet(video.BasicBlock, [video.Conv3DSimple] * 4, [1, 1, 1, 1], video.BasicStem)


def _fcn() -> Any:
    backbone = tv.ResNet(BasicBlock, [1, 1, 1, 1])
    features = IntermediateLayerGetter(backbone, {"layer3": "aux", "layer4": "out"})
    return FCN(features, FCNHead(512, 5), FCNHead(256, 5))


def _image(side: int, channels: int = 3) -> Tensor:
    return torch.randn(1, channels, side, side)


def _named(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: tv.get_model(name, weights=None, **settings)


def _backboned(name: str) -> Callable[[], nn.Module]:
    return lambda: tv.get_model(name, weights=None, weights_backbone=None)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "vit": (lambda: tv.VisionTransformer(32, 8, 2, 4, 32, 64), lambda: _image(32)),
    "own vit": (lambda: hub.build("vit", 10, 3, 0.5), lambda: _image(16)),
    "swin": (lambda: tv.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [3, 3]), lambda: _image(32)),
    "swin_v2": (_swin_v2, lambda: _image(32)),
    "maxvit": (_maxvit, lambda: _image(64)),
    "convnext": (lambda: tv.ConvNeXt([CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 2)]), lambda: _image(32)),
    "regnet_y_400mf": (_named("regnet_y_400mf"), lambda: _image(32)),
    "mobilenet_v3_small": (_named("mobilenet_v3_small"), lambda: _image(32)),
    "shufflenet_v2_x0_5": (_named("shufflenet_v2_x0_5"), lambda: _image(32)),
    "efficientnet_v2_s": (_named("efficientnet_v2_s"), lambda: _image(32)),
    "densenet121": (_named("densenet121"), lambda: _image(32)),
    "googlenet": (_named("googlenet", init_weights=False), lambda: _image(64)),
    "r3d": (_video, lambda: torch.randn(1, 3, 4, 16, 16)),
    "lraspp_mobilenet_v3_large": (_backboned("lraspp_mobilenet_v3_large"), lambda: _image(32)),
    "fcn_resnet": (_fcn, lambda: _image(32)),
    "recurrent": (Recurrent, lambda: torch.randint(50, (1, 9))),
    "signal": (Signal, lambda: torch.randn(1, 2, 64)),
    "unet": (UNet, lambda: _image(16)),
    "own": (Own, lambda: _image(16)),
    "language model": (LanguageModel, lambda: torch.randint(40, (1, 12))),
    "tied": (Tied, lambda: torch.randn(1, 12)),
}

"""Networks for small images, in the forms that pruning papers report on CIFAR-10.

Every builder is `name(num_classes, in_channels, width=1.0)` and maps images (B, in_channels, H, W) to logits
(B, num_classes). The width factor gives every hidden layer max(1, round(base * width)) channels.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.models.vit import vit

Builder = Callable[[int, int, float], nn.Module]  # num_classes, in_channels, width


def vgg16(num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """VGG-16 with batch norm and one linear layer (Simonyan & Zisserman, arXiv 1409.1556), for images from 32 x 32."""
    layers = OrderedDict[str, nn.Module]()
    channels = in_channels
    for stage, (blocks, base) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), start=1):
        for block in range(1, blocks + 1):
            layers[f"block{stage}_{block}"] = _conv_block(channels, _scaled(base, width))
            channels = _scaled(base, width)
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    return _classifier(layers, channels, num_classes)


def resnet20(num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """ResNet-20 (He et al., arXiv 1512.03385, section 4.2) with parameter-free shortcuts."""
    return _resnet(3, num_classes, in_channels, width)


def resnet32(num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """ResNet-32 (He et al., arXiv 1512.03385, section 4.2) with parameter-free shortcuts."""
    return _resnet(5, num_classes, in_channels, width)


def resnet56(num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """ResNet-56 (He et al., arXiv 1512.03385, section 4.2) with parameter-free shortcuts."""
    return _resnet(9, num_classes, in_channels, width)


def mobilenet(num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """MobileNet-V1 (Howard et al., arXiv 1704.04861) with a first stride of 1; 32 x 32 pixels shrink to 2 x 2."""
    channels = _scaled(32, width)
    layers = OrderedDict[str, nn.Module](stem=_conv_block(in_channels, channels))
    bases = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    for block, (base, stride) in enumerate(zip(bases, strides, strict=True), start=1):
        layers[f"depthwise{block}"] = _conv_block(channels, channels, stride=stride, groups=channels)
        layers[f"pointwise{block}"] = _conv_block(channels, _scaled(base, width), kernel=1)
        channels = _scaled(base, width)
    return _classifier(layers, channels, num_classes)


def small_cnn(num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """Four convolutions and a hidden linear layer of very different sizes, for one core and images from 8 x 8."""
    c16, c32, c64, c128 = (_scaled(base, width) for base in (16, 32, 64, 128))
    layers = OrderedDict[str, nn.Module](
        block1=_conv_block(in_channels, c16),
        block2=_conv_block(c16, c32),
        pool2=nn.MaxPool2d(2),
        block3=_conv_block(c32, c64),
        pool3=nn.MaxPool2d(2),
        block4=_conv_block(c64, c64),
        average=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        hidden=nn.Linear(c64, c128),
        relu=nn.ReLU(),
        head=nn.Linear(c128, num_classes),
    )
    return _initialised(nn.Sequential(layers))


class PadShortcut(nn.Module):
    """Option A of He et al. (arXiv 1512.03385): copy every `stride`-th pixel, and append zero channels.

    `source` holds the input channel that each output channel copies, or -1 for zeros. It is a buffer, so that a
    state_dict restores it after channels have been removed.
    """

    source: Tensor  # (out_channels,) int64

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stride = stride
        source = [output if output < in_channels else -1 for output in range(out_channels)]
        self.register_buffer("source", torch.tensor(source))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        copied = x[:, :, :: self.stride, :: self.stride].index_select(1, self.source.clamp(min=0))
        return copied.masked_fill((self.source < 0)[:, None, None], 0.0)

    def keep_inputs(self, kept: Sequence[int]) -> None:
        """Remove all input channels but `kept`, indices of the current ones. Outputs that copied them become zero."""
        position = torch.full((self.in_channels + 1,), -1, device=self.source.device)  # the last entry maps -1 to -1
        position[list(kept)] = torch.arange(len(kept), device=self.source.device)
        self.source = position[self.source]
        self.in_channels = len(kept)

    def keep_outputs(self, kept: Sequence[int]) -> None:
        """Remove all output channels but `kept`, indices of the current ones."""
        self.source = self.source[list(kept)]

    def get_extra_state(self) -> Tensor:
        """Store the number of input channels in the state_dict: `source` does not hold it."""
        return torch.tensor(self.in_channels)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the number of input channels from a state_dict."""
        self.in_channels = int(state)

    def extra_repr(self) -> str:
        """Show both numbers of channels and the stride."""
        return f"{self.in_channels}, {len(self.source)}, stride={self.stride}"


class _BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else PadShortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


def _resnet(blocks: int, num_classes: int, in_channels: int, width: float) -> nn.Module:
    channels = _scaled(16, width)
    layers = OrderedDict[str, nn.Module](stem=_conv_block(in_channels, channels))
    for stage, base in enumerate((16, 32, 64), start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            layers[f"block{stage}_{block}"] = _BasicBlock(channels, _scaled(base, width), stride)
            channels = _scaled(base, width)
    return _classifier(layers, channels, num_classes)


def _scaled(base: int, width: float) -> int:
    return max(1, round(base * width))


def _conv(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def _conv_block(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = _conv(in_channels, out_channels, kernel, stride, groups)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels), relu=nn.ReLU()))


def _classifier(layers: OrderedDict[str, nn.Module], channels: int, num_classes: int) -> nn.Module:
    """Append a global average and a linear layer, and initialise all layers."""
    layers |= {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(channels, num_classes)}
    return _initialised(nn.Sequential(layers))


def _initialised(model: nn.Module) -> nn.Module:
    """Initialise convolutions as He et al. (arXiv 1502.01852), by fan-in, which also suits depthwise convolutions."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


CIFAR: dict[str, Builder] = {
    "vgg16": vgg16,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet56": resnet56,
    "mobilenet": mobilenet,
    "small_cnn": small_cnn,
    "vit": vit,
}

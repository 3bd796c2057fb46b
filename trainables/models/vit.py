"""A small vision transformer for small images."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Attention of several heads, of linear layers alone, which compensation can fit."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (B, n, width). Returns the same shape."""
        queries, keys, values = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values)  # (B, heads, n, width of a head)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class TransformerLayer(nn.Module):
    """Attention, then an MLP, each added to what it reads through a layer norm."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            OrderedDict(up=nn.Linear(width, hidden), gelu=nn.GELU(), down=nn.Linear(hidden, width))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (B, n, width). Returns the same shape."""
        tokens = tokens + self.attention(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class SmallViT(nn.Module):
    """Patches, positions, transformer layers, the mean over tokens, and a linear layer.

    A depthwise convolution over the grid of patches gives positions (Chu et al., arXiv 2102.10882), so that images of
    any size pass. The mean replaces the class token (Beyer et al., arXiv 2205.01580).
    """

    def __init__(self, in_channels: int, patch: int, width: int, heads: int, layers: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, width, patch, stride=patch)
        self.positions = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.layers = nn.Sequential(*(TransformerLayer(width, heads, 2 * width) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, in_channels, H, W). Returns logits (B, classes)."""
        grid = self.patches(images)
        grid = grid + self.positions(grid)
        tokens = self.layers(grid.flatten(2).transpose(1, 2))
        logits: Tensor = self.head(self.norm(tokens).mean(1))
        return logits


def vit(num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """Vision transformer: patches of 4 x 4, six layers of four heads, 64 wide, 128 in the MLP; images from 8 x 8."""
    heads = 4
    model = SmallViT(in_channels, 4, heads * max(1, round(16 * width)), heads, 6, num_classes)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model

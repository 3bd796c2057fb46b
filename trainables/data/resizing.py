"""How an image comes to its size: stretched, its middle, or a random part of it. Bilinear, antialiased."""

import math
from random import Random
from typing import Literal

from PIL import Image

Fit = Literal["stretch", "crop"]
AREA, ASPECT, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10  # of a random part: Szegedy et al., arXiv 1409.4842


def fitted(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """Bring an image to size x size: "stretch" both sides, or "crop" the middle once the short side is 8/7 of that.

    For 224 pixels these are the usual 256.
    """
    if fit == "stretch":
        return _resized(image, (size, size))
    short, long = sorted(image.size)
    first, second = round(size * 8 / 7), int(round(size * 8 / 7) * long / short)
    image = _resized(image, (first, second) if image.width <= image.height else (second, first))
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def cut(image: Image.Image, size: tuple[int, int], seed: int) -> Image.Image:
    """Cut the part that a seed draws, and bring it to size (width, height): torchvision's RandomResizedCrop."""
    left, top, width, height = part(image.width, image.height, seed)
    return _resized(image.crop((left, top, left + width, top + height)), size)


def part(width: int, height: int, seed: int) -> tuple[int, int, int, int]:
    """Draw a part of an image in pixels: left, top, width and height.

    Its share of the area is uniform, and so is the logarithm of its aspect ratio. If none of ten draws fits, the part
    is the largest one of an allowed aspect ratio in the middle. The distribution is that of torchvision's
    RandomResizedCrop, whose own draw uses PyTorch's global generator: threads that decode images side by side, and
    training itself, would change each other's draws.
    """
    draw = Random(seed)
    for _ in range(TRIES):
        area = width * height * draw.uniform(*AREA)
        aspect = math.exp(draw.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return draw.randint(0, width - w), draw.randint(0, height - h), w, h
    w, h = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
    return (width - w) // 2, (height - h) // 2, w, h


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)

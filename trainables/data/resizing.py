"""Resizing: the stretched image, its middle, or a random part of it. Bilinear, antialiased."""

import math
from random import Random
from typing import Literal

from PIL import Image

Fit = Literal["stretch", "crop"]
AREA, ASPECT, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10  # of a random part (Szegedy et al., arXiv 1409.4842)


def fitted(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """Resize an image to size x size.

    "stretch" resizes both sides. "crop" resizes the short side to 8/7 of `size` (the usual 256 for 224 pixels), and
    takes the middle.
    """
    if fit == "stretch":
        return _resized(image, (size, size))
    short, long = sorted(image.size)
    first, second = round(size * 8 / 7), int(round(size * 8 / 7) * long / short)
    image = _resized(image, (first, second) if image.width <= image.height else (second, first))
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def cut(image: Image.Image, size: tuple[int, int], seed: int) -> Image.Image:
    """Cut the part that a seed draws, and resize it to size (width, height), as torchvision's RandomResizedCrop."""
    left, top, width, height = part(image.width, image.height, seed)
    return _resized(image.crop((left, top, left + width, top + height)), size)


def part(width: int, height: int, seed: int) -> tuple[int, int, int, int]:
    """Draw a part of an image in pixels: left, top, width and height.

    Its share of the area is uniform, and so is the logarithm of its aspect ratio. If none of ten draws fits, the part
    is the largest middle part with an allowed aspect ratio. The distribution is the same as in torchvision's
    RandomResizedCrop. That class draws from PyTorch's global generator, so parallel threads and training would change
    each other's draws.
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

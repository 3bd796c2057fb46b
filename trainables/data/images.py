"""Decoding: encoded images, on disk or in memory, to one uint8 array, many at a time."""

import io
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from trainables.data.splits import Integers, Pixels, Shape

CHUNK = 64  # images a thread decodes before it asks for more
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")  # others of Pillow's start programs
MOST_PIXELS, MOST_BYTES = 1 << 26, 1 << 28  # of an image; of its file


class Encoded(NamedTuple):
    """An encoded image, in memory or in a file, and what an error calls it."""

    content: bytes | Path
    where: str


class Form(NamedTuple):
    """The one form of all images of a data set: that of its first image, resized where the settings say so."""

    channels: int  # 1 for greyscale ("L"), 3 for anything else (converted to RGB)
    height: int
    width: int

    def empty(self, count: int) -> Pixels:
        """Make room for `count` images: (count, C, H, W), not yet filled."""
        return np.empty((count, *self), np.uint8)

    def shape(self, classes: int) -> Shape:
        """Add the number of classes."""
        return Shape(*self, classes)


def form_of(first: Encoded, size: int | None) -> Form:
    """Read the form that the first image sets for its data set. Raises ValueError as `fill` does."""
    image = _open(first)
    channels = 1 if image.mode == "L" else 3
    return Form(channels, size or image.height, size or image.width)


def fill(out: Pixels, slots: Integers, encoded: Sequence[Encoded], size: int | None) -> None:
    """Decode image i into `out[slots[i]]`, `out` (N, C, H, W), on all cores.

    Images are converted to the channels of `out`, and resized (bilinear, antialiased) to `size` where it is given.
    Raises ValueError for an image that does not decode, has more than 8 bits a channel, or is of another size.
    """

    form = Form(*out.shape[1:])

    def fill_chunk(start: int) -> None:
        for i in range(start, min(start + CHUNK, len(encoded))):
            out[slots[i]] = _decode(encoded[i], form, size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill_chunk, range(0, len(encoded), CHUNK)):
            pass  # raises the first error, in order


def resize(images: Pixels, size: int) -> Pixels:
    """Resize images (N, C, H, W) to (N, C, size, size), bilinear and antialiased, as `fill` does."""
    resized = np.empty((*images.shape[:2], size, size), np.uint8)
    for i, channel in np.ndindex(images.shape[:2]):
        resized[i, channel] = _resize(Image.fromarray(images[i, channel]), size)
    return resized


def _decode(encoded: Encoded, form: Form, size: int | None) -> Pixels:
    image = _open(encoded)
    mode = "L" if form.channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if size is not None:
        image = _resize(image, size)
    elif image.size != (form.width, form.height):
        raise ValueError(
            f"images must all be of one size, but {encoded.where} is {image.width}x{image.height} and the first is "
            f"{form.width}x{form.height}; set data.size to resize them all"
        )
    return np.asarray(image).reshape(form.height, form.width, form.channels).transpose(2, 0, 1)


def _read(path: Path) -> bytes:
    told = path.stat()
    if not stat.S_ISREG(told.st_mode) or told.st_size > MOST_BYTES:  # a pipe would never end
        raise ValueError(f"it must be a file of at most {MOST_BYTES:,} bytes")
    return path.read_bytes()


def _open(encoded: Encoded) -> Image.Image:
    content, where = encoded
    try:
        image = Image.open(io.BytesIO(content if isinstance(content, bytes) else _read(content)), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
        image.load()
    except Exception as error:  # Pillow's decoders raise errors of many kinds, SyntaxError and struct.error among them
        raise ValueError(
            f"image must decode, but {where} does not ({type(error).__name__}: {error}); repair or remove it"
        ) from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"images must have 8 bits a channel, but {where} has mode {image.mode!r}; convert it to 8-bit PNG"
        )
    return image


def _resize(image: Image.Image, size: int) -> Image.Image:
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)

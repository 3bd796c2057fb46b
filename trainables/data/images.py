"""Decoding: from encoded images, on disk or in memory, to uint8 arrays of one form."""

import io
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from trainables.data.resizing import Fit, cut, fitted
from trainables.data.types import Pixels, Shape
from trainables.spec import DataSpec

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")  # some of Pillow's other formats start programs
MOST_PIXELS, MOST_BYTES = 1 << 26, 1 << 28  # of one image; of one file


class Encoded(NamedTuple):
    """An encoded image, in memory or in a file, and its name in error messages."""

    content: bytes | Path  # b"" where the image is missing
    where: str


class Form(NamedTuple):
    """The form of all images of a data set: the form of the first image, resized if the settings say so."""

    channels: int  # 1 for greyscale ("L"), 3 for all others (converted to RGB)
    height: int
    width: int

    def empty(self, count: int) -> Pixels:
        """Return an array for `count` images: (count, C, H, W), not yet filled."""
        return np.empty((count, *self), np.uint8)

    def shape(self, classes: int) -> Shape:
        """Return the shape of a data set with this number of classes."""
        return Shape(*self, classes)


@dataclass(frozen=True)
class Decoder:
    """Decodes the images of a data set to pixels of one form."""

    form: Form
    size: int | None
    fit: Fit

    @classmethod
    def of(cls, first: Encoded, data: DataSpec) -> "Decoder":
        """Return a decoder with the form of the first image. Raises ValueError as `decode` does."""
        image = _open(first)
        channels = 1 if image.mode == "L" else 3
        return cls(Form(channels, data.size or image.height, data.size or image.width), data.size, data.fit)

    def decode(self, encoded: Sequence[Encoded], cuts: Iterable[int | None] = repeat(None)) -> Pixels:
        """Decode images to (n, C, H, W).

        cuts: (n,) seeds, each of which draws a random part of its image; None: the whole image. Images are converted to
        the channels of the form, and resized (bilinear, antialiased) if the settings say so.
        Raises ValueError for an image that does not decode, has more than 8 bits a channel, or has another size.
        """
        out = self.form.empty(len(encoded))
        for pixels, image, seed in zip(out, encoded, cuts, strict=False):
            pixels[:] = self._decode_one(image, seed)
        return out

    def _decode_one(self, encoded: Encoded, seed: int | None) -> Pixels:
        image, form = _open(encoded), self.form
        mode = "L" if form.channels == 1 else "RGB"
        if image.mode != mode:
            image = image.convert(mode)
        if seed is not None:
            image = cut(image, (form.width, form.height), seed)
        elif self.size is not None:
            image = fitted(image, self.size, self.fit)
        elif image.size != (form.width, form.height):
            raise ValueError(
                f"images must all be of one size, but {encoded.where} is {image.width}x{image.height} and the first is "
                f"{form.width}x{form.height}; set data.size to resize them all"
            )
        return np.asarray(image).reshape(form.height, form.width, form.channels).transpose(2, 0, 1)


def resize(images: Pixels, size: int, fit: Fit) -> Pixels:
    """Resize images (N, C, H, W) to (N, C, size, size), bilinear and antialiased, as a decoder does."""
    resized = np.empty((*images.shape[:2], size, size), np.uint8)
    for i, channel in np.ndindex(images.shape[:2]):
        resized[i, channel] = fitted(Image.fromarray(images[i, channel]), size, fit)
    return resized


def _content(encoded: Encoded) -> bytes:
    content, where = encoded
    if isinstance(content, Path):
        try:
            status = content.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:  # a pipe would never end
                raise ValueError(
                    f"image must decode, but {where} does not: it must be a file of at most {MOST_BYTES:,} bytes; "
                    "repair or remove it"
                )
            return content.read_bytes()  # other errors pass: the storage may fail for a moment
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise ValueError(
                f"image must be readable on every machine, but {where} is not ({error}); mount or restore it"
            ) from error
    if not content:
        raise ValueError(f"image must be given, but {where} has none; add or remove it")
    return content


def _open(encoded: Encoded) -> Image.Image:
    where = encoded.where
    content = _content(encoded)
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
        image.load()
    except Exception as error:  # Pillow's decoders raise many kinds of errors, even SyntaxError and struct.error
        raise ValueError(
            f"image must decode, but {where} does not ({type(error).__name__}: {error}); repair or remove it"
        ) from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"images must have 8 bits a channel, but {where} has mode {image.mode!r}; convert it to 8-bit PNG"
        )
    return image

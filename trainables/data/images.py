"""Decoding: from encoded images, on disk or in memory, to uint8 arrays of one form."""

import io
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables.data.channels import Channels, is_grey
from trainables.data.resizing import Fit, cut, fitted
from trainables.data.types import Pixels, Shape
from trainables.data_spec import DataSpec

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")  # some of Pillow's other formats start programs
MOST_PIXELS, MOST_BYTES = 1 << 26, 1 << 28  # of one image; of one file


class Encoded(NamedTuple):
    """An encoded image, in memory or in a file, and its name in error messages."""

    content: bytes | Path  # b"" where the image is missing
    where: str


class Form(NamedTuple):
    """The form of all images of a data set: the size of the first image, resized if the settings say so."""

    channels: int  # 1 for grey ("L"), 3 for colour ("RGB")
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
    converts: bool  # whether images are converted to the channels of the form; otherwise colour is refused

    @classmethod
    def of(cls, first: Encoded, channels: Channels, data: DataSpec) -> "Decoder":
        """Return a decoder with the size of the first image. Raises ValueError as `decode` does."""
        image = _open(first)
        form = Form(channels.number, data.size or image.height, data.size or image.width)
        return cls(form, data.size, data.fit, channels.converts)

    def decode(self, encoded: Sequence[Encoded], cuts: Iterable[int | None] = repeat(None)) -> Pixels:
        """Decode images to (n, C, H, W).

        cuts: (n,) seeds, each of which draws a random part of its image; None: the whole image. Images are converted to
        the channels of the form, and resized (bilinear, antialiased) if the settings say so.
        Raises ValueError for an image that does not decode, has more than 8 bits a channel, or has another size, and
        for colour that was not expected.
        """
        out = self.form.empty(len(encoded))
        for pixels, image, seed in zip(out, encoded, cuts, strict=False):
            pixels[:] = self._decode_one(image, seed)
        return out

    def _decode_one(self, encoded: Encoded, seed: int | None) -> Pixels:
        image, form = _open(encoded), self.form
        mode = "L" if form.channels == 1 else "RGB"
        if not self.converts and not is_grey(image.mode):
            raise ValueError(
                f"images must be grey, as all that were looked at are, but {encoded.where} has colour; set "
                "data.channels to colour, or to grey to convert it"
            )
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns of other conversions; the colours are the same
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


def convert(images: Pixels, channels: int) -> Pixels:
    """Convert images (N, C, H, W) to (N, channels, H, W), between 1 and 3 channels, as Pillow converts images."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=1)
    red, green, blue = (images[:, [c]].astype(np.uint32) for c in range(3))
    luma = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16  # ITU-R 601-2, rounded
    return luma.astype(np.uint8)


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


def mode_of(encoded: Encoded) -> str | None:
    """Return Pillow's mode of an image by its header. None if the header cannot be read."""
    content, _ = encoded
    try:
        if isinstance(content, Path) and not stat.S_ISREG(content.stat().st_mode):
            return None
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content), formats=FORMATS) as image:
            return image.mode
    except Exception:  # whoever decodes the image names it
        return None


def _open(encoded: Encoded) -> Image.Image:
    where = encoded.where
    content = _content(encoded)
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
        image.load()
    except Exception as error:  # Pillow's decoders raise many kinds of errors, even SyntaxError and struct.error
        raise ValueError(f"image must decode, but {where} does not ({_reason(error)}); repair or remove it") from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"images must have 8 bits a channel, but {where} has mode {image.mode!r}; convert it to 8-bit PNG"
        )
    return image


def _reason(error: Exception) -> str:
    """Return the class and the text of an error, without the addresses of objects, which tell a reader nothing."""
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        text = f"the content is none of {', '.join(FORMATS)}"
    return f"{type(error).__name__}: {re.sub(r'<[^<>]* at 0x[0-9a-fA-F]+>', 'the image', text)}"

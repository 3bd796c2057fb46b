"""Decoding: one size and one mode for all images of a data set, by Pillow's own answers."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.trainables.image_files import RNG, everything, parquet_spec, png, write_parquet
from trainables.data import sources
from trainables.data.images import convert, resize
from trainables.data.resizing import fitted
from trainables.data.types import Shape
from trainables.data_spec import DataSpec


@pytest.mark.parametrize("size", [5, 16])
def test_resizing_is_that_of_pillow_for_arrays_and_files(tmp_path: Path, size: int) -> None:
    pixels = load_digits().images[:6].astype(np.uint8) * 15
    write_parquet(tmp_path / "a.parquet", [png(image) for image in pixels], [0, 1] * 3)
    images, _, _ = everything(parquet_spec(tmp_path, size=size))
    expected = [Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR) for image in pixels]
    assert np.array_equal(images[:, 0], np.stack([np.asarray(image) for image in expected]))
    cropped, _, _ = everything(parquet_spec(tmp_path, size=size, fit="crop"))
    middle = [fitted(Image.fromarray(image), size, "crop") for image in pixels]
    assert np.array_equal(cropped[:, 0], np.stack([np.asarray(image) for image in middle]))
    assert np.array_equal(resize(pixels[:, None], size, "crop"), cropped)
    assert sources.peek(DataSpec(size=size)) == Shape(1, size, size, 10)
    assert sources.load(DataSpec(size=size, max_train=10)).train.images.shape == (10, 1, size, size)


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_are_converted_as_pillow_converts_files(channels: int) -> None:
    pixels = RNG.integers(0, 256, (200, 9, 7, 3), np.uint8)
    if channels == 1:
        assert np.array_equal(convert(pixels.transpose(0, 3, 1, 2), 3), pixels.transpose(0, 3, 1, 2))
        kept = [np.asarray(Image.fromarray(image).convert("L"))[None] for image in pixels]
        assert np.array_equal(convert(pixels.transpose(0, 3, 1, 2), 1), np.stack(kept))
    else:
        kept = [np.asarray(Image.fromarray(image[..., 0]).convert("RGB")).transpose(2, 0, 1) for image in pixels]
        assert np.array_equal(convert(pixels[:, None, :, :, 0], 3), np.stack(kept))


def test_a_broken_image_is_named_without_the_address_of_an_object(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [b"no image"] * 4, [0, 1] * 2)
    with pytest.raises(ValueError, match="image must decode") as error:
        sources.peek(parquet_spec(tmp_path))
    assert str(error.value) == (
        "image must decode, but a.parquet row 0 does not (UnidentifiedImageError: the content is none of PNG, JPEG, "
        "WEBP, BMP, GIF, PPM, TIFF); repair or remove it"
    )


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    images = []
    for _ in range(6):
        image = Image.fromarray(RNG.integers(0, 256, (4, 4), np.uint8)).convert("P")
        buffer = io.BytesIO()
        image.save(buffer, "PNG", transparency=bytes(range(256)))
        images.append((image, buffer.getvalue()))
    write_parquet(tmp_path / "a.parquet", [encoded for _, encoded in images], [0, 1] * 3)
    pixels, _, _ = everything(parquet_spec(tmp_path))
    assert np.array_equal(
        pixels, np.stack([np.asarray(image.convert("RGB")).transpose(2, 0, 1) for image, _ in images])
    )

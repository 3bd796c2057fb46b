"""Decoding: one size and one mode for all images of a data set, by Pillow's own answers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.trainables.image_files import RNG, everything, parquet_spec, png, write_parquet
from trainables.data import sources
from trainables.data.images import resize
from trainables.data.resizing import fitted
from trainables.data.types import Shape
from trainables.spec import DataSpec


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


def test_images_take_the_mode_of_the_first(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (12, 4, 4, 3), np.uint8)
    for name, first in (("grey", "L"), ("colour", "P")):
        (tmp_path / name).mkdir()
        modes = [first] + ["RGB", "RGBA", "L"] * 3 + ["RGB"] * 2
        encoded = [png(image, mode) for image, mode in zip(pixels, modes, strict=True)]
        write_parquet(tmp_path / name / "a.parquet", encoded, [0] * 12)
        images, _, _ = everything(parquet_spec(tmp_path / name))
        assert images.shape == (12, 1 if first == "L" else 3, 4, 4)
        kept = Image.fromarray(pixels[1]).convert("L" if first == "L" else "RGB")
        assert np.array_equal(images[1].squeeze(), np.asarray(kept) if first == "L" else np.moveaxis(pixels[1], 2, 0))

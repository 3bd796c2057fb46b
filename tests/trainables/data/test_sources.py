"""Sources: what their settings must be."""

from collections.abc import Callable

import pytest
from sklearn.datasets import load_digits

from trainables.data import sources
from trainables.data.arrays import TORCHVISION
from trainables.data_spec import DataSpec


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataSpec(name="digit"), "data.name must be a known name, but got 'digit'; did you mean 'digits'"),
        (DataSpec(path="somewhere"), "data.path must be empty for digits"),
        (DataSpec(max_test=9), "data.max_test must allow a sample of each of the 10 classes, but got 9"),
        (DataSpec(name="cifar100", max_train=99), "each of the 100 classes, but got 99"),
        (DataSpec(name="parquet"), "data.path must name a folder of Parquet files, but is empty"),
        (DataSpec(name="folder"), "data.path must name an image folder, but is empty"),
        (DataSpec(name="parquet", path="missing"), "'missing' is not a folder"),
        (DataSpec(name="folder", path="missing"), "'missing' is not a folder"),
        (DataSpec(name="cifar10", path=__file__), "data.path must be a folder for downloads"),
        (DataSpec(loading="stream"), "digits must stay in memory and cannot stream, but got data.loading 'stream'"),
        (
            DataSpec(name="cifar10", augment="resized_crop"),
            "cifar10 must stay in memory and cannot stream, .* data.augment 'resized_crop'",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(data: DataSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sources.check(data)


@pytest.mark.parametrize("ask", [sources.peek, sources.load])
def test_greyscale_cannot_be_normalised_as_imagenet(ask: Callable[[DataSpec], object]) -> None:
    with pytest.raises(ValueError, match=r"'imagenet' must go with images in colour, but digits has 1 channel"):
        ask(DataSpec(normalise="imagenet"))


def test_the_catalog_describes_each_data_set() -> None:
    lines = {name: source.about for name, source in sources.SOURCES.items()}
    digits = load_digits()
    assert f"{len(digits.target):,} handwritten digits" in lines["digits"]
    for name, (_, shape) in TORCHVISION.items():
        assert (
            f": {shape.classes} classes, {shape.height}x{shape.width}, {'c' if shape.channels == 3 else 'g'}"
            in lines[name]
        )
        assert "10,000" in lines[name]
    assert len({line.partition(":")[0] for line in lines.values()}) == len(lines)
    assert "image" in lines["parquet"]
    assert "train/<class>" in lines["folder"]

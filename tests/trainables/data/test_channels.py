"""Colour or grey: one image with colour is enough, wherever it is, and the setting decides otherwise."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.trainables.image_files import RNG, everything, parquet_spec, png, write_parquet
from trainables.data import modes, row_groups, sources
from trainables.data.modes import spread_sample
from trainables.data_spec import DataSpec
from trainables.storage.folder import Folder

PIXELS = RNG.integers(0, 256, (12, 4, 4, 3), np.uint8)


def write(root: Path, kind: str, image_modes: list[str]) -> DataSpec:
    """Write one image of each mode, in two classes."""
    encoded = [png(PIXELS[n % 12], mode) for n, mode in enumerate(image_modes)]
    if kind == "parquet":
        root.mkdir(parents=True)
        write_parquet(root / "a.parquet", encoded, [n % 2 for n in range(len(encoded))], group=2)
        return parquet_spec(root)
    for number, content in enumerate(encoded):
        (root / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[number % 2] / f"{number:02}.png").write_bytes(content)
    return DataSpec(name="folder", path=str(root))


def line(data: DataSpec) -> str:
    (found,) = (line for line in sources.start_messages(data, sources.load(data)) if line.startswith("images are read"))
    return found


@pytest.mark.parametrize("kind", ["folder", "parquet"])
@pytest.mark.parametrize("at", [0, 3, 11])
@pytest.mark.parametrize("odd", ["L", "RGB", "P", "RGBA"])
def test_one_image_with_colour_is_enough(tmp_path: Path, kind: str, at: int, odd: str) -> None:
    others = "RGB" if odd == "L" else "L"
    data = write(tmp_path / "data", kind, [odd if n == at else others for n in range(12)])
    assert sources.peek(data).channels == 3
    images, _, _ = everything(data)
    assert images.shape == (12, 3, 4, 4)
    if others == "RGB":
        grey = np.asarray(Image.fromarray(PIXELS[at]).convert("L"))
        assert any(np.array_equal(image, np.stack([grey] * 3)) for image in images)
        assert line(data) == "images are read in colour: 11 have colour, 1 is grey; each is 3 x 4 x 4"
    else:
        assert line(data) == "images are read in colour: 1 has colour, 11 are grey; each is 3 x 4 x 4"


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_images_without_colour_are_grey(tmp_path: Path, kind: str) -> None:
    data = write(tmp_path / "data", kind, ["L", "1", "LA"] * 4)
    images, _, _ = everything(data)
    assert images.shape == (12, 1, 4, 4)
    assert line(data) == "images are read in grey: all 12 are grey; each is 1 x 4 x 4"


@pytest.mark.parametrize("kind", ["folder", "parquet"])
@pytest.mark.parametrize(("channels", "mode"), [("grey", "L"), ("colour", "RGB")])
def test_the_setting_decides(tmp_path: Path, kind: str, channels: Any, mode: str) -> None:
    data = write(tmp_path / "data", kind, ["RGB", "L"] * 6).model_copy(update={"channels": channels})
    images, _, _ = everything(data)
    assert sources.peek(data).channels == images.shape[1] == len(Image.new(mode, (1, 1)).getbands())
    first = np.asarray(Image.fromarray(PIXELS[0]).convert(mode)).reshape(4, 4, -1).transpose(2, 0, 1)
    assert np.array_equal(images[0], first)
    assert f"data.channels is {channels}" in line(data)


@pytest.mark.parametrize(
    ("name", "channels", "number"), [("digits", "colour", 3), ("digits", "grey", 1), ("digits", "auto", 1)]
)
def test_arrays_follow_the_setting(name: Any, channels: Any, number: int) -> None:
    data = DataSpec(name=name, channels=channels, size=9, max_train=10)
    assert sources.peek(data).image == sources.load(data).inputs.image == (number, 9, 9)
    assert line(data).startswith(f"images are read in {'colour' if number == 3 else 'grey'}: ")


def test_where_no_image_of_a_sample_has_colour_one_that_has_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path / "data", "folder", ["L"] * 40)
    (tmp_path / "data" / "a" / "02.png").write_bytes(png(PIXELS[0]))
    monkeypatch.setattr(modes, "MOST", 4)
    monkeypatch.setattr(spread_sample, "__defaults__", (4,))
    with pytest.raises(
        ValueError, match=r"images must be grey, .* but a/02\.png has colour; set data\.channels to colour"
    ):
        everything(data)
    images, _, _ = everything(data.model_copy(update={"channels": "grey"}))
    assert images.shape == (40, 1, 4, 4)
    (tmp_path / "data" / "a" / "02.png").write_bytes(png(PIXELS[0], "L"))
    assert line(data).startswith("images are read in grey: all 4 are grey, of 40 images of which 4 were read;")


def test_a_sample_has_all_classes_and_splits_and_is_spread_over_them() -> None:
    labels = np.repeat([0, 1, 2, 0, 1], [1000, 500, 3, 200, 1])
    roles = np.repeat([0, 0, 0, 2, 2], [1000, 500, 3, 200, 1])
    assert np.array_equal(spread_sample(labels, roles, 1704), np.arange(1704))
    sample = spread_sample(labels, roles, 100)
    assert np.array_equal(sample, np.sort(sample))
    pairs = list(zip(roles[sample], labels[sample], strict=True))
    assert {pair: pairs.count(pair) for pair in pairs} == {(0, 0): 20, (0, 1): 20, (0, 2): 3, (2, 0): 20, (2, 1): 1}
    assert sample[:3].tolist() == [0, 50, 100]
    assert len(spread_sample(labels, roles, 2)) == 5


def test_a_large_data_set_is_asked_by_some_row_groups_of_each_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train-0", "train-1", "test"):
        write_parquet(tmp_path / f"{name}.parquet", [png(PIXELS[n % 12], "L") for n in range(40)], [0, 1] * 20, group=4)
    data = parquet_spec(tmp_path)
    monkeypatch.setattr(row_groups, "AFFORDABLE", 1)
    assert line(data).startswith("images are read in grey: all 8 are grey, of 120 images of which 8 were read")
    group = 4 * len(png(PIXELS[0], "L"))
    monkeypatch.setattr(row_groups, "AFFORDABLE", 20 * group)
    assert 8 < sources_asked(line(data)) < 120


def sources_asked(text: str) -> int:
    return int(text.partition("of which ")[2].split()[0])


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_mixed_images_have_a_name_of_their_own(tmp_path: Path, kind: str) -> None:
    """An earlier version read the same files in grey: nothing that was trained on them is used again."""
    found = set()
    for name, image_modes in (("mixed", ["L"] + ["RGB"] * 7), ("colour", ["RGB"] * 8)):
        data = write(tmp_path / name, kind, image_modes)
        content = {
            sources.identified(data.model_copy(update={"channels": channels}), Folder.at(str(tmp_path)), print).content
            for channels in ("auto", "grey", "colour")
        }
        assert len(content) == 1
        found |= content
    assert len(found) == 2


def test_headers_are_enough(tmp_path: Path) -> None:
    """An image without its end is grey or coloured all the same, and is named where it is decoded."""
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "PNG")
    data = write(tmp_path / "data", "folder", ["L"] * 12)
    (tmp_path / "data" / "b" / "99.png").write_bytes(buffer.getvalue()[:200])
    assert sources.peek(data).channels == 3
    with pytest.raises(ValueError, match=r"image must decode, but b/99\.png does not"):
        everything(data)

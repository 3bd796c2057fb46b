"""Artificial JPEG files like ImageNet's: about 500 x 375 pixels and 110 kB, upright and wide, in colour."""

import io
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SHAPES = ((500, 375), (375, 500), (500, 333), (640, 480), (400, 400))


def photos(count: int, classes: int) -> Iterator[tuple[bytes, int]]:
    """Yield `count` pairs of an encoded image and its label. The images of a class repeat."""
    return islice(cycle(list(_different(min(count, 20 * classes), classes))), count)


def _different(count: int, classes: int) -> Iterator[tuple[bytes, int]]:
    """Make different images. A class is a colour and a direction of stripes, under noise of many scales."""
    random = np.random.default_rng(0)
    for number in range(count):
        label, (width, height) = number % classes, SHAPES[number % len(SHAPES)]
        picture = np.zeros((height, width, 3))
        for scale in (4, 32, 256):
            noise = random.integers(0, 256, (scale * height // 500 + 1, scale * width // 500 + 1, 3), np.uint8)
            picture += np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC), float) / 3
        angle = np.pi * label / classes
        rows, columns = np.mgrid[:height, :width]
        stripes = 30 * np.sin((np.cos(angle) * rows + np.sin(angle) * columns) / 9)
        picture += stripes[..., None] + 40 * np.cos(2 * angle + np.arange(3))
        buffer = io.BytesIO()
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue(), label


def write_folder(root: Path, counts: dict[str, int], classes: int = 10) -> None:
    """Write that many images to each split: SPLIT/CLASS/NUMBER.JPEG."""
    for split, count in counts.items():
        for number, (encoded, label) in enumerate(photos(count, classes)):
            folder = root / split / f"n{label:08}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:05}.JPEG").write_bytes(encoded)


def write_rows(root: Path, counts: dict[str, int], classes: int = 10, group: int = 100) -> None:
    """Write that many images to each split: SPLIT-0.parquet."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        encoded, labels = zip(*photos(count, classes), strict=True)
        table = pa.table({"image": pa.array(encoded, pa.binary()), "label": pa.array(labels)})
        pq.write_table(table, root / f"{split}-0.parquet", row_group_size=group)

"""Files of small images, made for each test, and everything that a source reads from them."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from trainables.data import sources
from trainables.data_spec import DataSpec

RNG = np.random.default_rng(0)


def png(pixels: Any, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


def grey(count: int, side: int = 4) -> Any:
    return RNG.integers(0, 256, (count, side, side), np.uint8)


def write_parquet(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    classes: object = None,
    struct: bool = False,
    group: int = 7,
) -> None:
    rows: Any = [{"bytes": image, "path": None} for image in images] if struct else images
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if struct else pa.binary()
    table = pa.table({"image": pa.array(rows, kind), "label": pa.array(labels)})
    if classes is not None:
        table = table.replace_schema_metadata({"classes": json.dumps(classes)})
    pq.write_table(table, path, row_group_size=group)


def parquet_spec(folder: Path, **changes: Any) -> DataSpec:
    return DataSpec(name="parquet", path=str(folder), **changes)


def everything(data: DataSpec) -> tuple[Any, Any, Any]:
    """Return images, labels and ids of all samples of all splits, in order of their ids."""
    splits = sources.load(data)
    parts = [splits.train, splits.val, sources.load_test(data)]
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids)
    images = np.concatenate([part.images for part in parts])[order]
    return images, np.concatenate([part.labels for part in parts])[order], ids[order]


def save_folder(root: Path, counts: dict[str, int]) -> dict[str, Any]:
    """Write that many grey images to each folder; return file name -> pixels, in order of the names."""
    images = {}
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for number, pixels in enumerate(grey(count)):
            name = f"{folder}/{number:02}.png"
            (root / name).write_bytes(png(pixels))
            images[name] = pixels
    return images

import io
import json
import pickle
from collections.abc import Callable, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from trainables.data import parquet, sources
from trainables.data.splits import ROLES, Listing, Shape, Split, Splits, divide, statistics
from trainables.spec import DataSpec

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
    """All samples of all splits, in natural order."""
    splits = sources.load(data)
    parts = [splits.train, splits.val, sources.load_test(data)]
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids)
    images = np.concatenate([part.images for part in parts])[order]
    return images, np.concatenate([part.labels for part in parts])[order], ids[order]


def save_folder(root: Path, counts: dict[str, int]) -> dict[str, Any]:
    """Write that many grey images to each folder; return them by file, in the order of their names."""
    images = {}
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for number, pixels in enumerate(grey(count)):
            name = f"{folder}/{number:02}.png"
            (root / name).write_bytes(png(pixels))
            images[name] = pixels
    return images


# The real thing


@pytest.fixture(scope="module")
def whole(cifar10: Path) -> Splits:
    return sources.load(parquet_spec(cifar10))


def test_cifar10_has_its_published_statistics_and_class_counts(whole: Splits) -> None:
    mean, std = statistics(np.concatenate([whole.train.images, whole.val.images]))
    assert mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-4)
    assert std == pytest.approx((0.2470, 0.2435, 0.2616), abs=1e-4)
    assert np.bincount(whole.train.labels).tolist() == [4500] * 10
    assert np.bincount(whole.val.labels).tolist() == [500] * 10
    assert whole.classes[:2] == ("airplane", "automobile")
    assert np.array_equal(np.sort(np.concatenate([whole.train.ids, whole.val.ids])), np.arange(50_000))


def test_cifar10_ids_are_rows_of_the_files(whole: Splits, cifar10: Path) -> None:
    rows = pq.read_table(cifar10 / "train-1.parquet").slice(0, 50).to_pylist()
    found = 0
    for split in (whole.train, whole.val):
        for slot in np.flatnonzero((split.ids >= 25_000) & (split.ids < 25_050)):
            row = rows[split.ids[slot] - 25_000]
            pixels = np.asarray(Image.open(io.BytesIO(row["image"])))
            assert np.array_equal(split.images[slot].transpose(1, 2, 0), pixels)
            assert split.labels[slot] == row["label"]
            found += 1
    assert found == 50


def test_cifar10_subset_is_the_start_of_the_whole(whole: Splits, cifar10: Path) -> None:
    few = sources.load(parquet_spec(cifar10, max_train=105, max_val=20))
    assert np.array_equal(few.train.ids, whole.train.ids[:105])
    assert np.array_equal(few.train.images, whole.train.images[:105])
    assert sorted(np.bincount(few.train.labels).tolist()) == [10] * 5 + [11] * 5
    assert np.bincount(few.val.labels).tolist() == [2] * 10


def test_cifar10_test_split_is_its_test_file(cifar10: Path) -> None:
    test = sources.load_test(parquet_spec(cifar10, max_test=200))
    assert np.bincount(test.labels).tolist() == [20] * 10
    labels = pq.read_table(cifar10 / "test-0.parquet", columns=["label"])["label"].to_numpy()
    assert np.array_equal(labels[test.ids - 50_000], test.labels)
    assert sources.peek(parquet_spec(cifar10)) == Shape(3, 32, 32, 10)


# Splits


def listing(labels: Sequence[int], roles: Sequence[int], classes: int) -> Listing:
    names = tuple(map(str, range(classes)))
    return Listing(np.array(labels, np.int64), np.array(roles, np.int8), names, lambda positions: positions)  # type: ignore[arg-type, return-value]


@st.composite
def listings(draw: Callable[..., Any]) -> Listing:
    """Every class has three training samples or more; val and test samples of the source may be there."""
    classes = draw(st.integers(1, 5))
    train = [c for c in range(classes) for _ in range(draw(st.integers(3, 12)))]
    val, test = (draw(st.lists(st.integers(0, classes - 1), max_size=6)) for _ in range(2))
    train = draw(st.permutations(train))
    return listing(train + val + test, [0] * len(train) + [1] * len(val) + [2] * len(test), classes)


@settings(deadline=None)  # a shared machine may stall any example
@given(listings(), st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(0, 9))
def test_every_sample_falls_in_one_split_and_every_class_is_learnt(
    samples: Listing, val_fraction: float, test_fraction: float, seed: int
) -> None:
    data = DataSpec(val_fraction=val_fraction, test_fraction=test_fraction, split_seed=seed)
    dealt = divide(samples, data)
    assert sorted(np.concatenate(list(dealt.values())).tolist()) == list(range(len(samples.labels)))
    assert set(samples.labels[dealt["train"]]) == set(range(len(samples.classes)))
    for number, role in enumerate(ROLES[1:], 1):
        natural = np.flatnonzero(samples.roles == number)
        if len(natural):
            assert sorted(dealt[role]) == natural.tolist()
    if not (samples.roles == 2).any():
        for label, count in enumerate(np.bincount(samples.labels[samples.roles == 0])):
            held = (samples.labels[dealt["test"]] == label).sum()
            most = count - 1 if (samples.roles == 1).any() else count - 2
            assert 1 <= held <= most
            assert abs(held - count * test_fraction) <= 0.5 or held in (1, most)


@settings(deadline=None)  # a shared machine may stall any example
@given(listings(), st.integers(5, 60), st.integers(5, 60))
def test_limits_nest_and_spread_over_the_classes(samples: Listing, one: int, other: int) -> None:
    small, large = sorted((one, other))
    few = divide(samples, DataSpec(max_train=small, max_val=5))
    many = divide(samples, DataSpec(max_train=large, max_test=5))
    full = divide(samples, DataSpec())
    assert few["train"].tolist() == many["train"][:small].tolist() == full["train"][:small].tolist()
    assert few["val"].tolist() == full["val"][:5].tolist()
    available = np.bincount(samples.labels[full["train"]])
    taken = np.bincount(samples.labels[few["train"]], minlength=len(available))
    assert all(taken[c] == available[c] or taken[c] >= taken.max() - 1 for c in range(len(available)))


def test_split_of_a_seed_never_changes() -> None:
    samples = listing([0, 1] * 10, [0] * 20, 2)
    dealt = divide(samples, DataSpec(split_seed=3))
    assert {role: ids.tolist() for role, ids in dealt.items()} == PINNED
    assert divide(samples, DataSpec(split_seed=4))["test"].tolist() != PINNED["test"]


PINNED = {
    "train": [19, 10, 12, 5, 6, 11, 3, 18, 13, 8, 17, 14, 2, 15],
    "val": [1, 16],
    "test": [0, 9, 4, 7],
}


@pytest.mark.parametrize(
    ("labels", "classes", "changes", "message"),
    [
        ([0, 0, 0, 2, 2, 2], 3, {}, r"class 1 \('1'\) has none"),
        ([0, 0, 1, 1], 2, {}, "the test split must hold a sample"),
        ([0, 1] * 9, 2, {"max_val": 1}, "data.max_val must allow a sample of each of the 2 classes, but got 1"),
    ],
)
def test_impossible_splits_are_refused(labels: list[int], classes: int, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        divide(listing(labels, [0] * len(labels), classes), DataSpec(**changes))


def test_splits_travel_without_a_copy_and_stay_read_only() -> None:
    splits = sources.load(DataSpec())
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(splits, protocol=5, buffer_callback=buffers.append)
    assert len(head) < 4096
    there: Splits = pickle.loads(head, buffers=buffers)
    for split, original in ((there.train, splits.train), (there.val, splits.val)):
        for array in ("images", "labels", "ids"):
            assert np.shares_memory(getattr(split, array), getattr(original, array))
            assert not getattr(split, array).flags.writeable


def test_statistics_are_those_of_numpy() -> None:
    images = RNG.integers(0, 256, (1500, 3, 5, 4), np.uint8)
    images[:, 2] = 7
    mean, std = statistics(images)
    scaled = images.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    assert mean == pytest.approx(scaled.mean(axis=1))
    assert std == pytest.approx((scaled[0].std(), scaled[1].std(), 1.0))


# Sources


def test_digits_are_those_of_scikit_learn() -> None:
    images, labels, ids = everything(DataSpec())
    assert np.array_equal(images[:, 0], np.floor(load_digits().images * 255 / 16 + 0.5))
    assert images.max() == 255
    assert np.array_equal(labels, load_digits().target)
    assert np.array_equal(ids, np.arange(1797))
    assert sources.peek(DataSpec()) == Shape(1, 8, 8, 10)


@pytest.mark.parametrize("size", [5, 16])
def test_resizing_is_that_of_pillow_for_arrays_and_files(tmp_path: Path, size: int) -> None:
    pixels = load_digits().images[:6].astype(np.uint8) * 15
    write_parquet(tmp_path / "a.parquet", [png(image) for image in pixels], [0, 1] * 3)
    images, _, _ = everything(parquet_spec(tmp_path, size=size))
    expected = [Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR) for image in pixels]
    assert np.array_equal(images[:, 0], np.stack([np.asarray(image) for image in expected]))
    assert sources.peek(DataSpec(size=size)) == Shape(1, size, size, 10)
    assert sources.load(DataSpec(size=size, max_train=10)).train.images.shape == (10, 1, size, size)


@pytest.mark.parametrize(("struct", "rows"), [(False, 1024), (True, 1024), (False, 3)])
def test_parquet_files_are_split_by_name_and_counted_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, struct: bool, rows: int
) -> None:
    monkeypatch.setattr(parquet, "ROWS", rows)
    pixels = grey(60)
    labels = [0, 1, 2] * 20
    encoded = [png(image) for image in pixels]
    for name, start, stop in (("b", 0, 20), ("train-1", 20, 40), ("valid", 40, 50), ("test-0", 50, 60)):
        write_parquet(tmp_path / f"{name}.parquet", encoded[start:stop], labels[start:stop], struct=struct)
    data = parquet_spec(tmp_path)
    splits = sources.load(data)
    assert sorted(splits.val.ids) == list(range(40, 50))
    assert sorted(sources.load_test(data).ids) == list(range(50, 60))
    images, found, ids = everything(data)
    assert np.array_equal(ids, np.arange(60))
    assert np.array_equal(images[:, 0], pixels)
    assert found.tolist() == labels
    assert splits.classes == ("0", "1", "2")
    assert sources.peek(data) == Shape(1, 4, 4, 3)


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


def test_images_that_are_not_used_are_not_decoded(tmp_path: Path) -> None:
    encoded: list[bytes | None] = [png(image) for image in grey(90)]
    write_parquet(tmp_path / "a.parquet", encoded, [0, 1, 2] * 30)
    data = parquet_spec(tmp_path, max_train=6, max_val=3)
    before = sources.load(data)
    used = {0, *before.train.ids, *before.val.ids}
    write_parquet(tmp_path / "a.parquet", [e if i in used else b"?" for i, e in enumerate(encoded)], [0, 1, 2] * 30)
    after = sources.load(data)
    assert np.array_equal(before.train.images, after.train.images)
    with pytest.raises(ValueError, match="image must decode"):
        sources.load_test(data)


GOOD = [png(image) for image in grey(18)]
LABELS = [0, 1, 2] * 6


def with_row(values: Sequence[Any], row: int, value: Any) -> list[Any]:
    return [*values[:row], value, *values[row + 1 :]]


@pytest.mark.parametrize(
    ("images", "struct", "message"),
    [
        (with_row(GOOD, 17, b"not an image"), False, r"image must decode, but train-0\.parquet row 17 does not \(Unid"),
        (with_row(GOOD, 3, GOOD[3][:20]), True, r"image must decode, but train-0\.parquet row 3 does not"),
        (with_row(GOOD, 3, GOOD[3][:-30]), False, r"image must decode, but train-0\.parquet row 3 does not"),
        (with_row(GOOD, 9, None), False, r"image must be given, but train-0\.parquet row 9 has none"),
        (with_row(GOOD, 9, None), True, r"image must be given, but train-0\.parquet row 9 has none"),
        (with_row(GOOD, 8, png(grey(1, 5)[0])), False, r"train-0\.parquet row 8 is 5x5 .*4x4; set data\.size"),
        (
            with_row(GOOD, 8, png(grey(1, 4)[0], "I;16")),
            False,
            r"8 bits a channel, but train-0\.parquet row 8 has mode",
        ),
    ],
)
def test_a_bad_image_is_named_by_file_and_row(
    tmp_path: Path, images: list[bytes | None], struct: bool, message: str
) -> None:
    write_parquet(tmp_path / "train-0.parquet", images, LABELS, struct=struct)
    sources.check(parquet_spec(tmp_path))
    with pytest.raises(ValueError, match=message):
        everything(parquet_spec(tmp_path))


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (with_row(LABELS, 4, -1), None, r"label must be in 0\.\.17, but train-0\.parquet row 4 has -1"),
        (with_row(LABELS, 11, 10**12), None, r"train-0\.parquet row 11 has 1000000000000"),
        (with_row(LABELS, 11, 3), ["a", "b", "c"], r"label must be in 0\.\.2, but train-0\.parquet row 11 has 3"),
        (with_row(LABELS, 6, None), None, r"train-0\.parquet row 6 has None"),
        (
            [float(label) for label in LABELS],
            None,
            r"column label must hold integers, but in train-0\.parquet it is do",
        ),
        (LABELS, ["a", "b", "c", "d"], r"class 3 \('d'\) has none"),
        (LABELS, {"a": 0}, r"`classes` must be a JSON list of names, but train-0\.parquet has"),
    ],
)
def test_bad_labels_are_refused_before_any_image_is_read(
    tmp_path: Path, labels: list[Any], classes: object, message: str
) -> None:
    write_parquet(tmp_path / "train-0.parquet", GOOD, labels, classes)
    for ask in (sources.check, sources.load, sources.load_test):
        with pytest.raises(ValueError, match=message):
            ask(parquet_spec(tmp_path))


def test_labels_may_be_any_integers(tmp_path: Path) -> None:
    for kind in (pa.int8(), pa.uint64()):
        table = pa.table({"image": GOOD, "label": pa.array(LABELS, kind)})
        pq.write_table(table, tmp_path / "a.parquet")
        assert everything(parquet_spec(tmp_path))[1].tolist() == LABELS


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
    ],
)
def test_settings_that_cannot_work_are_refused(data: DataSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sources.check(data)


def test_folders_without_usable_parquet_files_are_refused(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            sources.check(parquet_spec(tmp_path))

    refused("must hold Parquet files with training samples, but none of its 0 is one")
    write_parquet(tmp_path / "test.parquet", GOOD, LABELS)
    refused("but none of its 1 is one")
    pq.write_table(pa.table({"img": GOOD}), tmp_path / "train.parquet")
    refused("train.parquet must have the columns image and label, but has img")
    pq.write_table(pa.table({"image": ["text"], "label": [0]}), tmp_path / "train.parquet")
    refused("column image must be binary .* in train.parquet it is string")
    write_parquet(tmp_path / "train.parquet", GOOD, LABELS, ["a", "b", "c"])
    refused("all files must name the same classes, but train.parquet and test.parquet differ")
    (tmp_path / "train.parquet").write_bytes(b"not Parquet at all")
    refused("train.parquet must be a Parquet file, but cannot be read")


def test_image_folder_with_splits_of_its_own(tmp_path: Path) -> None:
    saved = save_folder(tmp_path, {"train/cat": 4, "train/dog/deep": 3, "valid/dog": 2, "test/cat": 1, "test/dog": 1})
    (tmp_path / "train/cat/.hidden.png").write_bytes(b"?")
    (tmp_path / "train/cat/notes.txt").write_bytes(b"?")
    data = DataSpec(name="folder", path=str(tmp_path))
    images, labels, _ = everything(data)
    assert np.array_equal(images[:, 0], np.stack(list(saved.values())))
    assert labels.tolist() == [0] * 4 + [1] * 3 + [1] * 2 + [0, 1]
    assert sources.load(data).classes == ("cat", "dog")
    assert sources.peek(data) == Shape(1, 4, 4, 2)
    assert sorted(sources.load(data).val.ids) == [7, 8]
    (tmp_path / "train/dog/deep/01.png").write_bytes(b"?")
    with pytest.raises(ValueError, match=r"image must decode, but train/dog/deep/01\.png does not"):
        sources.load(data)


def test_image_folder_of_classes_is_split_by_fractions(tmp_path: Path) -> None:
    saved = save_folder(tmp_path, {"a": 10, "b": 20})
    data = DataSpec(name="folder", path=str(tmp_path), test_fraction=0.3, val_fraction=0.5)
    images, _, _ = everything(data)
    assert np.array_equal(images[:, 0], np.stack(list(saved.values())))
    assert np.bincount(sources.load_test(data).labels).tolist() == [3, 6]
    assert np.bincount(sources.load(data).val.labels).tolist() == [4, 7]


def test_image_folders_that_cannot_work_are_refused(tmp_path: Path) -> None:
    data = DataSpec(name="folder", path=str(tmp_path))
    with pytest.raises(ValueError, match="must hold a folder for each class"):
        sources.check(data)
    save_folder(tmp_path, {"test/a": 2})
    with pytest.raises(ValueError, match="with test/ must also have train/"):
        sources.check(data)
    save_folder(tmp_path, {"train/b": 5})
    with pytest.raises(ValueError, match="every class must have a training folder, but test/a has none"):
        sources.check(data)
    (tmp_path / "train/a").mkdir()
    with pytest.raises(ValueError, match=r"class 0 \('a'\) has none"):
        sources.check(data)


def write_idx(path: Path, array: Any) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_fashion_mnist_is_read_from_its_own_files(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    pixels, labels = grey(80, 28), np.arange(80) % 10
    for prefix, part in (("train", slice(0, 60)), ("t10k", slice(60, 80))):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", pixels[part])
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels[part])
    data = DataSpec(name="fashion_mnist", path=str(tmp_path))
    images, found, _ = everything(data)
    assert np.array_equal(images[:, 0], pixels)
    assert np.array_equal(found, labels)
    assert sorted(sources.load_test(data).ids) == list(range(60, 80))
    assert sources.load(data).classes[9] == "Ankle boot"
    assert sources.peek(data) == Shape(1, 28, 28, 10)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The files are tiny ones in the original format, and torchvision checks their (changed) sums as ever."""
    from torchvision import datasets

    source = getattr(datasets, name.upper())
    classes = sources.peek(DataSpec(name=name)).classes
    folder = tmp_path / source.base_folder
    folder.mkdir()
    pixels = RNG.integers(0, 256, (6 * classes, 3, 32, 32), np.uint8)
    labels = [i % classes for i in range(6 * classes)]

    def save(file: str, content: dict[str, Any]) -> list[str]:
        (folder / file).write_bytes(pickle.dumps(content))
        return [file, md5((folder / file).read_bytes()).hexdigest()]

    key = "labels" if name == "cifar10" else "fine_labels"
    for part, chosen in (("train", slice(0, 5 * classes)), ("test", slice(5 * classes, None))):
        rows = pixels[chosen].reshape(-1, 3 * 32 * 32)
        monkeypatch.setattr(source, f"{part}_list", [save(part, {"data": rows, key: labels[chosen]})])
    file, checksum = save("meta", {source.meta["key"]: [f"class {i}" for i in range(classes)]})
    monkeypatch.setattr(source, "meta", {**source.meta, "filename": file, "md5": checksum})
    images, found, _ = everything(DataSpec(name=name, path=str(tmp_path)))
    assert np.array_equal(images, pixels)
    assert found.tolist() == labels


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    nowhere = (tmp_path / "nowhere").as_uri()
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"{nowhere}/"])
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{nowhere}/cifar.tar.gz")
    for name in ("fashion_mnist", "cifar10"):
        with pytest.raises(ValueError, match=rf"(?s){name} must be in .* or downloadable, but is not .*; connect"):
            sources.load(DataSpec(name=name, path=str(tmp_path)))


def test_a_split_cannot_be_written_to() -> None:
    split = Split(np.zeros((2, 1, 3, 3), np.uint8), np.zeros(2, np.int64), np.arange(2))
    with pytest.raises(ValueError, match="read-only"):
        split.images[0] = 1

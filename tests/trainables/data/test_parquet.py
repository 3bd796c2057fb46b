"""Parquet folders: read whole and in order, or refused with the file and the row."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainables.image_files import everything, grey, parquet_spec, png, write_parquet
from trainables.data import parquet, sources
from trainables.data.types import Shape
from trainables.data_spec import DataSpec


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


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    """As in Hugging Face's CIFAR-100: two columns of labels, with the names of each in the schema."""
    features = {
        name: {"names": [f"{name} {n}" for n in range(3)], "_type": "ClassLabel"} for name in ("fine", "coarse")
    }
    schema = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    images = [{"bytes": image, "path": None} for image in GOOD]
    table = pa.table({"img": images, "fine": LABELS, "coarse": [2 - label for label in LABELS]})
    pq.write_table(table.replace_schema_metadata(schema), tmp_path / "train.parquet")
    plain = parquet_spec(tmp_path)
    with pytest.raises(ValueError, match=r"must have the columns image and label, but has img, fine, coarse; name its"):
        sources.load(plain)
    for column, expected in (("fine", LABELS), ("coarse", [2 - label for label in LABELS])):
        data = plain.model_copy(update={"image": "img", "label": column})
        _, found, _ = everything(data)
        assert found.tolist() == expected
        assert sources.load(data).classes == tuple(f"{column} {n}" for n in range(3))
        assert data.key() != plain.key()
    with pytest.raises(ValueError, match=r"must name columns of Parquet files, but data\.name is 'digits'; leave them"):
        sources.load(DataSpec(label="fine"))


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


def test_files_say_their_split_in_any_case_and_anywhere_in_their_names(tmp_path: Path) -> None:
    names = ("Train", "mnist_train-2", "VALIDATION-00000-of-00001", "dev", "Test", "cifar10-testing")
    for name in names:
        write_parquet(tmp_path / f"{name}.parquet", GOOD, LABELS)
    (tmp_path / "Test.parquet").rename(tmp_path / "Test.PARQUET")
    splits, test = sources.load(parquet_spec(tmp_path)), sources.load_test(parquet_spec(tmp_path))
    assert [len(part) for part in (splits.train, splits.val, test)] == [36, 36, 36]


@pytest.mark.parametrize("name", ["holdout", "train-test", "trainval", "testimages"])
def test_a_file_of_an_unknown_split_is_refused(tmp_path: Path, name: str) -> None:
    for stem in ("train", name):
        write_parquet(tmp_path / f"{stem}.parquet", GOOD, LABELS)
    with pytest.raises(ValueError, match=f"a file must name one split or none, but '{name}' names .*; rename it"):
        sources.check(parquet_spec(tmp_path))


def test_other_files_are_left_out_and_said(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", GOOD, LABELS)
    for name in ("._train.parquet", ".DS_Store", "dataset_infos.json", "README.md"):
        (tmp_path / name).write_bytes(b"?")
    (tmp_path / "__MACOSX").mkdir()
    data = parquet_spec(tmp_path)
    assert sources.start_messages(data, sources.load(data))[2] == (
        "left out: 1 .DS_Store, 1 .json, 1 .md, 1 __MACOSX/, 1 hidden files"
    )
    (tmp_path / "test").mkdir()
    write_parquet(tmp_path / "test" / "0000.parquet", GOOD, LABELS)
    with pytest.raises(ValueError, match=r"must lie in .* itself, but test/ holds some; move them up"):
        sources.check(data)


def test_one_class_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", GOOD, [0] * 18)
    for ask in (sources.check, sources.peek, sources.load):
        with pytest.raises(ValueError, match=r"must have two classes or more, but .* has 1"):
            ask(parquet_spec(tmp_path))


def test_the_split_of_a_file_is_part_of_what_a_data_set_is(tmp_path: Path) -> None:
    """An earlier version trained on Val.parquet. Its networks are not used again."""
    write_parquet(tmp_path / "Train.parquet", GOOD, LABELS)
    assert parquet.stored(parquet_spec(tmp_path)).reading == ""
    write_parquet(tmp_path / "Val.parquet", GOOD, LABELS)
    assert parquet.stored(parquet_spec(tmp_path)).reading == "train val"


@pytest.mark.parametrize("names", [["cat", "dog", "eel"], None, "cat", [1, 2, 3], {"0": "cat"}])
def test_class_names_of_hugging_face_are_read(tmp_path: Path, names: object) -> None:
    """The form that `datasets.Dataset.to_parquet` writes. What is not in this form is ignored."""
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    written = json.dumps({"info": {"features": features}})
    table = pa.table({"image": GOOD, "label": LABELS}).replace_schema_metadata({"huggingface": written})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    expected = ("cat", "dog", "eel") if names == ["cat", "dog", "eel"] else ("0", "1", "2")
    assert sources.load(parquet_spec(tmp_path)).classes == expected
    for damaged in (b"[]", b"{", b'{"info": 3}', b"\xff"):
        pq.write_table(
            table.replace_schema_metadata({"huggingface": damaged}), tmp_path / "train-00000-of-00001.parquet"
        )
        assert sources.load(parquet_spec(tmp_path)).classes == ("0", "1", "2")
    both = {"huggingface": written, "classes": json.dumps(["x", "y", "z"])}
    pq.write_table(table.replace_schema_metadata(both), tmp_path / "train-00000-of-00001.parquet")
    assert sources.load(parquet_spec(tmp_path)).classes == ("x", "y", "z")


def test_folders_without_usable_parquet_files_are_refused(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            sources.check(parquet_spec(tmp_path))

    refused("must hold Parquet files with training samples, but none of its 0 is one")
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "train.parquet", GOOD, LABELS)
    refused(r"none of its 0 is one; add train-\*\.parquet, or set data\.path to '.*/data', which holds Parquet files")
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

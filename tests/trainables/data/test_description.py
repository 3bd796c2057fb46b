"""What a run says about its data when it starts: one line for each fact, from hand-made folders, files and arrays."""

from pathlib import Path

from tests.trainables.image_files import grey, parquet_spec, png, save_folder, write_parquet
from trainables.data import sources
from trainables.data_spec import DataSpec


def lines(data: DataSpec) -> list[str]:
    *found, _where = sources.start_messages(data, sources.load(data))
    return found


def test_a_folder_with_splits_of_its_own(tmp_path: Path) -> None:
    save_folder(tmp_path, {f"{split}/{name}": 4 for split in ("Train", "dev", "Testing") for name in "abc"})
    (tmp_path / "Train" / "a" / "notes.TXT").write_bytes(b"?")
    data = DataSpec(name="folder", path=str(tmp_path), max_train=6, max_test=3)
    assert lines(data) == [
        f"data folder in {tmp_path}: 3 classes: a, b, c",
        "images by split: train 6 (as data.max_train), val 12, test 3 (of 12 by data.max_test)",
        "left out: 1 .txt",
        "images are read in grey: all 36 are grey; each is 1 x 4 x 4",
    ]


def test_parquet_without_splits(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(12)]
    write_parquet(tmp_path / "rows.parquet", [png(image) for image in grey(120)], [*range(12)] * 10, names)
    assert lines(parquet_spec(tmp_path, size=8)) == [
        f"data parquet in {tmp_path}: 12 classes: {', '.join(names[:10])}, ...",
        "images by split: train 84, val 12 (held out from train by data.val_fraction), "
        "test 24 (held out from train by data.test_fraction)",
        "images are read in grey: all 120 are grey; each is 1 x 8 x 8",
    ]


def test_arrays() -> None:
    assert lines(DataSpec(max_train=100, max_val=10)) == [
        "data digits: 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "images by split: train 100 (as data.max_train), val 10 (held out from train by data.val_fraction), "
        "test 359 (held out from train by data.test_fraction)",
        "images are read in grey: all 1,797 are grey; each is 1 x 8 x 8",
    ]

"""Names of splits: the usual ones in any case, and those that only look like one."""

import pytest

from trainables.data import split_names
from trainables.data.types import Role


@pytest.mark.parametrize(
    ("stem", "role"),
    [
        ("train", "train"),
        ("Test", "test"),
        ("validation-00000-of-00001", "val"),
        ("train-00000-of-00002-a09b74b3ef9c3b56", "train"),
        ("mnist_TEST", "test"),
        ("cifar10Test", "test"),
        ("MNISTTrain2", "train"),
        ("dev-0", "val"),
        ("part-0", None),
        ("valley", None),
        ("0000", None),
    ],
)
def test_a_word_of_a_files_name_says_its_split(stem: str, role: Role | None) -> None:
    assert split_names.of_file(stem) == role


@pytest.mark.parametrize(
    "stem", ["holdout", "trainval-0", "unlabeled", "testimages", "train-test", "dev_train", "extra"]
)
def test_a_file_of_no_usual_split_or_of_two_is_refused(stem: str) -> None:
    with pytest.raises(ValueError, match="a file must name one split or none, but"):
        split_names.of_file(stem)


@pytest.mark.parametrize("name", ["train2", "Test-Images", "training set", "hold_out", "valset", "fold1", "eval_data"])
def test_what_looks_like_a_split(name: str) -> None:
    assert split_names.looks_like_split(name)
    assert split_names.of_folder(name) is None


@pytest.mark.parametrize(
    "name", ["cat", "test tube", "training shoe", "trains", "valley", "set", "images", "0", "données"]
)
def test_what_is_a_class(name: str) -> None:
    assert not split_names.looks_like_split(name)

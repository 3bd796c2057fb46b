"""Pydantic's errors are worded for users, in one way wherever a model is read."""

import re

import pytest

from trainables.checkpoints.checkpoint import Architecture, Checkpoint
from trainables.checkpoints.record import TrainedRecord
from trainables.data_spec import DataSpec
from trainables.mistakes import SHOWN, checked, in_one_line
from trainables.spec import TrialSpec

NETWORK = {"model": "resnet20", "width": 1.0, "classes": 10, "image": [1, 8, 8]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 0}, "classes must be greater than or equal to 1, but got 0"),
        ({"image": [1, 8, 0]}, "image.2 must be greater than or equal to 1, but got 0"),
        ({"model_": "a"}, "model_ must be a known setting, but is not; did you mean 'model'?"),
        ({"image": [999, 9999, 9999]}, "an input must have at most 67,108,864 values, but got (999, 9999, 9999)"),
        (
            {"image": [9], "tensors": [{"shape": [9], "dtype": "int64"}, {"shape": [9999, 9999], "dtype": "bool"}]},
            "an input must have at most 67,108,864 values, but got (9,) and (9999, 9999)",
        ),
        ({"model": 1, "classes": "b"}, "model must be a text, but got 1\nclasses must be a whole number, but got 'b'"),
    ],
)
def test_each_mistake_is_a_line_of_its_own(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        checked(Architecture, NETWORK | changes)


def test_a_long_value_and_a_secret_are_not_shown() -> None:
    with pytest.raises(ValueError, match=r"dense\.data\.size must be a whole number") as caught:
        checked(TrialSpec, {"dense": {"seed": 0, "data": {"size": "s3://me:secret@bucket" + "x" * 999}}})
    assert "me:secret" not in str(caught.value)
    assert len(str(caught.value)) < SHOWN + 200


def test_a_checkpoint_without_its_settings_says_what_its_record_must_hold() -> None:
    saved = Checkpoint({}, {"data": {"size": "large"}})
    with pytest.raises(ValueError, match=r"must say how to build its network, but .*a group of settings, but got None"):
        _ = saved.architecture
    with pytest.raises(ValueError, match=r"must be valid, but data.size must be a whole number, but got 'large'"):
        saved.read(TrainedRecord)
    assert Checkpoint({}, {"data": {"size": 32}}).read(TrainedRecord).data == DataSpec(size=32)


def test_an_error_of_any_class_takes_one_line() -> None:
    text = "Error(s) in loading state_dict for Net:\n\tMissing key(s): head.weight\n\nWhile executing %conv"
    assert in_one_line(KeyError("x")) == "KeyError: 'x'"
    assert in_one_line(RuntimeError(text)) == (
        "RuntimeError: Error(s) in loading state_dict for Net: Missing key(s): head.weight"
    )
    long = in_one_line(ValueError("word " * 1000))
    assert len(long) <= 300
    assert long.endswith("word ...")

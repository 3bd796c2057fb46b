"""The setting `quantise`: how it is written, and what is refused before anything runs."""

from pathlib import Path

import pytest

from search.study.reading import read_study
from trainables.exports.export import PACKAGES

BRANCHING = """\
from torch import nn


class Branching(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        features = self.conv(x).relu()
        if features.mean() > 1000:
            features = features / 2
        return self.head(features.mean((2, 3)))


def build(num_classes, in_channels):
    return Branching(num_classes, in_channels)
"""


@pytest.mark.parametrize(("written", "read"), [("off", "off"), ("'off'", "off"), ("int8", "int8")])
def test_every_trial_has_the_setting_of_its_study(written: str, read: str) -> None:
    study = read_study("digits", [f"quantise={written}", "seeds=[0]"])
    assert {trial.quantise for trial in (*study.trials(), *study.cells())} == {read}
    plain = read_study("digits", ["seeds=[0]"])
    assert (study.trials() == plain.trials()) == (read == "off")


@pytest.mark.parametrize("value", ["int4", "true"])
def test_another_value_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="quantise"):
        read_study("digits", [f"quantise={value}"])


def test_missing_packages_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "int8", ("onnx", "onnx_of_tomorrow"))
    complaint = r"quantise 'int8' must find onnx_of_tomorrow, but it is not here; pip install 'howcompact\[export\]'"
    with pytest.raises(ValueError, match=complaint):
        read_study("digits", ["quantise=int8"])
    read_study("digits", ["seeds=[0]"])


def test_a_network_that_cannot_be_exported_is_refused_before_any_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hc_branching.py").write_text(BRANCHING)
    monkeypatch.syspath_prepend(tmp_path)
    settings = ["models=[hc_branching:build]", "policies=[uniform]", "sparsities=[0.5]"]
    read_study("digits", settings)
    complaint = "hc_branching:build: export must get a network that torch can trace, but tracing failed: "
    with pytest.raises(ValueError, match=complaint):
        read_study("digits", [*settings, "quantise=int8"])

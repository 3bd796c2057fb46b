"""Where a network is most compact: what the command prints and draws."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from search.cli.network_tables import print_compactness
from search.networks.network import fresh, trained
from search.networks.profile import compactness
from tests.search.conftest import howcompact
from trainables.allocation.profiles import FALLS, from_parquet, tolerated
from trainables.artifacts.dense import make_dense
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.recipe import Recipe
from trainables.spec import DenseSpec
from trainables.storage.folder import Folder

OUTPUTS = {"block1.conv": 8, "block2.conv": 16, "block3.conv": 32, "block4.conv": 32, "hidden": 64, "head": 10}
LINE = [1.0, 0.9, 0.9, 0.5]


@pytest.mark.parametrize(
    ("accuracies", "fall", "expected"),
    [
        (LINE, 0.05, 0.2),  # half-way down the first step
        (LINE, 0.1, 0.8),  # it has not fallen further until the plateau ends
        (LINE, 0.3, 0.9),
        (LINE, 0.6, 1.0),  # it never falls that far
        ([0.9, 0.95, 0.85, 0.2], 0.02, 0.4 + 0.4 * 0.02 / 0.05),  # a gain buys nothing
        ([0.9, 0.7, 0.9, 0.9], 0.1, 0.2),  # what comes back later is chance
    ],
)
def test_tolerated_sparsity_is_where_the_falling_curve_crosses(
    accuracies: list[float], fall: float, expected: float
) -> None:
    assert tolerated([0.0, 0.4, 0.8, 1.0], accuracies, fall) == pytest.approx(expected)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=9), st.integers(1, 999))
def test_less_costs_no_more_than_the_fall_and_more_is_tolerated_of_a_greater_one(hits: list[int], fall: int) -> None:
    accuracies = [hit / 1000 for hit in hits]
    sparsities = np.linspace(0, 1, len(hits)).tolist()
    found = tolerated(sparsities, accuracies, fall / 1000)
    assert 0 <= found <= 1
    before = [accuracy for accuracy, s in zip(accuracies, sparsities, strict=True) if s < found - 1e-9]
    assert all(accuracy >= accuracies[0] - fall / 1000 - 1e-9 for accuracy in before)
    assert tolerated(sparsities, accuracies, (fall + 1) / 1000) >= found - 1e-12


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dense network that has learnt digits."""
    home = tmp_path_factory.mktemp("dense")
    spec = DenseSpec(width=0.5, data=DataSpec(max_train=900), recipe=Recipe(epochs=8, batch_size=64))
    folder, cpu = Folder.at(str(home / "network")), torch.device("cpu")
    make_dense(spec, sources.load(spec.data), Folder.at(str(home)), folder, cpu)
    return folder.uri


@pytest.mark.parametrize(("granularity", "criterion"), [("weight", "magnitude"), ("channel", "l1")])
def test_each_part_says_how_much_can_be_removed(
    checkpoint: str, granularity: str, criterion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compactness(trained(checkpoint, "test"), granularity, criterion, 300)
    assert (found.model, found.granularity, found.calibration) == ("small_cnn", granularity, 300)
    assert found.profile.dense_accuracy > 0.8
    assert found.parts[0].name == "block1.conv"  # in the order in which images meet them
    for part in found.parts:
        kept = [round((1 - sparsity) * part.units) for sparsity in part.sparsities]
        assert kept == sorted(kept, reverse=True)
        assert kept[0] == part.units
        assert kept[-1] == (OUTPUTS[part.name] if granularity == "weight" else 1)
        for points in FALLS:
            curve = found.profile.accuracy[part.name]
            assert part.tolerated[points] == tolerated(part.sparsities, curve, points / 100)
            most = next(other for other in found.parts if other.name == found.most_compact[points])
            assert part.tolerated[points] <= most.tolerated[points]
    print_compactness(found)
    printed = capsys.readouterr().out
    for part in found.parts:
        (row,) = (line for line in printed.splitlines() if line.strip().startswith(f"{part.name} "))
        assert f"{part.units:,}" in row
        assert f"{100 * part.tolerated[1]:.1f}" in row


def test_more_of_a_part_can_go_if_its_layers_are_fitted_again(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, compensated = (
        compactness(trained(checkpoint, "test"), "weight", "magnitude", 300, c) for c in (False, True)
    )
    lost = [np.array([found.profile.divergence[part.name] for part in found.parts]) for found in (alone, compensated)]
    assert lost[1].sum() < 0.8 * lost[0].sum()
    print_compactness(compensated)
    assert "its layers are fitted again by least squares, and nothing is retrained" in capsys.readouterr().out


def test_the_command_writes_what_it_prints(checkpoint: str, tmp_path: Path) -> None:
    done = howcompact("profile", checkpoint, "--calibration", "100", "--out", "out", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert json.loads((tmp_path / "out" / "profile.json").read_text()) == printed
    profile = from_parquet((tmp_path / "out" / "curves.parquet").read_bytes())
    assert {name: list(curve) for name, curve in profile.accuracy.items()} == printed["profile"]["accuracy"]
    with Image.open(tmp_path / "out" / "profile.png") as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 50
    assert ElementTree.parse(tmp_path / "out" / "profile.svg").getroot().tag.endswith("svg")


def test_network_without_training_is_refused(tmp_path: Path) -> None:
    done = howcompact("profile", "resnet20", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: profile must measure a trained network, but 'resnet20' is not the folder of")


@pytest.mark.parametrize(
    ("granularity", "criterion", "calibration", "complaint"),
    [
        ("weight", "l3", 9, "criterion must be a known name, but got 'l3'"),
        ("weight", "l1", 9, "criterion 'l1' must go with granularity channel"),
        ("filter", "l1", 9, "granularity must be "),
        ("weight", "magnitude", 0, "calibration must be greater than or equal to 1"),
    ],
)
def test_a_mistake_is_one_clear_error(granularity: str, criterion: str, calibration: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        compactness(fresh("small_cnn", "1x8x8", 10, 0), granularity, criterion, calibration)

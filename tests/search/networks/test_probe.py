"""The probes of a network: what the command prints, and the study that keeps the same blocks."""

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from search.cli.network_tables import print_probes
from search.networks.network import fresh, trained
from search.networks.probe import KINDS, Probing, probing
from tests.search.conftest import howcompact
from trainables.allocation.plan import plan
from trainables.artifacts.dense import make_dense
from trainables.artifacts.probes import probe
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.models.layers import count
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder

THRESHOLDS = (-1.0, 0.005, 0.02, 0.05, 1.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dense ResNet that has learnt digits."""
    home = tmp_path_factory.mktemp("dense")
    spec = DenseSpec(model="resnet20", width=0.25, data=DataSpec(max_train=600), recipe=Recipe(epochs=3, batch_size=64))
    folder, cpu = Folder.at(str(home / "network")), torch.device("cpu")
    make_dense(spec, sources.load(spec.data), Folder.at(str(home)), folder, cpu)
    return folder.uri


@pytest.fixture(scope="module")
def probings(checkpoint: str) -> list[Probing]:
    return [probing(trained(checkpoint, "test"), threshold, "block", 300) for threshold in THRESHOLDS]


def test_what_is_kept_gains_enough_and_a_greater_threshold_keeps_less(probings: list[Probing]) -> None:
    kept = [{block.name for block in found.blocks if block.kept} for found in probings]
    assert all(more >= less for more, less in pairwise(kept))
    assert len(kept[0]) == 10
    assert kept[-1] == {"stem", "block2_1", "block3_1"}
    for found in probings:
        assert [block.name for block in found.blocks if not block.removable] == ["stem", "block2_1", "block3_1"]
        last = found.blocks[0]
        for block in found.blocks[1:]:
            assert block.gain is not None
            if block.kept:
                assert block.gain == pytest.approx(block.val_accuracy - last.val_accuracy)
                assert block.gain >= found.threshold - 1e-9 or not block.removable
                last = block
            else:
                assert block.gain < found.threshold


def test_the_sparsity_named_gives_the_same_network_in_a_study(checkpoint: str, probings: list[Probing]) -> None:
    for found in probings:
        for kind in KINDS:
            network = trained(checkpoint, "test")
            example = network.architecture.example()
            settings = {"granularity": "block", "criterion": "probe", "policy": "by-score", "budget": kind}
            spec = TrialSpec.model_validate({**settings, "sparsity": found.sparsity[kind]})
            curve, _ = probe(network.model, example, network.splits("test"), 300)
            plan(network.model, example, spec, None, {"probe": curve}).carry_out()
            counted = count(network.model, {}, example)
            assert found.kept == {"params": counted.params_kept, "macs": counted.macs_kept}
            gone = {block.name for block in found.blocks if not block.kept}
            assert {*network.architecture.cut_as(network.model).removed} == gone


def test_the_table_marks_what_is_removed(probings: list[Probing], capsys: pytest.CaptureFixture[str]) -> None:
    for found in probings:
        print_probes(found)
        lines = capsys.readouterr().out.splitlines()
        for block in found.blocks:
            (row,) = (line for line in lines if line.strip().startswith(f"{block.name} "))
            assert f"{100 * block.val_accuracy:.2f}" in row
            assert row.rstrip().endswith("removed") == (not block.kept)
            assert row.rstrip().endswith("always kept") == (not block.removable)
        differs = {block.name for block in found.blocks if block.kept} != {*found.scanned}
        assert any(line.startswith("one pass from input to output would") for line in lines) == differs


def test_the_command_writes_what_it_prints(checkpoint: str, tmp_path: Path) -> None:
    done = howcompact("probe", checkpoint, "--threshold", "0.02", "--out", "out", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert json.loads((tmp_path / "out" / "probes.json").read_text()) == printed
    rows = pq.read_table(tmp_path / "out" / "probes.parquet").to_pylist()
    assert [row["val_accuracy"] for row in rows] == [block["val_accuracy"] for block in printed["blocks"]]
    with Image.open(tmp_path / "out" / "probes.png") as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert ElementTree.parse(tmp_path / "out" / "probes.svg").getroot().tag.endswith("svg")


def test_with_projections_only_the_first_block_always_stays(checkpoint: str) -> None:
    found = probing(trained(checkpoint, "test"), 1.0, "projected-block", 100)
    assert [block.name for block in found.blocks if block.kept] == ["stem"]
    assert found.kept["params"] == 9 * 4 + 4 * 8 + 8 * 16 + 16 * 10  # the stem, two projections and the head


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ((0.1, "block", 9), "probe must measure a trained network, but 'resnet20' is not the folder of a"),
        ((0.1, "weight", 9), "criterion 'probe' must go with granularity block or projected-block"),
        ((0.1, "block", 0), "probe must be greater than or equal to 1"),
    ],
)
def test_a_mistake_is_one_clear_error(settings: tuple[float, str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        probing(fresh("resnet20", "1x8x8", 10, 0), *settings)

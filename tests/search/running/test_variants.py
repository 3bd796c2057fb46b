"""Other studies: a user's own network and images, channels, a scheduler, and a tracking server that does not exist."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from search.results.folder import StudyFolder
from search.searching.searcher import StudySearcher
from tests.search.conftest import FEW, howcompact, installed, run_small
from trainables import load_pruned

OWN_MODEL = """
from torch import nn

def build(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 9, num_classes),
    )
"""


def png(pixels: Any) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write 600 handwritten digits as PNG in Parquet: two files of training images, one of test images."""
    digits = load_digits()
    encoded = [png((image * 15.9375).astype(np.uint8)) for image in digits.images[:600]]
    folder = tmp_path / "images"
    folder.mkdir()
    for name, chosen in (("train-0", slice(0, 250)), ("train-1", slice(250, 500)), ("test-0", slice(500, 600))):
        table = pa.table({"image": encoded[chosen], "label": digits.target[chosen]})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=100)
    return folder


def test_channels_of_a_users_own_network_under_a_scheduler_and_without_their_tracking_server(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hc_own.py").write_text(OWN_MODEL)
    settings = ["models=[hc_own:build]", "data.name=parquet", f"data.path={images}", "granularity=channel"]
    settings += ["criteria=[l1,l2]", "budget=macs", "sparsities=[0.5]", "seeds=[0]", "dense.epochs=1"]
    settings += ["search.trials=6", "search.scheduler=asha", "finetune.epochs=4"]
    run = run_small(tmp_path, settings=[*settings, "tracking=http://127.0.0.1:9"])
    counts = run.summary["trials"]
    assert counts["done"] + counts["stopped"] == counts["total"] == 2 * 6
    assert counts["failed"] == 0
    assert "goes on" not in run.stderr  # no trial is paused or lost
    folder = StudyFolder.open(str(run.folder))
    searched = [row for row in folder.rows() if row.policy == "searched"]
    assert len(searched) == 2 * 3
    assert all((row.status == "done") is (row.epochs == 1 + 4) for row in searched)
    assert StudySearcher(folder.study, folder, configure=lambda spec: {}).total == 0  # no trial runs again
    warnings = [line.partition("warning: ")[2] for line in run.stderr.splitlines() if "warning: " in line]
    assert sorted(line.split()[0] for line in warnings) == ["MLflow", "dense"]  # nobody answers; one epoch is too few
    rows = run.json_of("compare", str(run.folder))["rows"]
    dense = 8 * 8 * 12 * 9 + 3 * 3 * 24 * 12 * 9 + 24 * 9 * 10
    assert [row["trials"] for row in rows if row["policy"] == "searched"] == [6, 6]  # with those it starts from
    for row in rows:
        assert row["macs_kept"] <= dense // 2
        assert row["macs_kept"] > 0.85 * dense / 2
    refused = howcompact("best", str(run.folder), "--out", "net", cwd=run.home)
    assert (refused.returncode, refused.stderr.count("add --trust hc_own:build")) == (2, 1)
    best = run.json_of("best", str(run.folder), "--out", "net", "--trust", "hc_own:build")
    network = load_pruned(str(tmp_path / "net"), trust=["hc_own:build"])
    widths = [tuple(p.shape) for name, p in network.named_parameters() if name == "3.weight"]
    assert widths != [(24, 12, 3, 3)]
    assert best["verified_accuracy"] == pytest.approx(best["reported_accuracy"], abs=1e-9)


def test_a_broken_image_is_named_before_anything_is_trained(tmp_path: Path, images: Path) -> None:
    table = pq.read_table(images / "train-1.parquet").to_pydict()
    table["image"][17] = b"not an image"
    pq.write_table(pa.table(table), images / "train-1.parquet")
    done = installed("run", "digits", "--set", "data.name=parquet", f"data.path={images}", cwd=tmp_path)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "train-1.parquet row 17" in errors[0]
    kinds = {path.parent.name for path in (tmp_path / "howcompact-runs").glob("artifacts/*/*")}
    assert kinds <= {"data"}  # checksums of the files
    assert not list((tmp_path / "howcompact-runs").glob("digits/trials/*"))


def test_a_trial_that_diverges_fails_alone_and_says_why(tmp_path: Path) -> None:
    settings = [*FEW, "finetune.lr=1e9", "finetune.epochs=2"]
    run = run_small(tmp_path, settings=settings, code=1)
    assert run.summary["trials"] == {"total": 1, "done": 0, "new": 1, "failed": 1, "stopped": 0}
    assert "loss must stay finite" in run.stderr
    assert run.summary["best_command"] is None
    progress = run.json_of("status", str(run.folder))
    assert progress["trials"]["failed"] == 1
    assert progress["failures"] == run.summary["failures"]
    ((error, count),) = progress["failures"].items()
    assert count == 1
    assert f"1 failed: {error}\n" in howcompact("status", str(run.folder), cwd=tmp_path).stdout
    assert howcompact("compare", str(run.folder), cwd=tmp_path).returncode == 2

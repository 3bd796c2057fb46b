"""Networks retrieved from a real study: complete, verified, usable, from local and remote storage."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from pyarrow import fs

import search
from search.cli.best_tables import print_network
from search.results.folder import StudyFolder
from search.retrieval.copying import Retrieved
from tests.search.object_store import object_store
from tests.trainables.trials import DATA
from trainables import load_pruned
from trainables.checkpoints import checkpoint, manifest
from trainables.data import sources
from trainables.evaluate import load_trial
from trainables.storage.folder import Folder
from trainables.storage.sealed_json import sealed, unsealed
from trainables.trial.trainable import OUTCOME


@pytest.fixture(scope="module")
def taken(trained: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> Retrieved:
    out = tmp_path_factory.mktemp("home") / "best"
    where = ["granularity==channel", "sparsity>=0.8"]
    return search.best(trained.folder.uri, where=where, out=str(out), export=["torch"])


def test_best_and_compare_say_that_a_study_is_unfinished(
    trained: StudyFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    message = "study small is unfinished: 4 of "
    assert search.compare([trained.folder.uri]).warnings[0].startswith(message)
    search.best(trained.folder.uri, out=str(tmp_path / "best"))
    assert f"warning: {message}" in capfd.readouterr().err


def test_a_retrieved_folder_is_complete(trained: StudyFolder, taken: Retrieved) -> None:
    folder = Folder.at(taken.checkpoint)
    files = {"network.safetensors", "record.json", "network.pt2"}
    assert set(os.listdir(taken.checkpoint)) == {"manifest.json", *files}
    assert set(manifest.read_files(folder)) == files
    assert taken.exports == [f"{taken.checkpoint}/network.pt2"]
    (row,) = [row for row in trained.rows() if row.trial == taken.trial]
    record = checkpoint.load(folder).record
    assert (record["study"], record["trial"], record["epoch"]) == ("small", row.trial, row.best_epoch)
    assert record["result"] == row.model_dump(mode="json")
    assert record["spec"]["recovery"] == taken.recovery == "finetune"
    assert record["versions"]["torch"] == version("torch")
    splits = sources.load(DATA)
    assert record["input"] == {"mean": list(splits.mean), "std": list(splits.std), "classes": list(splits.classes)}


def test_the_fixed_parameters_of_a_network_are_all_but_its_weights(taken: Retrieved) -> None:
    record = json.loads((Path(taken.checkpoint) / "record.json").read_text())
    network = load_pruned(taken.checkpoint)
    vectors = sum(parameter.numel() for parameter in network.parameters() if parameter.dim() == 1)
    assert taken.params_fixed == record["params_fixed"] == vectors


def test_its_accuracy_is_what_was_reported(trained: StudyFolder, taken: Retrieved) -> None:
    outcome = json.loads(trained.trial(taken.trial).read(OUTCOME))
    assert taken.reported_accuracy == max(report["val_accuracy"] for report in outcome["history"])
    assert taken.verified_accuracy == pytest.approx(taken.reported_accuracy, abs=1e-9)
    assert checkpoint.load(Folder.at(taken.checkpoint)).record["verified_accuracy"] == taken.verified_accuracy


def test_it_computes_what_the_trials_network_does(trained: StudyFolder, taken: Retrieved) -> None:
    outcome = trained.outcome(taken.trial)
    assert outcome is not None
    network = load_trial(trained.trial(taken.trial), outcome, torch.device("cpu"))
    images = torch.randn(4, 1, 8, 8)
    assert torch.equal(load_pruned(taken.checkpoint)(images), network(images))
    assert sum(p.numel() for p in network.parameters()) < 0.5 * sum(
        p.numel()
        for p in checkpoint.Architecture(model="small_cnn", width=0.5, classes=10, image=(1, 8, 8)).build().parameters()
    )


def test_the_printed_lines_use_it(taken: Retrieved, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_network(taken)
    printed = capsys.readouterr().out
    assert f"reported {taken.reported_accuracy:.4f}, verified {taken.verified_accuracy:.4f}" in printed
    assert "cpu: batches of 1" in printed
    lines = [line.strip() for line in printed.partition("use it:\n")[2].splitlines()]
    assert len(lines) == 5
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tensor([[")


def test_a_front_has_a_folder_for_each_network(trained: StudyFolder, tmp_path: Path) -> None:
    out = tmp_path / "front"
    found = search.front(trained.folder.uri, where=["latency_ms<=10000"], out=str(out))
    summary = json.loads((out / "front.json").read_text())
    assert [network["checkpoint"] for network in summary["networks"]] == [one.checkpoint for one in found.networks]
    assert {path.name for path in out.iterdir()} == {"front.json", *(Path(n.checkpoint).name for n in found.networks)}
    accuracies = [network.verified_accuracy for network in found.networks]
    assert len(accuracies) > 1
    assert accuracies == sorted(accuracies, reverse=True)
    for network in found.networks:
        assert checkpoint.load(Folder.at(network.checkpoint)).record["trial"] == network.trial
        assert load_pruned(network.checkpoint)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    (out / "notes.txt").write_text("a note")
    with pytest.raises(ValueError, match="--out must be a new folder"):
        search.front(trained.folder.uri, out=str(out))


@pytest.fixture
def copied(trained: StudyFolder, tmp_path: Path) -> Path:
    shutil.copytree(trained.folder.uri, tmp_path / "copied")
    return tmp_path / "copied"


def test_an_accuracy_that_is_not_reached_is_an_error(copied: Path, taken: Retrieved, tmp_path: Path) -> None:
    for path in copied.glob(f"trials/*/{OUTCOME}"):
        outcome = json.loads(unsealed(path.read_bytes()))
        for report in outcome["history"]:
            report["val_accuracy"] += 0.01
        path.write_bytes(sealed(json.dumps(outcome).encode()))
    shutil.copytree(taken.checkpoint, tmp_path / "out")
    before = manifest.read_files(Folder.at(str(tmp_path / "out")))
    message = rf"{taken.reported_accuracy + 0.01:.4f} within 0.001, but reached {taken.verified_accuracy:.4f}"
    with pytest.raises(ValueError, match=message):
        search.best(str(copied), where=[f"trial=={taken.trial}"], out=str(tmp_path / "out"))
    assert manifest.read_files(Folder.at(str(tmp_path / "out"))) == before
    assert {path.name for path in tmp_path.iterdir()} == {"copied", "out"}


def test_a_damaged_checkpoint_is_refused_and_leaves_nothing(copied: Path, tmp_path: Path) -> None:
    for path in copied.glob("trials/*/epoch-*/network.safetensors"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="must match its checksum"):
        search.best(str(copied), out=str(tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"copied"}


def test_files_of_other_programs_are_never_replaced(trained: StudyFolder, taken: Retrieved, tmp_path: Path) -> None:
    thesis, noted = tmp_path / "thesis", tmp_path / "noted"
    thesis.mkdir()
    (thesis / "draft.tex").write_text("years of work")
    shutil.copytree(taken.checkpoint, noted)
    (noted / "notes.txt").write_text("a note")
    (dense,) = (Path(trained.folder.parent.uri) / "artifacts" / "dense").glob("*/")
    for out in (thesis, noted, dense):
        with pytest.raises(ValueError, match="--out must be a new folder"):
            search.best(trained.folder.uri, out=str(out))
    with pytest.raises(ValueError, match=r"--out must be a folder, but .*draft\.tex is a file; name another"):
        search.best(trained.folder.uri, out=str(thesis / "draft.tex"))
    assert (thesis / "draft.tex").read_text() == "years of work"
    with pytest.raises(ValueError, match="--out must be a folder of this machine"):
        search.best(trained.folder.uri, out="s3://bucket/best")
    with pytest.raises(ValueError, match="did you mean 'onnx'"):
        search.best(trained.folder.uri, out=str(tmp_path / "new"), export=["onx"])


def test_a_study_in_an_object_store_needs_no_ray(trained: StudyFolder, taken: Retrieved, tmp_path: Path) -> None:
    """In the new process, importing Ray, MLflow or Optuna fails."""
    for absent in ("ray", "mlflow", "optuna"):
        (tmp_path / "absent" / absent).mkdir(parents=True)
        (tmp_path / "absent" / absent / "__init__.py").write_text("raise ImportError('not here')")
    with object_store("bucket") as endpoint, pytest.MonkeyPatch.context() as patch:
        uri = f"s3://bucket/small?scheme=http&region=us-east-1&endpoint_override={endpoint.removeprefix('http://')}"
        code = f"import search; print(search.best({uri!r}, where=['trial=={taken.trial}']).model_dump_json())"
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "known")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        fs.copy_files(trained.folder.uri, uri)
        patch.setenv("PYTHONPATH", str(tmp_path / "absent"))
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified_accuracy"] == pytest.approx(taken.reported_accuracy, abs=1e-9)
    expected = (Path(taken.checkpoint) / "network.safetensors").read_bytes()
    assert (tmp_path / "best" / "network.safetensors").read_bytes() == expected

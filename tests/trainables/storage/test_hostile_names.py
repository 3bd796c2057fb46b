"""Names that lead elsewhere, pickles and code in a storage: refused, and never run."""

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.trainables.hostility import bounded, good_checkpoint, put
from trainables import load_pruned
from trainables.allocation import profiles
from trainables.checkpoints import checkpoint
from trainables.checkpoints.manifest import manifest_of
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.learnability.records import read_records
from trainables.storage.columns import read_columns
from trainables.storage.folder import Folder
from trainables.storage.strict_json import from_json
from trainables.training.record import TrainingRecord
from trainables.training.saves import resume


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return dict(good_checkpoint())


def test_a_model_that_nobody_here_has_named_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hc_trap.py").write_text(
        "from pathlib import Path\nfrom torch import nn\nPath(__file__).with_name('sprung').touch()\n"
        "def build(num_classes, in_channels):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"model": "hc_trap:build", "width": 1.0, "classes": 3, "image": [1, 8, 8]}
    state = {"1.weight": torch.zeros(3, 64), "1.bias": torch.zeros(3)}
    for place in ("best", "epoch-00001"):
        checkpoint.save(Folder.at(str(tmp_path / place)), {"network": state}, {"architecture": own})
    with pytest.raises(ValueError, match=r"names 'hc_trap:build'; if you know that code, add --trust hc_trap:build,"):
        load_pruned(str(tmp_path / "best"))
    with pytest.raises(ValueError, match="names 'hc_trap:build'"):
        load_pruned(str(tmp_path / "best"), trust=["hc_trap:other"])
    with pytest.raises(ValueError, match="names 'hc_trap:build'"):
        resume(Folder.at(str(tmp_path)), TrainingRecord, "small_cnn", torch.device("cpu"))
    assert checkpoint.load(Folder.at(str(tmp_path / "best"))).tensors["network"].keys() == state.keys()
    assert not (tmp_path / "sprung").exists()
    model = load_pruned(str(tmp_path / "best"), trust=["hc_trap:build"])
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert (tmp_path / "sprung").exists()


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._place),)


def test_a_pickle_is_read_nowhere(tmp_path: Path, files: dict[str, bytes]) -> None:
    sprung = tmp_path / "sprung"
    torch.save(Trap(sprung), tmp_path / "torch")
    for trap in (pickle.dumps(Trap(sprung)), (tmp_path / "torch").read_bytes()):
        own = {"network.safetensors": trap, "record.json": files["record.json"], "samples.parquet": trap}
        folder = put(tmp_path / "trap", own)
        write = {"train-0.parquet": trap}
        for read in (
            lambda: checkpoint.load(folder),  # noqa: B023
            lambda: read_records(folder),  # noqa: B023
            lambda: read_columns(trap),  # noqa: B023
            lambda: profiles.from_parquet(trap),  # noqa: B023
            lambda: from_json(trap.decode("latin-1")),  # noqa: B023
            lambda: sources.load(DataSpec(name="parquet", path=put(tmp_path / "data", write).uri)),  # noqa: B023
        ):
            with pytest.raises(ValueError, match=r"."):
                read()
    assert not sprung.exists()
    with pytest.raises(FileExistsError):  # it would have
        [pickle.loads(pickle.dumps(Trap(sprung))) for _ in range(2)]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "x" * 300, "\ud800"])
def test_no_name_leads_out_of_a_folder(name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    folder = put(tmp_path / "in", files)
    for use in (folder.__truediv__, folder.read, folder.has, folder.remove, lambda name: folder.write(name, b"")):
        with pytest.raises(ValueError, match=r"."):
            use(name)
    digest = hashlib.sha256(b"mine").hexdigest()
    forged = manifest_of({"record.json": {"sha256": digest}, name: {"sha256": digest}})
    put(tmp_path / "in", {"record.json": b"mine", "manifest.json": forged})
    with pytest.raises(ValueError, match=r"a name in a storage must be|can't encode"):
        checkpoint.load(folder)
    assert (tmp_path / "x").read_text() == "mine"


def test_what_is_no_file_of_bounded_size_is_not_read(files: dict[str, bytes], tmp_path: Path) -> None:
    folder = put(tmp_path / "c", files)
    (tmp_path / "c" / "record.json").unlink()
    os.mkfifo(tmp_path / "c" / "record.json")  # which nobody ever writes to
    with bounded(), pytest.raises(ValueError, match=r"record\.json in .* must be a file, but is not"):
        checkpoint.load(folder)
    (tmp_path / "c" / "record.json").unlink()
    (tmp_path / "c" / "record.json").symlink_to("/dev/zero")
    with bounded(), pytest.raises(ValueError, match=r"record\.json in .* must be a file, but is not"):
        checkpoint.load(folder)
    (tmp_path / "c" / "record.json").unlink()
    with (tmp_path / "c" / "record.json").open("wb") as file:
        file.truncate(1 << 40)  # a hole, which takes no room on the disk
    with bounded(), pytest.raises(ValueError, match=r"must have at most .* bytes, but has 1,099,511,627,776"):
        checkpoint.load(folder)


def test_what_a_link_points_to_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    (tmp_path / "study" / "deep").mkdir(parents=True)
    for link in (tmp_path / "study" / "ray", tmp_path / "study" / "deep" / "link"):
        link.symlink_to(tmp_path / "mine")
    for name in ("ray", "deep"):
        (Folder.at(str(tmp_path / "study")) / name).delete()
    assert not list((tmp_path / "study").iterdir())
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"

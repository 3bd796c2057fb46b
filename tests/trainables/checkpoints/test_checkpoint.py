import copy
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.checkpoint import Architecture
from trainables.pruning.channels import Channels
from trainables.pruning.masks import Weights
from trainables.storage.folder import Folder
from trainables.training.train import to_device

RECORD = {"epoch": 3, "accuracy": 0.1 + 0.2, "name": "naïve"}


def tensors() -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    network = {
        "weight": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "transposed": torch.randn(5, 2).T,
        "count": torch.tensor(7),
        "half": torch.randn(3, dtype=torch.bfloat16),
    }
    return {"network": network, "masks": {"weight": torch.rand(4, 3, 3, 3) > 0.5}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(Folder.at(str(tmp_path / "one")), tensors(), RECORD)
    return tmp_path / "one"


def test_what_was_saved_comes_back(saved: Path) -> None:
    loaded = checkpoint.load(Folder.at(str(saved)))
    assert loaded.record == RECORD
    for name, group in tensors().items():
        assert set(loaded.tensors[name]) == set(group)
        for key, tensor in group.items():
            assert torch.equal(loaded.tensors[name][key], tensor)
            assert loaded.tensors[name][key].dtype == tensor.dtype


def test_files_are_safetensors_and_json_only(saved: Path) -> None:
    names = sorted(path.name for path in saved.rglob("*"))
    assert names == ["manifest.json", "masks.safetensors", "network.safetensors", "record.json"]
    for path in saved.iterdir():
        assert path.read_bytes()[:1] == b"{" or path.read_bytes()[8:9] == b"{"  # JSON, or a length and JSON


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("name", ["network.safetensors", "masks.safetensors", "record.json"])
@pytest.mark.parametrize(("damage", "complaint"), [(flip, "checksum"), (truncate, "checksum"), (remove, "missing")])
def test_damage_is_told_with_the_file_and_the_folder(
    saved: Path, name: str, damage: Callable[[Path], None], complaint: str
) -> None:
    damage(saved / name)
    with pytest.raises(ValueError, match=complaint) as refusal:
        checkpoint.load(Folder.at(str(saved)))
    assert name in str(refusal.value)
    assert str(saved) in str(refusal.value)


@pytest.mark.parametrize(
    "manifest", [b"", b"{", b"[]", b"{}", b'{"files": {"record.json": 3}}', b"\xff", b'{"files": 1}', b'{"files": {}}']
)
def test_damaged_manifest_is_told(saved: Path, manifest: bytes) -> None:
    (saved / "manifest.json").write_bytes(manifest)
    with pytest.raises(ValueError, match=r"manifest.json of checkpoint .* must list its files and match its own"):
        checkpoint.load(Folder.at(str(saved)))


def test_checkpoint_without_manifest_was_not_finished(saved: Path) -> None:
    assert manifest.is_whole(Folder.at(str(saved)))
    (saved / "manifest.json").unlink()
    assert not manifest.is_whole(Folder.at(str(saved)))
    with pytest.raises(ValueError, match=r"must have a manifest.json, but .*one has none: it was not finished"):
        checkpoint.load(Folder.at(str(saved)))


def test_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = Folder.write

    def watched(self: Folder, name: str, content: bytes) -> None:
        written.append(name)
        write(self, name, content)

    monkeypatch.setattr(Folder, "write", watched)
    checkpoint.save(Folder.at(str(tmp_path)), tensors(), RECORD)
    assert written[-1] == "manifest.json"
    document = json.loads((tmp_path / "manifest.json").read_bytes())
    assert document["files"].keys() == set(written[:-1])
    listed = json.dumps(document["files"], sort_keys=True, separators=(",", ":"))
    assert document["sha256"] == hashlib.sha256(listed.encode()).hexdigest()


def test_what_is_forgotten_leaves_a_whole_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.at(str(saved))
    (saved / ".record.json.0123").write_bytes(b"{")  # of a writer that was killed
    remove_file, whole = Folder.remove, []

    def watched(self: Folder, name: str) -> None:
        whole.append(set(checkpoint.load(folder).tensors))
        remove_file(self, name)

    monkeypatch.setattr(Folder, "remove", watched)
    manifest.drop_groups(folder, ("masks", "momenta"))
    assert whole == [{"network"}] * 2  # at the moment before each file goes
    assert {path.name for path in saved.iterdir()} == {"manifest.json", "network.safetensors", "record.json"}
    loaded = checkpoint.load(folder)
    assert loaded.record == RECORD
    assert all(torch.equal(loaded.tensors["network"][key], t) for key, t in tensors()["network"].items())


def test_record_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.save(Folder.at(str(tmp_path)), {}, {"accuracy": float("nan")})
    assert not manifest.is_whole(Folder.at(str(tmp_path)))


def test_tensors_that_share_memory_are_each_saved(tmp_path: Path) -> None:
    weight = torch.randn(3, 3)
    checkpoint.save(Folder.at(str(tmp_path)), {"network": {"a": weight, "b": weight, "c": weight[1:]}}, {})
    loaded = checkpoint.load(Folder.at(str(tmp_path))).tensors["network"]
    assert torch.equal(loaded["a"], weight)
    assert torch.equal(loaded["b"], weight)
    assert torch.equal(loaded["c"], weight[1:])


def test_rebuilding_gives_the_widths_of_the_weights() -> None:
    built = Architecture(model="small_cnn", width=0.5, classes=10, image=(1, 8, 8))
    state = built.build().state_dict()
    state["block1.conv.weight"] = state["block1.conv.weight"][:3]
    state |= {k: v[:3] for k, v in state.items() if k.startswith("block1.bn") and v.dim()}
    state["block2.conv.weight"] = state["block2.conv.weight"][:, :3]
    model = checkpoint.rebuild(built, state).eval()
    first = model.get_submodule("block1.conv")
    assert isinstance(first, nn.Conv2d)
    assert (first.in_channels, first.out_channels) == (1, 3)
    example = built.example()
    assert isinstance(example, Tensor)
    assert model(example.repeat(2, 1, 1, 1)).shape == (2, 10)
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_weights_of_another_network_are_refused() -> None:
    state = Architecture(model="small_cnn", width=0.5, classes=10, image=(1, 8, 8)).build().state_dict()
    other = Architecture(model="resnet20", width=0.5, classes=10, image=(1, 8, 8))
    with pytest.raises(ValueError, match="the weights must be those of resnet20, but: "):
        checkpoint.rebuild(other, state)


BIG = Architecture(model="vgg16", width=0.25, classes=10, image=(3, 32, 32))


def size_on_disk(model: nn.Module, path: Path) -> int:
    """Save a network, see that it comes back bit by bit, and tell its bytes."""
    checkpoint.save(Folder.at(str(path)), {"network": model.state_dict()}, {})
    again = checkpoint.rebuild(BIG, checkpoint.load(Folder.at(str(path))).tensors["network"])
    for key, tensor in model.state_dict().items():
        assert again.state_dict()[key].numpy().tobytes() == tensor.contiguous().numpy().tobytes()
    return (path / "network.safetensors").stat().st_size


def parameters_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kept", [0.5, 0.2])
def test_a_cut_network_takes_bytes_in_proportion_to_its_parameters(kept: float, tmp_path: Path) -> None:
    dense, cut = BIG.build(), BIG.build()
    channels = Channels(cut, BIG.example())
    channels.remove({part.name: torch.arange(math.ceil(part.units * kept)) for part in channels.parts})
    share = size_on_disk(cut, tmp_path / "cut") / size_on_disk(dense, tmp_path / "dense")
    assert share == pytest.approx(parameters_of(cut) / parameters_of(dense), abs=0.02)  # file headers are the same


@pytest.mark.parametrize(("sparsity", "bytes_a_weight"), [(0.5, 2.125), (0.9, 0.5), (0.98, 0.1)])
def test_a_sparse_network_takes_bytes_for_what_is_kept(sparsity: float, bytes_a_weight: float, tmp_path: Path) -> None:
    dense = BIG.build()
    pruned = to_device(copy.deepcopy(dense), torch.device("cpu"))
    whole = Weights(pruned, BIG.example())
    kept_units = {part.name: torch.randperm(part.units)[: round(part.units * (1 - sparsity))] for part in whole.parts}
    whole.remove(kept_units)
    saved = size_on_disk(dense, tmp_path / "dense") - size_on_disk(pruned, tmp_path / "pruned")
    assert saved / sum(part.units for part in whole.parts) == pytest.approx(4 - bytes_a_weight, abs=0.02)

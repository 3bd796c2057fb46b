"""Files for other programs: they compute what the network does, or there is none."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from tests.trainables.conftest import as_if_trained
from trainables.exports.export import KINDS, PACKAGES, TOLERANCE, Exported, check, export
from trainables.models.cifar import small_cnn
from trainables.pruning.channels import Channels
from trainables.training.train import to_device

EXAMPLE = torch.zeros(1, 3, 8, 8)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A cut network as a retrieved one is placed, still in training mode."""
    torch.manual_seed(0)
    model = as_if_trained(small_cnn(10, 3, 0.5))
    channels = Channels(model, EXAMPLE)
    channels.remove({part.name: torch.arange(part.units // 2) for part in channels.parts})
    return to_device(model, torch.device("cpu")).train()


def in_onnxruntime(path: Path) -> Callable[[Tensor], Any]:
    session = onnxruntime.InferenceSession(path)
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape, logits.name, logits.shape) == (
        "images",
        ["batch", 3, 8, 8],
        "logits",
        ["batch", 10],
    )
    return lambda batch: torch.from_numpy(session.run(["logits"], {"images": batch.numpy()})[0])


def in_torch(path: Path) -> Callable[[Tensor], Any]:
    return torch.export.load(path).module()


@pytest.mark.parametrize(("kind", "reader"), [("onnx", in_onnxruntime), ("torch", in_torch)])
def test_file_computes_what_the_network_does_for_any_batch(
    network: nn.Module,
    kind: str,
    reader: Callable[[Path], Callable[[Tensor], Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("new") / f"network{KINDS[kind].suffix}"
    exported = export(network, EXAMPLE, path, kind)
    assert network.training
    assert exported == Exported(path, kind, path.stat().st_size, exported.difference)
    assert exported.difference < 1e-5
    assert list(path.parent.iterdir()) == [path]
    run = reader(path)
    for batch in (1, 2, 9):
        images = torch.randn(batch, 3, 8, 8)
        with torch.no_grad():
            expected = network.eval()(images)
        network.train()
        assert (run(images) - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_tells_no_code_and_no_path_of_this_machine(network: nn.Module, kind: str, tmp_path: Path) -> None:
    path = export(network, EXAMPLE, tmp_path / f"network{KINDS[kind].suffix}", kind).path
    with ZipFile(path) if kind == "torch" else nullcontext() as files:
        contents = [files.read(name) for name in files.namelist()] if files else [path.read_bytes()]
    known = (b".py", b"in forward", str(Path(torch.__file__).parents[1]).encode())
    assert [word for content in contents for word in known if word in content] == []


class Dice(nn.Flatten):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), training=True)


class Impatient(nn.Flatten):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else x.mean((2, 3))


class OfTwo(nn.Flatten):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.zeros(2, 1)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (Dice(), "logits of the onnx file must differ .* by at most 0.0001 .*, but differ by .*; nothing was exported"),
        (Impatient(), "export must get a network that torch can trace, but tracing failed: "),
        (OfTwo(), "export must get a network that torch can trace, but tracing failed: "),
    ],
    ids=["random", "branching", "of one batch size"],
)
def test_network_whose_file_would_do_something_else_is_refused(
    model: nn.Module, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        export(model, EXAMPLE, tmp_path / "network.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_a_causal_model_with_a_mask_is_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8, "bos_token_id": 1, "eos_token_id": 1}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, **sizes)).eval()
    example = {name: torch.ones(1, 8, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    path = export(model, example, tmp_path / "network.onnx", "onnx").path
    mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
    inputs = {"input_ids": torch.randint(20, (2, 8)), "attention_mask": mask}
    with torch.no_grad():
        expected = model(**inputs).logits
    session = onnxruntime.InferenceSession(path)
    actual = torch.from_numpy(session.run(["logits"], {name: tensor.numpy() for name, tensor in inputs.items()})[0])
    assert (actual - expected)[mask.bool()].abs().max() <= TOLERANCE * expected.abs().max()


def test_kind_that_is_not_known_is_refused(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="export must be a known name, but got 'onx'; did you mean 'onnx'"):
        export(network, EXAMPLE, tmp_path / "network.onx", "onx")


def test_missing_packages_are_told_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "onnx", ("onnxruntime", "onnx_of_tomorrow"))
    with pytest.raises(ValueError, match=r"must find onnx_of_tomorrow, but .* pip install 'howcompact\[export\]'"):
        check("onnx")

"""A transformer without some heads, hidden units, widths or branches is a plain network to torch.

Each is read from its checkpoint, also in a clean process.
"""

import copy
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn

from tests.trainables.conftest import as_if_trained, assert_same
from trainables import load_pruned
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.exports.export import export
from trainables.pruning.blocks import Blocks
from trainables.pruning.channels import Channels
from trainables.storage.folder import Folder


def vit(num_classes: int, in_channels: int) -> Any:
    return tv.VisionTransformer(16, 4, 2, 4, 16, 32, num_classes=num_classes)


def swin(num_classes: int, in_channels: int) -> Any:
    return tv.SwinTransformer([2, 2], 16, [2, 2], [2, 4], [3, 3], num_classes=num_classes)


class Encoder(nn.Module):
    """torch's encoder over the patches of an image. The last patch is padding if `padded`."""

    def __init__(self, classes: int, pre: bool = False, padded: bool = False) -> None:
        super().__init__()
        self.patches, self.padded = nn.Conv2d(3, 16, 4, 4), padded
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=pre)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not pre)
        self.cross, self.query = nn.MultiheadAttention(16, 2, batch_first=True), nn.Parameter(torch.randn(1, 1, 16))
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, 16, 16) to logits."""
        x = self.patches(x).flatten(2).mT
        mask = (torch.arange(16, device=x.device) == 15).expand(x.shape[0], -1) if self.padded else None
        x = self.layers(x, src_key_padding_mask=mask)
        pooled, _ = self.cross(self.query.expand(x.shape[0], -1, -1), x, x, key_padding_mask=mask)
        logits: Tensor = self.head(pooled[:, 0])
        return logits


def post(num_classes: int, in_channels: int) -> nn.Module:
    return Encoder(num_classes)


def pre(num_classes: int, in_channels: int) -> nn.Module:
    return Encoder(num_classes, pre=True)


def padded(num_classes: int, in_channels: int) -> nn.Module:
    return Encoder(num_classes, padded=True)


CUTS = {  # what goes: parts of granularity channel with this in their names, and all branches but the first
    "channels": ("", False),
    "heads": ("_proj", False),
    "hidden units": ("linear1", False),
    "branches": (None, True),
    "branches and channels": ("", True),
}
NETWORKS = [(build, cut) for build in (vit, swin) for cut in ("channels", "branches", "branches and channels")]
NETWORKS += [(build, cut) for build in (post, pre, padded) for cut in CUTS]
NAMES = [f"{build.__name__}-{cut}" for build, cut in NETWORKS]
FEW = ["pre-heads", *(f"{name}-branches and channels" for name in ("vit", "swin", "padded"))]


def dense(name: str) -> Architecture:
    model = f"{__name__}:{name.partition('-')[0]}"
    return Architecture(model=model, width=1.0, classes=10, image=(3, 16, 16))


@lru_cache
def network(name: str) -> tuple[nn.Module, Architecture]:
    torch.manual_seed(0)
    built, (only, branches) = dense(name), CUTS[name.partition("-")[2]]
    model = as_if_trained(built.build())
    if branches:
        blocks = Blocks(model, built.example())
        blocks.remove({part.name: torch.arange(1) for part in blocks.parts})
    if only is not None:
        channels = Channels(model, built.example())
        parts = [part for part in channels.parts if only in part.name]
        assert parts
        channels.remove({part.name: torch.arange((part.units + 1) // 2) for part in parts})
    return model, built.cut_as(model)


def images(n: int) -> Tensor:
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(n))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    model, cut = network(name)
    record = {"architecture": cut.model_dump(mode="json")}
    checkpoint.save(Folder.at(str(tmp_path)), {"network": model.state_dict()}, record)
    return tmp_path


@pytest.fixture
def plain(name: str, folder: Path) -> nn.Module:
    return load_pruned(str(folder), trust=[dense(name).model])


def test_it_computes_the_same_with_and_without_gradients_and_for_any_batch(name: str, plain: nn.Module) -> None:
    expected = network(name)[0](images(5))
    assert_same(plain(images(5)), expected)
    with torch.no_grad():  # torch has a fast path for its encoder layers here
        assert_same(plain(images(5)), expected)
        assert_same(torch.cat([plain(each[None]) for each in images(5)]), expected)
    with torch.inference_mode():
        assert_same(plain(images(5)), expected)


def test_a_copy_trains_and_the_first_one_stays(plain: nn.Module) -> None:
    expected, twin = plain(images(2)), copy.deepcopy(plain)
    assert torch.equal(twin(images(2)), expected)
    optimizer = torch.optim.AdamW(twin.train().parameters(), lr=1e-3)
    nn.functional.cross_entropy(twin(images(4)), torch.arange(4)).backward()
    optimizer.step()
    assert (twin.eval()(images(2)) - expected).abs().max() > 1e-4 * expected.abs().max()
    assert torch.equal(plain(images(2)), expected)
    twin.load_state_dict(plain.state_dict())
    assert torch.equal(twin(images(2)), expected)


@pytest.mark.parametrize("kind", ["torch", "onnx"])
@pytest.mark.parametrize("name", FEW, indirect=True)
def test_files_for_other_programs_compute_the_same(plain: nn.Module, kind: str, tmp_path: Path) -> None:
    assert export(plain, images(1), tmp_path / "files" / "network", kind).difference < 1e-5


READ = """
import sys
import numpy as np
import torch
from trainables import load_pruned
folders, models = sys.argv[1].split(","), sys.argv[2].split(",")
images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3))
with torch.no_grad():
    logits = [load_pruned(*each)(images).numpy() for each in zip(folders, [[model] for model in models])]
np.savez(sys.argv[3], *logits)
"""


def test_a_clean_process_reads_them(tmp_path: Path) -> None:
    folders = []
    for name in NAMES:
        model, cut = network(name)
        folders.append(str(tmp_path / name))
        record = {"architecture": cut.model_dump(mode="json")}
        checkpoint.save(Folder.at(folders[-1]), {"network": model.state_dict()}, record)
    models = ",".join(dense(name).model for name in NAMES)
    subprocess.run([sys.executable, "-c", READ, ",".join(folders), models, str(tmp_path / "logits.npz")], check=True)
    with torch.no_grad():
        for name, logits in zip(NAMES, np.load(tmp_path / "logits.npz").values(), strict=True):
            assert_same(torch.from_numpy(logits), network(name)[0](images(3)))

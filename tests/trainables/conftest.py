"""What several tests of `trainables` share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.image_task import PLAIN
from tests.trainables.trials import DATA, storage_with_dense
from tests.trainables.tried_nets import NETS
from trainables.data import sources
from trainables.data.splits import Splits
from trainables.storage.folder import Folder


@torch.no_grad()
def as_if_trained(model: nn.Module) -> nn.Module:
    """Put a fresh network in eval mode, with scales, biases and statistics that matter, and no tensor of zeros.

    Weights keep the variance and offsets are small, so that a fault of an early layer reaches the output.
    """
    stored = model.state_dict().keys()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name not in stored:
            continue  # a buffer that no checkpoint restores, such as the frequencies of rotary positions
        if name.endswith(("bias", "running_mean")):
            tensor.uniform_(-0.2, 0.2)
        elif tensor.is_floating_point() and tensor.numel() == max(tensor.shape, default=1):
            tensor.uniform_(0.5, 1.5)
        elif isinstance(tensor, nn.Parameter) and tensor.any():
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
        elif tensor.is_floating_point() and not tensor.any():
            tensor.normal_()
    return model.eval()


def assert_same(got: Tensor, expected: Tensor) -> None:
    """Check that two outputs differ by at most 1e-5 of the largest value."""
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.fixture(scope="session")
def splits() -> Splits:
    return sources.load(DATA)


@pytest.fixture(scope="session")
def images() -> Splits:
    """The same images, not augmented, as in `tests.trainables.image_task`."""
    return sources.load(PLAIN)


@pytest.fixture(scope="session")
def storage(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A storage with the dense network of `tests.trainables.trials`."""
    return storage_with_dense(str(tmp_path_factory.mktemp("storage")), splits)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Use a folder of this test for temporary files instead of the system's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("temporary")
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture
def tried_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a user's module `tried_nets` importable."""
    (tmp_path / "tried_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)

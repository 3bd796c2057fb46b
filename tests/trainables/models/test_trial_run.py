"""A user's network is built and run before any trial; each fault is one line with its cause and remedy."""

import pytest
import torch

from tests.trainables.tried_nets import EXAMPLE
from trainables.checkpoints.checkpoint import Architecture
from trainables.models import trial_run
from trainables.training.train import to_device

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("tried_nets")


@pytest.mark.parametrize("name", ["plain", "reads_values", "numpy_parameter", "volume", "table", "gated", "frozen"])
def test_networks_that_train_pass_the_trial_and_move_to_a_device(name: str) -> None:
    before = torch.get_rng_state()
    trial_run.check_images(f"tried_nets:{name}", 10, (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)
    model = Architecture(model=f"tried_nets:{name}", width=1.0, classes=10, image=(1, 8, 8)).build().eval()
    expected = model(EXAMPLE)
    assert torch.allclose(to_device(model, CPU)(EXAMPLE), expected, atol=1e-6)
    maps = [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.dim() == 4]
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in maps)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("half", r"in float32, but body\.0\.weight is torch\.float16.*before \.half\(\)"),
        ("double", r"in float32, but body\.0\.weight is torch\.float64"),
        ("scripted", r"plain nn\.Module in float32, but is scripted; return the module before torch\.jit"),
        ("compiled", r"plain nn\.Module in float32, but is compiled; return the module before torch\.compile"),
        ("compiled_inside", r"but body is compiled"),
        ("wrapped", "is wrapped in DataParallel; return the module inside"),
        ("noted", "but _extra_state of its state dict is a dict; keep it as a tensor by register_buffer"),
        ("lazy", r"but 1\.weight is lazy; give the layer its sizes"),
        ("noisy", r"in eval mode, but two passes differ; draw random numbers only where self\.training"),
        ("hidden", "but a network built anew with the same state dict has other logits"),
        ("listed", r"must map 2 images to logits \(2, 10\), but returned a dict"),
        ("probabilities", "must return logits, but returned probabilities .*leave out the softmax"),
        ("infinite", "must return finite logits"),
        ("detached", "must be trainable, but the backward pass failed with: RuntimeError"),
        ("raising", r"must build on a CPU, but failed with: KeyError: 'width' \(tried_nets\.py, line \d+\)"),
    ],
)
def test_a_network_that_no_trial_can_train_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^tried_nets:{name} .*{message}") as caught:  # and no warning
        trial_run.check_images(f"tried_nets:{name}", 10, (1, 8, 8))
    assert len(str(caught.value).splitlines()) == 1

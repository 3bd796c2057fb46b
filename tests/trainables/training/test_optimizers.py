"""Optimizers without torch's compiler: the same numbers, and a process that never imports it."""

import subprocess
import sys
from typing import Any

import torch
from torch import Tensor, nn

from trainables.training.optimizers import eager


def _trained(kind: Any, **settings: Any) -> list[Tensor]:
    """Train two parameter groups for five steps, with a hook after each step; return the parameters."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    optimizer = kind([{"params": network[0].parameters()}], lr=0.1, **settings)
    optimizer.add_param_group({"params": network[1:].parameters(), "weight_decay": 0.0})
    steps: list[int] = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    images, labels = torch.randn(16, 1, 8, 8), torch.randint(10, (16,))
    for _ in range(5):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    assert len(steps) == 5
    return [parameter.detach() for parameter in network.parameters()]


def test_an_eager_optimizer_computes_the_same_to_the_bit() -> None:
    cases: list[tuple[Any, dict[str, Any]]] = [
        (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 1e-3, "foreach": True}),
        (torch.optim.AdamW, {"weight_decay": 0.1}),
    ]
    for kind, settings in cases:
        pairs = zip(_trained(eager(kind), **settings), _trained(kind, **settings), strict=True)
        assert all(torch.equal(ours, torchs) for ours, torchs in pairs)


def test_training_does_not_import_the_compiler() -> None:
    script = (
        "import sys\n"
        "from tests.trainables.training.test_optimizers import _trained, torch, eager\n"
        "_trained(eager(torch.optim.SGD), momentum=0.9)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "_trained(torch.optim.SGD)\n"
        "assert 'torch._dynamo' in sys.modules  # else torch has changed, and `eager` is not needed\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

import copy

import pytest
import torch
from torch import Tensor, nn

from trainables.data import sources
from trainables.data.batches import Resident, train_batches
from trainables.data_spec import DataSpec
from trainables.training.recalibration import recalibrate

TRACKED = "num_batches_tracked"


@pytest.fixture(scope="module")
def data() -> Resident:
    splits = sources.load(DataSpec(max_train=100))
    return Resident(splits.train, splits, "cpu")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(6, 4, 3),
        nn.BatchNorm2d(4, momentum=0.3), nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8, momentum=None),
        nn.Dropout(0.9), nn.Linear(8, 10), nn.BatchNorm1d(10, track_running_stats=False),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 1, 8, 8) * 5 + 3)  # statistics of other data
    return model


def averages(model: nn.Sequential, batches: list[Tensor]) -> dict[str, Tensor]:
    """Average the mean and variance before each batch norm over batches, by torch.mean and torch.var."""
    seen: dict[str, list[Tensor]] = {}
    for x in batches:
        for name, module in model.named_children():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                dims = [d for d in range(x.dim()) if d != 1]
                mean, variance = x.mean(dims), x.var(dims)
                seen.setdefault(f"{name}.running_mean", []).append(mean)
                seen.setdefault(f"{name}.running_var", []).append(variance)
                shape = [-1 if d == 1 else 1 for d in range(x.dim())]
                normed = (x - mean.view(shape)) / (x.var(dims, unbiased=False).view(shape) + module.eps).sqrt()
                x = normed * module.weight.view(shape) + module.bias.view(shape)
            elif not isinstance(module, nn.Dropout):
                x = module(x)
    return {name: torch.stack(values).mean(0) for name, values in seen.items() if not name.startswith("11.")}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("asked", "used"), [(2, 2), (4, 4), (100, 4)])
def test_statistics_are_the_plain_average_over_the_batches(
    data: Resident, asked: int, used: int, training: bool
) -> None:
    model = network().train(training)
    before = copy.deepcopy(model)
    batches = [batch.images for batch in train_batches(data, 30, "none", 5)]  # of 30, 30, 30 and 10 samples
    with torch.no_grad():
        expected = averages(copy.deepcopy(model), batches[:used])
    recalibrate(model, data, asked, 30, seed=5)
    after = model.state_dict()
    for key, tensor in before.state_dict().items():
        if key in expected:
            torch.testing.assert_close(after[key], expected[key], rtol=1e-4, atol=1e-5)
        elif key.endswith(TRACKED):
            assert after[key] == used
        else:
            assert torch.equal(after[key], tensor)
    assert all(module.training is training for module in model.modules())
    assert [getattr(m, "momentum", 0) for m in model] == [getattr(m, "momentum", 0) for m in before]
    assert all(p.grad is None for p in model.parameters())


def test_no_batches_leave_the_statistics(data: Resident) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    recalibrate(model, data, 0, 30, seed=0)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_network_without_batch_norm_stays_as_it_is(data: Resident) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    before = copy.deepcopy(model.state_dict())
    recalibrate(model, data, 5, 30, seed=0)
    assert model.training
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from trainables.checkpoints.checkpoint import Architecture
from trainables.data import sources
from trainables.data.batches import Resident, train_batches
from trainables.data.splits import Splits
from trainables.data_spec import DataSpec
from trainables.models import hub
from trainables.recipe import Recipe
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.training.fit import fit
from trainables.training.record import TrainingRecord
from trainables.training.saves import State
from trainables.training.train import DivergedError, TrainingPlan, evaluate, to_device, train

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, lr=0.05, batch_size=50)
BUILT = Architecture(model="small_cnn", width=0.5, classes=10, image=(1, 8, 8))


@pytest.fixture(scope="module")
def splits() -> Splits:
    return sources.load(DataSpec(max_train=180, max_val=77))


@pytest.fixture(scope="module")
def data(splits: Splits) -> Resident:
    return Resident(splits.train, splits, CPU)


def network() -> nn.Module:
    torch.manual_seed(0)
    return hub.build("small_cnn", 10, 1, width=0.5)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def test_training_is_sgd_with_momentum_as_torch_writes_it(data: Resident) -> None:
    model, reference = network(), network()
    losses = list(train(model, data, TrainingPlan(RECIPE, seed=7)))
    optimizer = torch.optim.SGD(reference.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    steps = 4  # of 50, 50, 50 and 30 samples
    for epoch in range(3):
        total = 0.0
        for step, batch in enumerate(train_batches(data, 50, "none", 7 * 1_000_003 + epoch)):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * (epoch * steps + step) / (3 * steps))) / 2
            loss = nn.functional.cross_entropy(reference(batch.inputs), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch.labels)
        assert losses[epoch] == pytest.approx(total / 180, rel=1e-5)
    for key, tensor in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], tensor)


def test_training_repeats_itself_for_a_seed(data: Resident) -> None:
    def trained(seed: int) -> nn.Module:
        model = network()
        list(train(model, data, TrainingPlan(RECIPE, "crop_flip", seed)))
        return model

    one, again, other = state(trained(1)), state(trained(1)), state(trained(2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_evaluation_is_that_of_numpy(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.training.train.EVAL_BATCH", 30)
    model = network()
    val = Resident(splits.val, splits, CPU)
    judged = evaluate(model, val)
    assert model.training
    with torch.no_grad():
        logits = model.eval()(val.normalise(val.images)).double().numpy()
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert judged.metric == (logits.argmax(1) == splits.val.labels).mean()
    assert judged.loss == pytest.approx(-np.log(chances[np.arange(77), splits.val.labels]).mean(), rel=1e-4)


def test_evaluating_leaves_statistics_and_mode_alone(splits: Splits) -> None:
    for training in (True, False):
        model = network().train(training)
        before = state(model)
        evaluate(model, Resident(splits.val, splits, CPU))
        assert model.training is training
        assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("lr", [1e6, 1e30])
def test_training_that_diverges_is_an_error(data: Resident, lr: float) -> None:
    model = network()
    recipe = Recipe(epochs=5, lr=lr)
    with pytest.raises(DivergedError, match=r"loss must stay finite, but became (nan|inf) in epoch .*; lower lr"):
        list(train(model, data, TrainingPlan(recipe)))


def test_divergence_in_the_last_step_is_an_error_too(splits: Splits, tmp_path: object) -> None:
    recipe = Recipe(epochs=1, lr=1e38, batch_size=180, weight_decay=0.0)  # one step, whose loss is still finite
    start = [EpochReport(epoch=0, val_accuracy=0.1, val_loss=2.3, seconds=0.0)]
    both = (Resident(splits.train, splits, CPU), Resident(splits.val, splits, CPU))
    folder = Folder.at(str(tmp_path))
    with pytest.raises(DivergedError, match="validation loss must stay finite"):
        list(fit(State(network(), TrainingRecord(architecture=BUILT), start), both, TrainingPlan(recipe), folder))
    assert folder.folders() == []


def test_to_device_keeps_what_the_network_computes() -> None:
    model = network().eval()
    images = torch.randn(2, 1, 8, 8)
    expected = copy.deepcopy(model)(images)
    torch.testing.assert_close(to_device(model, CPU)(images), expected)

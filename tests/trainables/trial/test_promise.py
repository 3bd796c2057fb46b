"""The promise of a pruned network: the start of its training, by torch alone, and nothing else of the trial changes."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.trainables.trials import (
    CPU,
    SPECS,
    WEIGHT,
    assert_identical,
    dense_network,
    newest,
    outcome_of,
    run_until_killed,
    without_times,
)
from trainables.data.splits import Splits
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples
from trainables.training.saves import resume
from trainables.trial.record import TrialRecord
from trainables.trial.trainable import run_trial


@SPECS
def test_the_promise_is_of_the_network_at_epoch_0_and_changes_nothing(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec.model_copy(update={"calibration": 96})
    plain, judged = Folder.at(str(tmp_path / "plain")), Folder.at(str(tmp_path / "judged"))
    list(run_trial(spec, splits, storage, plain, CPU))
    run_until_killed(run_trial(spec, splits, storage, judged, CPU, judged=True), 1, monkeypatch)
    state = resume(judged, TrialRecord, spec.dense.model, CPU)
    assert state is not None
    start = state.model.eval()
    list(run_trial(spec, splits, storage, judged, CPU, judged=True))
    first, *rest = outcome_of(judged).history
    without, *rest_without = outcome_of(plain).history
    assert without_times(rest) == without_times(rest_without)
    assert without.promise is None
    assert first.promise is not None
    assert [first.val_accuracy, first.val_loss] == [without.val_accuracy, without.val_loss]
    assert_identical(newest(judged), newest(plain))

    images = calibration_samples(splits, 96, CPU).inputs
    expected = dense_network(storage).eval()(images).softmax(1).detach()
    size = min(64, spec.finetune.batch_size)
    gone = {name: value == 0 for name, value in start.named_parameters() if spec.granularity == "weight"}
    recipe = spec.finetune
    optimizer = torch.optim.SGD(start.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    draw = torch.Generator().manual_seed(spec.seed)
    losses: list[float] = []
    start.train()
    while len(losses) < 20:
        for batch in torch.randperm(96, generator=draw)[: 96 // size * size].split(size):
            loss = F.kl_div(start(images[batch]).log_softmax(1), expected[batch], reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for name, zeros in gone.items():
                    start.get_parameter(name)[zeros] = 0
            losses.append(loss.item())
    assert first.promise == pytest.approx(math.exp(-sum(losses) / len(losses)), rel=1e-3)
    assert first.images is not None
    assert without.images is not None
    assert first.images - without.images == 96 * (1 + math.ceil(20 / (96 // size)))


def test_weights_that_are_drawn_again_promise_nothing(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    spec = WEIGHT.model_copy(update={"recovery": "scratch"})
    first = next(run_trial(spec, splits, storage, Folder.at(str(tmp_path)), CPU, judged=True))
    assert first.promise is None

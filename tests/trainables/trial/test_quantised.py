"""Trials that quantise: their numbers are those of the int8 file, and nothing else of a trial changes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from tests.trainables import several_inputs
from tests.trainables.trials import (
    CHANNEL,
    CPU,
    SPECS,
    WEIGHT,
    assert_identical,
    finished,
    make_shared,
    newest,
    outcome_of,
    run_until_killed,
    without_times,
)
from trainables.data import sources
from trainables.data.splits import Splits
from trainables.device_spec import DeviceSpec
from trainables.evaluate import load_trial
from trainables.models.trust import Trust
from trainables.outcome import Quantised
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder
from trainables.training.fit import residents
from trainables.trial import trainable
from trainables.trial.quantisation import write_int8
from trainables.trial.trainable import run_trial

MEASURED = ("quantised_seconds", "quantised_latency_ms", "exported_latency_ms")


def quantising(spec: TrialSpec, **settings: Any) -> TrialSpec:
    return spec.model_copy(update={"quantise": "int8", "calibration": 100, **settings})


def quantised_of(folder: Folder) -> Quantised:
    found = outcome_of(folder).quantised
    assert found is not None
    return found


def without_times_of(found: Quantised) -> Quantised:
    return found.model_copy(update=dict.fromkeys(MEASURED, 0.0))


def test_quantised_digits_lose_at_most_a_point_and_the_file_says_so_too(tmp_path: Path) -> None:
    """The accuracy is derived again from the file by onnxruntime alone."""
    recipe = Recipe(epochs=8)
    spec = quantising(TrialSpec(dense=DenseSpec(recipe=recipe), sparsity=0.8, policy="erk"), calibration=512)
    splits, storage = sources.load(spec.dense.data), Folder.at(str(tmp_path))
    make_shared([spec], splits, storage)
    folder = finished(spec, splits, storage, tmp_path / "trial")
    outcome, found = outcome_of(folder), quantised_of(folder)
    assert outcome.best is not None
    assert outcome.best.val_accuracy > 0.9
    assert abs(found.quantised_accuracy - outcome.best.val_accuracy) < 0.01
    exported, int8 = write_int8(load_trial(folder, outcome, CPU), splits, 512, tmp_path)
    assert (found.exported_bytes, found.quantised_bytes) == (exported.stat().st_size, int8.stat().st_size)
    assert found.quantised_bytes < 0.35 * found.exported_bytes
    images, labels = residents(splits, CPU)[1].whole()
    (logits,) = onnxruntime.InferenceSession(int8).run(None, {"images": images.numpy()})
    assert found.quantised_accuracy == np.mean(logits.argmax(1) == labels.numpy())


@SPECS
def test_quantising_changes_nothing_else_and_is_charged(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    plain = spec.model_copy(update={"calibration": 100})
    one, other = (finished(each, splits, storage, tmp_path / each.key()) for each in (plain, quantising(spec)))
    before, after, found = outcome_of(one), outcome_of(other), quantised_of(other)
    assert before.quantised is None
    assert without_times(before.history) == without_times(after.history)
    assert_identical(newest(one), newest(other))
    assert (found.quantised_latency_ms, found.exported_latency_ms) == (None, None)
    assert found.quantised_images == 100 + len(splits.val)
    assert before.images is not None
    assert after.images == before.images + found.quantised_images
    assert after.facts is not None
    epochs = sum(report.seconds for report in after.history[1:])
    assert after.seconds == pytest.approx(after.facts.prune_seconds + epochs + found.quantised_seconds)
    assert sorted(other.folders()) == sorted(one.folders())  # no file stays


def test_latency_of_both_files_is_measured_where_the_trial_measures_latency(
    splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    latencies = []
    for batch in (1, 64):
        spec = quantising(CHANNEL, latency=True, device=DeviceSpec(batch=batch))
        found = quantised_of(finished(spec, splits, storage, tmp_path / str(batch)))
        latencies.append((found.quantised_latency_ms or 0.0, found.exported_latency_ms or 0.0))
    for one, many in zip(*latencies, strict=True):
        assert 0 < 5 * one < many < 1000  # a batch of 64 takes at least five times as long


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_killed_trial_quantises_what_an_undisturbed_one_does(
    epochs: int, splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after so many epochs, the last of which is the end of training."""
    spec = quantising(WEIGHT)
    whole, broken = finished(spec, splits, storage, tmp_path / "whole"), Folder.at(str(tmp_path / "broken"))
    run_until_killed(run_trial(spec, splits, storage, broken, CPU), epochs, monkeypatch)
    torch.manual_seed(99)
    list(run_trial(spec, splits, storage, broken, CPU))
    assert without_times_of(quantised_of(broken)) == without_times_of(quantised_of(whole))


def test_a_trial_killed_while_it_quantises_does_it_again(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = quantising(WEIGHT)
    whole, broken = finished(spec, splits, storage, tmp_path / "whole"), Folder.at(str(tmp_path / "broken"))

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainable, "quantised", kill)
        with pytest.raises(KeyboardInterrupt):
            list(run_trial(spec, splits, storage, broken, CPU))
    list(run_trial(spec, splits, storage, broken, CPU))
    assert without_times_of(quantised_of(broken)) == without_times_of(quantised_of(whole))
    assert_identical(newest(broken), newest(whole))


@several_inputs.KINDS_OF_INPUTS
def test_a_task_of_several_inputs_is_judged_by_its_metric(name: str, tmp_path: Path) -> None:
    model = several_inputs.MODELS[name]
    recipe = Recipe(epochs=2, optimizer="adamw", lr=0.003, batch_size=32)
    dense = DenseSpec(model=model, data=several_inputs.data_of(name), recipe=recipe)
    spec = quantising(TrialSpec(dense=dense, sparsity=0.5, finetune=recipe), calibration=48)
    splits, storage = sources.load_any(dense.data), Folder.at(str(tmp_path))
    make_shared([spec], splits, storage)
    folder = storage / "trial"
    list(run_trial(spec, splits, storage, folder, CPU))
    outcome, found = outcome_of(folder), quantised_of(folder)
    _, int8 = write_int8(load_trial(folder, outcome, CPU, Trust([model])), splits, 48, tmp_path)
    session = onnxruntime.InferenceSession(int8)
    batch, objective = residents(splits, CPU)[1].whole(), splits.objective
    inputs = objective.inputs(batch)
    given = inputs.values() if isinstance(inputs, dict) else inputs
    names = inputs if isinstance(inputs, dict) else [each.name for each in session.get_inputs()]
    (outputs,) = session.run(None, {each: tensor.numpy() for each, tensor in zip(names, given, strict=True)})
    value = objective.metric.value(objective.metric.sums(torch.from_numpy(outputs), batch))
    assert found.quantised_accuracy == pytest.approx(value, abs=1e-6)
    assert outcome.best is not None
    assert abs(found.quantised_accuracy - outcome.best.val_accuracy) < 0.05

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.trainables.trials import (
    CHANNEL,
    CPU,
    DENSE,
    SPECS,
    WEIGHT,
    assert_identical,
    cut_short,
    dense_network,
    facts_of,
    flip_a_byte,
    newest,
    outcome_of,
    without_times,
)
from trainables.allocation.plan import plan
from trainables.artifacts.dense import saved_dense
from trainables.artifacts.record import DenseRecord
from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.epochs import epoch_name
from trainables.data.splits import Splits
from trainables.models.layers import count
from trainables.recipe import Recipe
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.training.fit import residents
from trainables.training.recalibration import recalibrate
from trainables.training.train import DivergedError, evaluate
from trainables.trial.record import TrialRecord
from trainables.trial.trainable import OUTCOME, run_trial


@SPECS
def test_interrupted_trial_goes_on_as_if_nothing_had_happened(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    whole = Folder.at(str(tmp_path / "whole"))
    running = run_trial(spec, splits, storage, whole, CPU)
    reports = list(islice(running, 4))
    last = newest(whole)
    assert list(running) == []
    assert [report.epoch for report in reports] == [0, 1, 2, 3]
    assert [report.final for report in reports] == [False, False, False, True]
    assert outcome_of(whole).history == tuple(reports)
    for epoch in range(4):
        folder = Folder.at(str(tmp_path / f"broken-{epoch}"))
        before = list(islice(run_trial(spec, splits, storage, folder, CPU), epoch + 1))
        assert not folder.has(OUTCOME)
        torch.manual_seed(99)  # another process has another random state
        running = run_trial(spec, splits, storage, folder, CPU)
        after = list(islice(running, 4))
        assert_identical(newest(folder), last)
        assert list(running) == []
        assert after[: epoch + 1] == before
        assert without_times(after) == without_times(reports)
        assert folder.folders() == whole.folders()


@SPECS
def test_only_the_best_and_the_newest_epoch_are_kept_and_in_the_end_the_best_network(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    folder = Folder.at(str(tmp_path))
    (folder / "notes").write("note", b"x")
    seen: list[EpochReport] = []
    for report in run_trial(spec, splits, storage, folder, CPU):
        seen.append(report)
        best = max(seen, key=lambda r: r.val_accuracy).epoch
        assert folder.folders() == sorted({epoch_name(best), epoch_name(report.epoch), "notes"})
        assert not folder.has(OUTCOME)
        for name in (epoch_name(best), epoch_name(report.epoch)):
            assert checkpoint.load(folder / name).read(TrialRecord).history[-1].epoch == int(name[-5:])
    assert outcome_of(folder).status == "done"
    assert folder.folders() == [epoch_name(best), "notes"]
    assert sorted(path.name for path in (tmp_path / epoch_name(best)).iterdir()) == [
        *("manifest.json", "network.safetensors", "record.json")
    ]
    saved = checkpoint.load(folder / epoch_name(best)).tensors
    assert set(saved) == {"network"}
    weights = [tensor for name, tensor in saved["network"].items() if name.endswith("weight")]
    assert not any(tensor[tensor == 0].signbit().any() for tensor in weights)  # a -0.0 would have to be stored


def test_a_trial_that_is_done_is_not_done_again(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path))
    reports = list(run_trial(WEIGHT, splits, storage, folder, CPU))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert list(run_trial(WEIGHT, splits, storage, folder, CPU)) == reports
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files


def test_masks_take_a_bit_a_weight(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path))
    next(iter(run_trial(WEIGHT, splits, storage, folder, CPU)))
    saved = newest(folder)
    for name, mask in saved.tensors["masks"].items():
        weight = saved.tensors["network"][name].flatten()
        bits = torch.stack([mask >> shift & 1 for shift in range(7, -1, -1)], dim=1).flatten()[: len(weight)]
        assert len(mask) == -(-len(weight) // 8)
        assert torch.equal(bits.bool(), weight != 0)


@SPECS
def test_facts_are_those_of_the_network_on_disk(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    folder = Folder.at(str(tmp_path))
    list(run_trial(spec, splits, storage, folder, CPU))
    facts = facts_of(folder)
    example = torch.zeros(1, 1, 8, 8)
    pruned = dense_network(storage)
    chosen = plan(pruned, example, spec)
    assert facts.parts == chosen.parts
    masks = chosen.carry_out().masks
    train, val = residents(splits, CPU)
    assert facts.one_shot_accuracy == evaluate(pruned, val).metric
    recalibrate(pruned, train, spec.recalibrate, spec.finetune.batch_size, spec.seed)
    judged, first = evaluate(pruned, val), outcome_of(folder).history[0]
    assert (facts.recalibrated_accuracy, first.val_accuracy, first.val_loss) == (*[judged.metric] * 2, judged.loss)
    assert facts.dense_accuracy == saved_dense(storage, DENSE).read(DenseRecord).val_accuracy
    assert facts.params_total == count(dense_network(storage), {}, example).params_kept
    saved = newest(folder)
    model = saved.network()
    counted = count(model, masks, example)
    assert (facts.params_kept, facts.macs_kept) == (counted.params_kept, counted.macs_kept)
    matrices = [tensor for tensor in saved.tensors["network"].values() if tensor.dim() > 1]
    if spec.granularity == "weight":
        assert facts.params_kept == round((1 - spec.sparsity) * facts.params_total)
        assert sum(int((tensor == 0).sum()) for tensor in matrices) == facts.params_total - facts.params_kept
    else:
        assert facts.params_kept == sum(tensor.numel() for tensor in matrices)
        assert 0 < round((1 - spec.sparsity) * facts.params_total) - facts.params_kept < 0.05 * facts.params_total


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("network.safetensors", cut_short),
        ("network.safetensors", flip_a_byte),
        ("record.json", flip_a_byte),
        (manifest.MANIFEST, flip_a_byte),
        (manifest.MANIFEST, Path.unlink),
    ],
)
def test_damaged_newest_epoch_counts_as_never_written(
    name: str, damage: Callable[[Path], None], splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    whole, folder = Folder.at(str(tmp_path / "whole")), Folder.at(str(tmp_path / "damaged"))
    reports = list(run_trial(WEIGHT, splits, storage, whole, CPU))
    before = list(islice(run_trial(WEIGHT, splits, storage, folder, CPU), 3))
    damage(tmp_path / "damaged" / epoch_name(before[-1].epoch) / name)
    assert without_times(list(run_trial(WEIGHT, splits, storage, folder, CPU))) == without_times(reports)
    assert_identical(newest(folder), newest(whole))


@SPECS
@pytest.mark.parametrize("damage", [cut_short, Path.unlink])
def test_trial_with_a_damaged_outcome_does_not_go_on_from_the_network_left_for_others(
    spec: TrialSpec, damage: Callable[[Path], None], splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    folder = Folder.at(str(tmp_path))
    reports = list(run_trial(spec, splits, storage, folder, CPU))
    once = newest(folder)
    damage(tmp_path / OUTCOME)
    assert without_times(list(run_trial(spec, splits, storage, folder, CPU))) == without_times(reports)
    assert_identical(newest(folder), once)


def test_trial_that_was_killed_at_its_very_end_leaves_no_more_than_others(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    folder = Folder.at(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("trainables.trial.trainable.keep_best", kill)
        with pytest.raises(KeyboardInterrupt):
            list(run_trial(WEIGHT, splits, storage, folder, CPU))
    assert folder.has(OUTCOME)
    list(run_trial(WEIGHT, splits, storage, folder, CPU))
    (best,) = folder.folders()
    assert set(checkpoint.load(folder / best).tensors) == {"network"}


def test_waiting_for_the_caller_is_no_time_of_the_trial(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("trainables.training.fit.time.perf_counter", clock)
    for _ in run_trial(WEIGHT, splits, storage, Folder.at(str(tmp_path)), CPU):
        clock.now += 1000.0
    assert [report.seconds for report in outcome_of(Folder.at(str(tmp_path))).history[1:]] == [0.0, 0.0, 0.0]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_latency_is_measured_where_asked_and_changes_nothing_else(
    splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    asked, plain = (Folder.at(str(tmp_path / name)) for name in ("asked", "plain"))
    for folder, latency in ((asked, True), (plain, False)):
        list(run_trial(CHANNEL.model_copy(update={"latency": latency}), splits, storage, folder, CPU))
    measured = facts_of(asked).latency_ms
    assert measured is not None
    assert 0 < measured < 1e3 * facts_of(asked).prune_seconds / 60  # the median of 50 runs after 10
    assert facts_of(plain).latency_ms is None
    assert without_times(outcome_of(asked).history) == without_times(outcome_of(plain).history)
    assert_identical(newest(asked), newest(plain))


def test_trial_that_diverges_says_so(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    spec = WEIGHT.model_copy(update={"finetune": Recipe(epochs=3, lr=1e6)})
    with pytest.raises(DivergedError, match="must stay finite"):
        list(run_trial(spec, splits, storage, Folder.at(str(tmp_path)), CPU))
    assert not Folder.at(str(tmp_path)).has(OUTCOME)

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables import artifacts, checkpoints
from trainables.allocation.plan import plan
from trainables.checkpoints import Architecture, Checkpoint
from trainables.data import sources
from trainables.data.splits import Splits
from trainables.learning.dense import load_dense, make_dense
from trainables.learning.fit import epoch_name, fit, newest_epoch, residents
from trainables.learning.profile import load_profile, make_profile
from trainables.learning.recovery import recalibrate
from trainables.learning.train import DivergedError, evaluate
from trainables.outcome import Outcome
from trainables.pruning.layers import count
from trainables.spec import DataSpec, DenseSpec, EpochReport, Recipe, TrialSpec
from trainables.storage import Folder
from trainables.trial import OUTCOME, run_trial

torch.set_num_threads(1)
CPU = torch.device("cpu")
DATA = DataSpec(max_train=300, max_val=90, augment="crop")
DENSE = DenseSpec(width=0.5, data=DATA, recipe=Recipe(epochs=3, lr=0.05, batch_size=64), seed=1)
WEIGHT = TrialSpec(dense=DENSE, sparsity=0.9, recalibrate=3, finetune=Recipe(epochs=3, lr=0.02, batch_size=64))
CHANNEL = WEIGHT.model_copy(update={"granularity": "channel", "criterion": "l1", "policy": "erk", "sparsity": 0.6})
SPECS = pytest.mark.parametrize("spec", [WEIGHT, CHANNEL], ids=["weight", "channel"])


@pytest.fixture(scope="module")
def splits() -> Splits:
    return sources.load(DATA)


@pytest.fixture(scope="module")
def storage(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A storage that has the dense network."""
    folder = Folder.at(str(tmp_path_factory.mktemp("storage")))
    artifacts.find_or_make(
        folder, "dense", DENSE.key(), lambda made: make_dense(DENSE, splits, made, folder / "unfinished", CPU)
    )
    return folder


def outcome_of(folder: Folder) -> Outcome:
    return Outcome.model_validate_json(folder.read(OUTCOME))


def without_times(history: list[EpochReport] | tuple[EpochReport, ...]) -> list[EpochReport]:
    return [report.model_copy(update={"seconds": 0.0}) for report in history]


def assert_identical(one: Checkpoint, other: Checkpoint) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    for group, tensors in one.tensors.items():
        assert tensors.keys() == other.tensors[group].keys()
        assert all(torch.equal(tensor, other.tensors[group][key]) for key, tensor in tensors.items())


def newest(folder: Folder) -> Checkpoint:
    found = newest_epoch(folder)
    assert found is not None
    return found


@SPECS
def test_interrupted_trial_goes_on_as_if_nothing_had_happened(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    whole = Folder.at(str(tmp_path / "whole"))
    reports = list(run_trial(spec, splits, storage, whole, CPU))
    assert [report.epoch for report in reports] == [0, 1, 2, 3]
    assert outcome_of(whole).history == tuple(reports)
    for epoch in range(4):
        folder = Folder.at(str(tmp_path / f"broken-{epoch}"))
        before = list(islice(run_trial(spec, splits, storage, folder, CPU), epoch + 1))
        assert not folder.has(OUTCOME)
        torch.manual_seed(99)  # another process, with another past
        after = list(run_trial(spec, splits, storage, folder, CPU))
        assert after[: epoch + 1] == before
        assert without_times(after) == without_times(reports)
        assert_identical(newest(folder), newest(whole))
        assert folder.folders() == whole.folders()


@SPECS
def test_only_the_best_and_the_newest_epoch_are_kept(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    folder = Folder.at(str(tmp_path))
    (folder / "notes").write("mine", b"x")
    seen: list[EpochReport] = []
    for report in run_trial(spec, splits, storage, folder, CPU):
        seen.append(report)
        best = max(seen, key=lambda r: r.val_accuracy).epoch
        assert folder.folders() == sorted({epoch_name(best), epoch_name(report.epoch), "notes"})
        assert not folder.has(OUTCOME)
        for name in (epoch_name(best), epoch_name(report.epoch)):
            assert checkpoints.load(folder / name).record["history"][-1]["epoch"] == int(name[-5:])
    assert outcome_of(folder).status == "done"


@SPECS
def test_facts_are_those_of_the_network_on_disk(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    folder = Folder.at(str(tmp_path))
    list(run_trial(spec, splits, storage, folder, CPU))
    facts = outcome_of(folder).facts
    assert facts is not None
    found = artifacts.find(storage, "dense", DENSE.key())
    assert found is not None
    dense = checkpoints.load(found)
    example = torch.zeros(1, 1, 8, 8)
    pruned = load_dense(dense, CPU)
    chosen = plan(pruned, example, spec, None)
    assert facts.parts == chosen.parts
    chosen.carry_out()
    train, val = residents(splits, CPU)
    assert facts.one_shot_accuracy == evaluate(pruned, val).accuracy
    recalibrate(pruned, train, spec.recalibrate, spec.finetune.batch_size, spec.seed)
    judged, first = evaluate(pruned, val), outcome_of(folder).history[0]
    assert (facts.recalibrated_accuracy, first.val_accuracy, first.val_loss) == (*[judged.accuracy] * 2, judged.loss)
    assert facts.dense_accuracy == dense.record["val_accuracy"]
    assert facts.params_total == count(load_dense(dense, CPU), {}, example).params_kept
    saved = newest(folder)
    model = checkpoints.rebuild(Architecture.model_validate(saved.record["architecture"]), saved.tensors["network"])
    counted = count(model, saved.tensors.get("masks", {}), example)
    assert (facts.params_kept, facts.macs_kept) == (counted.params_kept, counted.macs_kept)
    if spec.granularity == "weight":
        assert facts.params_kept == round((1 - spec.sparsity) * facts.params_total)
        zeros = {
            name: int((tensor == 0).sum()) for name, tensor in saved.tensors["network"].items() if tensor.dim() > 1
        }
        assert sum(zeros.values()) == facts.params_total - facts.params_kept
    else:
        assert "masks" not in saved.tensors
        assert facts.params_kept == sum(t.numel() for t in saved.tensors["network"].values() if t.dim() > 1)
        assert 0 < round((1 - spec.sparsity) * facts.params_total) - facts.params_kept < 0.05 * facts.params_total


def test_damaged_newest_epoch_counts_as_never_written(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    whole, folder = Folder.at(str(tmp_path / "whole")), Folder.at(str(tmp_path / "damaged"))
    reports = list(run_trial(WEIGHT, splits, storage, whole, CPU))
    before = list(islice(run_trial(WEIGHT, splits, storage, folder, CPU), 3))
    damaged = tmp_path / "damaged" / epoch_name(before[-1].epoch) / "network.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert without_times(list(run_trial(WEIGHT, splits, storage, folder, CPU))) == without_times(reports)
    assert_identical(newest(folder), newest(whole))


def test_waiting_for_the_caller_is_no_time_of_the_trial(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("trainables.learning.fit.time.perf_counter", clock)
    for _ in run_trial(WEIGHT, splits, storage, Folder.at(str(tmp_path)), CPU):
        clock.now += 1000.0
    assert [report.seconds for report in outcome_of(Folder.at(str(tmp_path))).history[1:]] == [0.0, 0.0, 0.0]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_trial_that_diverges_says_so(splits: Splits, storage: Folder, tmp_path: Path) -> None:
    spec = WEIGHT.model_copy(update={"finetune": Recipe(epochs=3, lr=1e6)})
    with pytest.raises(DivergedError, match="must stay finite"):
        list(run_trial(spec, splits, storage, Folder.at(str(tmp_path)), CPU))
    assert not Folder.at(str(tmp_path)).has(OUTCOME)


def killed_after_two(*args: Any) -> Iterator[EpochReport]:
    yield from islice(fit(*args), 2)
    raise KeyboardInterrupt


def test_interrupted_dense_training_goes_on_as_if_nothing_had_happened(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = artifacts.find(storage, "dense", DENSE.key())
    assert found is not None
    whole, folder, unfinished = checkpoints.load(found), *(Folder.at(str(tmp_path / n)) for n in ("made", "unfinished"))
    with monkeypatch.context() as patched:
        patched.setattr("trainables.learning.dense.fit", killed_after_two)
        with pytest.raises(KeyboardInterrupt):
            make_dense(DENSE, splits, folder, unfinished, CPU)
    assert not checkpoints.is_whole(folder)
    assert unfinished.folders()
    make_dense(DENSE, splits, folder, unfinished, CPU)
    made = checkpoints.load(folder)
    assert_identical(made, whole)
    for one, other in zip(made.record["history"], whole.record["history"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert made.record["val_accuracy"] == made.record["history"][-1]["val_accuracy"]
    assert unfinished.folders() == []


def test_profiled_trial_looks_at_the_shared_profile_and_is_charged_for_it(
    splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    spec = CHANNEL.model_copy(update={"policy": "capacity-functional", "calibration": 60})
    made = artifacts.find_or_make(
        storage,
        "profile",
        spec.profile.key(),
        lambda folder: make_profile(spec.profile, splits, storage, folder, CPU),
    )
    profile, seconds = load_profile(made)
    assert all(len(curve) == len(profile.levels) for curve in profile.accuracy.values())
    assert {round(a * 60, 6) % 1 for curve in profile.accuracy.values() for a in curve} == {0.0}  # of 60 samples
    list(run_trial(spec, splits, storage, Folder.at(str(tmp_path)), CPU))
    facts = outcome_of(Folder.at(str(tmp_path))).facts
    assert facts is not None
    assert facts.profile_seconds == seconds > 0
    found = artifacts.find(storage, "dense", DENSE.key())
    assert found is not None
    chosen = plan(load_dense(checkpoints.load(found), CPU), torch.zeros(1, 1, 8, 8), spec, profile)
    assert facts.parts == chosen.parts

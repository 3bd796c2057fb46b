from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from search.study.cells import cell_key
from search.study.spec import StudySpec
from tests.trainables.trials import CHANNEL, CPU, DATA, assert_identical, dense_network, facts_of, run_until_killed
from trainables.allocation.budget import dense_counts, total
from trainables.allocation.plan import plan
from trainables.artifacts.gating import load_gating, make_gating
from trainables.artifacts.needs import needed
from trainables.artifacts.record import GatingRecord
from trainables.catalog import checks
from trainables.checkpoints import artifact_store, checkpoint, manifest
from trainables.data.splits import Splits
from trainables.models import hub
from trainables.names import CRITERION_NEEDS, GATED, POLICY_NEEDS
from trainables.outcome import Cost
from trainables.pruning.channels import Channels
from trainables.pruning.gates import ChannelGates, TrainedGates, is_open
from trainables.pruning_spec import Gates, Schedule
from trainables.recipe import Recipe
from trainables.spec import BudgetKind, EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.training.fit import residents
from trainables.training.recovery import RECOVERIES, Pruned
from trainables.training.train import TrainingPlan, evaluate, train
from trainables.training.updates import Updates
from trainables.trial.trainable import run_trial

UNGATED = CHANNEL.model_copy(update={"finetune": Recipe(epochs=3, lr=0.02, batch_size=16)})
JOINT = UNGATED.model_copy(update={"policy": "gates-joint", "gates": Gates(epochs=2, lr=0.002, strength=2.0, power=1)})
WAYS = [("gates", "uniform"), ("l1", "gates"), ("l1", "gates-joint"), ("gates", "by-score")]


def with_gates(splits: Splits, storage: Folder, spec: TrialSpec = JOINT) -> Folder:
    def make(folder: Folder) -> None:
        make_gating(spec.gating, splits, storage, folder, CPU)

    return artifact_store.find_or_make(storage, "gates", spec.gating.key(), make)


def test_gates_close_until_the_budget_is_met_and_the_record_tells_how(splits: Splits, storage: Folder) -> None:
    saved = with_gates(splits, storage)
    gating, cost = load_gating(saved)
    record = checkpoint.load(saved).read(GatingRecord)
    prunable = Channels(dense_network(storage), torch.zeros(1, 1, 8, 8))
    counts = [int(is_open(gating.values[part.name]).sum()) for part in prunable.parts]
    dense = prunable.cost(np.array([part.units for part in prunable.parts]), "params")
    assert list(record.gates[-1].open.values()) == counts
    assert 0.3 < record.gates[-1].ratio == prunable.cost(np.array(counts), "params") / dense <= 0.4
    assert sum(report.flips for report in record.gates) >= sum(part.units for part in prunable.parts) - sum(counts) > 0
    assert record.spec == JOINT.gating
    assert [report.epoch for report in record.history] == [1, 2]
    assert cost.images == 2 * (300 + 90)  # training and validation samples
    assert cost.evaluations == 0 < cost.seconds
    assert "unfinished" not in storage.folders() or not (storage / "artifacts" / "unfinished").folders()


SMALL, LARGE = ("small_cnn", 0.25), ("resnet20", 1.0)


@pytest.mark.parametrize("budget", ["params", "macs"])
@pytest.mark.parametrize(
    ("network", "lr", "sparsity", "epochs"),
    [
        (SMALL, 0.005, 0.3, 4),
        (SMALL, 0.02, 0.5, 1),
        (SMALL, 0.05, 0.7, 2),
        (SMALL, 0.1, 0.5, 4),
        (LARGE, 0.005, 0.7, 1),
        (LARGE, 0.1, 0.3, 1),
    ],
)
def test_training_alone_ends_within_one_channel_of_the_budget(
    network: tuple[str, float], lr: float, sparsity: float, epochs: int, budget: BudgetKind, splits: Splits
) -> None:
    torch.manual_seed(0)
    model = hub.build(network[0], 10, 1, network[1])
    channels = Channels(model, torch.zeros(1, 1, 8, 8))
    units = dense_counts(channels)
    dense, target = channels.cost(units, budget), total(channels, sparsity, budget)
    gates = ChannelGates(channels, Gates(epochs=epochs), budget, target / dense)
    recipe = Recipe(epochs=epochs, lr=lr, batch_size=32)
    plan = TrainingPlan(recipe, DATA.augment)
    with gates.attached():
        for _ in train(model, residents(splits, CPU)[0], plan, Updates(model, recipe, gates=gates)):
            report = gates.report()
    dearest = max(dense - channels.cost(units - one, budget) for one in np.eye(len(units), dtype=np.int64))
    assert 0 <= target - channels.cost(np.array([*report.open.values()]), budget) < dearest


def test_interrupted_gate_training_goes_on_as_if_nothing_had_happened(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = checkpoint.load(with_gates(splits, storage))
    folder = Folder.at(str(tmp_path))

    def training() -> Iterator[EpochReport]:
        make_gating(JOINT.gating, splits, storage, folder, CPU)
        yield from ()

    run_until_killed(training(), 1, monkeypatch)
    assert not manifest.is_whole(folder)
    torch.manual_seed(99)  # another process has another random state
    list(training())
    again = checkpoint.load(folder)
    assert_identical(again, whole)
    assert again.read(GatingRecord).gates == whole.read(GatingRecord).gates


@pytest.mark.parametrize(("criterion", "policy"), WAYS)
def test_gates_serve_as_criterion_as_policy_and_as_a_whole(
    criterion: str, policy: str, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    spec = JOINT.model_copy(update={"criterion": criterion, "policy": policy})
    assert checks.mismatches(spec) == []
    gating, cost = load_gating(with_gates(splits, storage))
    folder = Folder.at(str(tmp_path))
    reports = list(run_trial(spec, splits, storage, folder, CPU))
    facts = facts_of(folder)
    assert len(reports) == (
        2 if policy == "gates-joint" else 4
    )  # training the gates took two of three epochs of fine-tuning
    assert reports[-1].final
    charged = {name: getattr(facts, f"profile_{name}") for name in Cost.model_fields}
    assert Cost.model_validate(charged) == cost
    pruned = dense_network(storage)
    if policy == "gates-joint":
        pruned.load_state_dict(gating.network_state)
    chosen = plan(pruned, torch.zeros(1, 1, 8, 8), spec, None, {"gates": gating})
    assert facts.parts == chosen.parts
    by_gate = {name: gating.values[name].topk(len(kept)).values.min() for name, kept in chosen.kept_units.items()}
    if criterion == "gates" or policy == "gates-joint":
        assert all(gating.values[name][kept].min() == by_gate[name] for name, kept in chosen.kept_units.items())
    chosen.carry_out()
    assert facts.one_shot_accuracy == evaluate(pruned, residents(splits, CPU)[1]).metric


@pytest.mark.parametrize("open_at", [0.3, 0.52, 0.7])
@pytest.mark.parametrize("policy", ["gates", "gates-joint"])
def test_budget_is_met_within_one_channel_however_many_gates_are_open(
    policy: str, open_at: float, storage: Folder
) -> None:
    model = dense_network(storage)
    prunable = Channels(model, torch.zeros(1, 1, 8, 8))
    torch.manual_seed(0)
    values = {part.name: open_at + 0.2 * torch.rand(part.units) for part in reversed(prunable.parts)}
    spec = JOINT.model_copy(update={"policy": policy, "budget": "macs"})
    kept = plan(model, torch.zeros(1, 1, 8, 8), spec, None, {"gates": TrainedGates(values, {})}).kept_units
    counts = np.array([len(kept[part.name]) for part in prunable.parts])
    budget = total(prunable, spec.sparsity, "macs")
    assert prunable.cost(counts, "macs") <= budget
    for p, part in enumerate(prunable.parts):
        more = counts + np.eye(len(counts), dtype=int)[p]
        assert counts[p] == part.units or prunable.cost(more, "macs") > budget
    ranked = [(values[p.name].sort(descending=True).values, n, p) for p, n in zip(prunable.parts, counts, strict=True)]
    best_gone = max(gates[n] for gates, n, part in ranked if n < part.units)
    worst_kept = min(gates[n - 1] for gates, n, part in ranked if n > part.floor)
    assert worst_kept > best_gone - 0.02  # one threshold, except for the rest of the budget


def test_recoveries_leave_out_what_gates_have_trained_but_scratch_does_not(storage: Folder) -> None:
    for name, epochs in (("finetune", 1), ("rewind", 1), ("distill", 1), ("scratch", 3), ("scratch-b", 6)):
        plan, whole = (
            RECOVERIES[name](Pruned(spec.model_copy(update={"recovery": name}), 2.0, lambda: dense_network(storage)))
            for spec in (JOINT, UNGATED)
        )
        assert plan.epochs == epochs
        assert plan.recipe == whole.recipe  # the last epochs of the same recipe, with their learning rates
        assert plan.epochs in (whole.epochs, whole.epochs - 2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"policy": "uniform"}, "gates must come with a criterion or a policy that reads them"),
        ({"finetune": Recipe(epochs=1)}, "policy 'gates-joint' must train its gates within fine-tuning"),
        (
            {"schedule": Schedule(name="gradual", steps=2)},
            "gates must come with schedule 'one-shot', as they are trained for one",
        ),
        ({"criterion": "gates", "policy": "rdp"}, "criterion 'gates' must come with a policy that reads no profile"),
        ({"gates": Gates(shaping="sech")}, "shaping must be a known name, but got 'sech'; did you mean 'sech2'"),
        ({"granularity": "weight", "criterion": "magnitude"}, "policy 'gates-joint' must go with granularity channel"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, object], complaint: str) -> None:
    assert any(mismatch.startswith(complaint) for mismatch in checks.mismatches(JOINT.model_copy(update=changes)))


def test_the_names_that_read_gates_are_those_of_the_tables() -> None:
    needs = [*CRITERION_NEEDS.items(), *POLICY_NEEDS.items()]
    asking = {name for name, reads in needs if "gates" in reads.inputs}
    assert asking == {*GATED}
    assert [*needed(JOINT)] == [*JOINT.inputs] == ["gates"]


def test_settings_of_gates_change_only_the_keys_of_trials_with_gates() -> None:
    def study(gates: Gates) -> StudySpec:
        policies = ("uniform", "gates-joint")
        return StudySpec(name="s", granularity="channel", criteria=("l1", "gates"), policies=policies, gates=gates)

    plain, changed = ({(t.criterion, t.policy): t for t in study(gates).trials()} for gates in (Gates(), Gates(lr=9)))
    assert {key for key, trial in plain.items() if trial.key() != changed[key].key()} == {*plain} - {("l1", "uniform")}
    for trials in (plain, changed):
        assert cell_key(trials["l1", "uniform"]) == cell_key(trials["l1", "gates-joint"])
        assert cell_key(trials["l1", "uniform"]) != cell_key(trials["gates", "uniform"])

"""Train gates together with the weights of a dense network, to a budget, and store both."""

from collections import deque

import torch
from torch import Tensor, nn

from trainables.allocation.budget import dense_counts, total
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.artifacts.latency import saved_latency
from trainables.artifacts.record import CostRecord, GatingRecord
from trainables.checkpoints import artifact_store, checkpoint
from trainables.data.batches import Batch
from trainables.data.splits import AnySplits
from trainables.outcome import Cost
from trainables.outcome import total as sum_of
from trainables.pruning.channels import Channels
from trainables.pruning.gates import ChannelGates, TrainedGates
from trainables.pruning.rules import bounded
from trainables.spec import GatingSpec
from trainables.storage.folder import Folder
from trainables.task.objective import Objective
from trainables.training.fit import fit, residents
from trainables.training.record import TrainingRecord
from trainables.training.saves import State, resume
from trainables.training.team import ALONE, Team
from trainables.training.train import TrainingPlan, task_loss


def make_gating(
    spec: GatingSpec, splits: AnySplits, storage: Folder, folder: Folder, device: torch.device, team: Team = ALONE
) -> None:
    """Train gates together with the weights of a dense network that `storage` has, into `folder`.

    It resumes an earlier attempt that `storage` has. The loss is the task's + lambda |target - ratio|^p, where ratio
    is the kept fraction of the cost. The weights train by the first epochs of the fine-tuning recipe. For each epoch,
    the record has under "gates" how many gates were open in each part, how many flipped, and the cost that is left.
    """
    unfinished = artifact_store.unfinished(storage, f"gates-{spec.key()}")
    dense = saved_dense(storage, spec.dense)
    example = dense.architecture.example(device)
    table = None if spec.latency_table is None else saved_latency(storage, spec.latency_table)

    def gate(model: nn.Module) -> ChannelGates:
        channels = bounded(Channels(model, example), spec.layers)
        if table:
            channels = table.priced(channels)
        target = total(channels, spec.sparsity, spec.budget) / channels.cost(dense_counts(channels), spec.budget)
        return ChannelGates(channels, spec.gates, spec.budget, target)

    state = resume(unfinished, TrainingRecord, spec.dense.model, device, gate)
    if state is None:
        model = load_dense(dense, device)
        state = State(model, TrainingRecord(architecture=dense.architecture), [], gates=gate(model))
    assert state.gates is not None
    data, plan = residents(splits, device), _plan(spec, state.gates, splits.objective)
    with state.gates.attached():
        deque(fit(state, data, plan, unfinished, team=team), maxlen=0)
    cost = Cost(
        seconds=sum(report.seconds for report in state.history),
        evaluations=0,
        images=sum_of(report.images for report in state.history),
    )
    record = GatingRecord(
        architecture=state.record.architecture,
        history=tuple(state.history),
        gates=state.record.gates,
        spec=spec,
        data=spec.dense.data,
        cost=cost,
    )
    tensors = {"network": state.model.state_dict(), "gates": state.gates.by_part}
    checkpoint.save(folder, tensors, record.model_dump(mode="json"))
    unfinished.delete()


def _plan(spec: GatingSpec, gates: ChannelGates, objective: Objective) -> TrainingPlan:
    """Plan the first epochs of fine-tuning: as many as the gates need, even where the recipe has fewer."""
    recipe = spec.finetune.model_copy(update={"epochs": max(spec.finetune.epochs, spec.gates.epochs)})

    of_task = task_loss(objective, recipe)

    def loss(batch: Batch, outputs: Tensor) -> Tensor:
        return of_task(batch, outputs) + gates.penalty()

    skip_last = recipe.epochs - spec.gates.epochs
    return TrainingPlan(recipe, spec.dense.data.augment, spec.dense.seed, loss, skip_last=skip_last)


def load_gating(folder: Folder) -> tuple[TrainedGates, Cost]:
    """Load trained gates with their weights, and what they cost. Raises ValueError where they are damaged."""
    saved = checkpoint.load(folder)
    return TrainedGates(saved.tensors["gates"], saved.tensors["network"]), saved.read(CostRecord).cost

"""Dense networks: each is trained once and shared by all trials that start from it."""

import time
from collections import deque

import torch

from trainables.artifacts.record import DenseRecord
from trainables.checkpoints import artifact_store, checkpoint, pretrained
from trainables.checkpoints.checkpoint import Architecture, Checkpoint
from trainables.data.splits import AnySplits
from trainables.learnability.scores import draw_by
from trainables.models.trust import Trust
from trainables.spec import DenseSpec, EpochReport
from trainables.storage.folder import Folder
from trainables.training.fit import fit, residents
from trainables.training.record import TrainingRecord
from trainables.training.recorder import Recorder
from trainables.training.saves import State, resume
from trainables.training.team import ALONE, Team
from trainables.training.train import TrainingPlan, evaluate, to_device


def make_dense(
    spec: DenseSpec, splits: AnySplits, storage: Folder, folder: Folder, device: torch.device, team: Team = ALONE
) -> None:
    """Train the dense network of `spec` into `folder`; resume from the epochs that `storage` has of it.

    Training starts from the weights that `spec` names, if any. `folder` gets the network of the last epoch, its record
    with the validation accuracy and the history, and the measures of the training samples if `spec` records them. A
    curriculum reads the sample scores that `storage` has. Raises DivergedError where a loss is not finite.
    """
    unfinished = artifact_store.unfinished(storage, spec.key())
    data = residents(splits, device)
    recorder = Recorder.of(spec.record, splits, unfinished / "samples", spec)
    last = recorder.last_whole() if recorder else None
    state = resume(unfinished, TrainingRecord, spec.model, device, last=last)
    if state is None:
        started = time.perf_counter()
        architecture = Architecture.of(spec, splits.inputs)
        torch.manual_seed(spec.seed)
        fresh = architecture.build()
        pretrained.fill(fresh, spec)
        model = to_device(fresh, device)
        validation = evaluate(model, data[1])
        seconds = time.perf_counter() - started
        first = EpochReport(epoch=0, seconds=seconds, **validation.reported)
        state = State(model, TrainingRecord(architecture=architecture), [first])
    recipe = spec.recipe
    draw = draw_by(spec.curriculum, spec, splits, storage, recipe.epochs, recipe.batch_size)
    plan = TrainingPlan(recipe, spec.data.augment, spec.seed, draw=draw)
    deque(fit(state, data, plan, unfinished, recorder, team), maxlen=0)
    if recorder:
        recorder.finish(folder, recipe.epochs)
    record = DenseRecord(
        architecture=state.record.architecture,
        history=tuple(state.history),
        spec=spec,
        data=spec.data,
        val_accuracy=state.history[-1].val_accuracy,
        seconds=sum(report.seconds for report in state.history),
    )
    checkpoint.save(folder, {"network": state.model.state_dict()}, record.model_dump(mode="json"))
    unfinished.delete()


def saved_dense(storage: Folder, spec: DenseSpec) -> Checkpoint:
    """Load the dense network of `spec`; `storage` must have it. Raises ValueError where it is damaged."""
    folder = artifact_store.find(storage, "dense", spec.key())
    assert folder is not None, "a dense network must be trained before anything that starts from it"
    return checkpoint.load(folder, Trust([spec.model]))


def load_dense(dense: Checkpoint, device: torch.device) -> torch.nn.Module:
    """Rebuild a saved dense network on a device."""
    return to_device(dense.network(), device)

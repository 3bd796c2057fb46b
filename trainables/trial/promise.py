"""What a scheduler reads at epoch 0: how a pruned network answers over a short training."""

import copy
import math
import time

import torch

from trainables.arguments import outputs_of
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.data.splits import AnySplits
from trainables.outcome import total
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples
from trainables.training.saves import State
from trainables.training.short_training import BATCH, short_training
from trainables.trial.record import TrialRecord


@torch.no_grad()
def give_promise(
    spec: TrialSpec, state: State[TrialRecord], splits: AnySplits, storage: Folder, device: torch.device
) -> None:
    """Give the report of epoch 0 a promise: train a copy of the pruned network for a moment, and charge its cost.

    The promise is exp(-loss), with the mean loss of `short_training` (of logits, in nats): 1 for a network that
    predicts as the dense network does from the first step on, 0 for one whose training diverges. Where accuracy before
    training ranks allocations badly, the promise ranks them well (tests/benchmarks/RESULTS.md).
    """
    started = time.perf_counter()
    samples = calibration_samples(splits, spec.calibration, device)
    dense = load_dense(saved_dense(storage, spec.dense), device).eval()
    outputs = torch.cat([outputs_of(dense, inputs) for inputs in samples.inputs_of(BATCH)])
    reference = samples.objective.distance.reference(outputs)
    model = copy.deepcopy(state.model).eval()
    with torch.enable_grad():
        loss = short_training(model, state.masks, reference, samples, spec.finetune, spec.seed)
    first = state.history[0]
    seconds = first.seconds + time.perf_counter() - started
    images = total((first.images, samples.evaluations * len(samples)))
    update = {"promise": math.exp(-loss), "seconds": seconds, "images": images}
    state.history = [first.model_copy(update=update)]

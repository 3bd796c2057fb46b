"""One trial: prune the dense network to its budget, then let it recover; and how Ray Tune runs it."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch

from trainables.artifacts.dense import load_dense, saved_dense
from trainables.data.batches import Resident
from trainables.data.splits import Splits
from trainables.learnability.scores import draw_by
from trainables.outcome import Outcome, total
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.credentials import redacted
from trainables.storage.folder import Folder, StorageError
from trainables.training.fit import State, fit, keep_best, residents, resume, save_epoch
from trainables.training.process import WorkerResources, leave_no_trace, own_device
from trainables.training.recorder import Recorder
from trainables.training.recovery import RECOVERIES, Pruned, draw_anew
from trainables.training.team import ALONE, Team
from trainables.training.train import TrainingPlan, evaluate
from trainables.training.workers import team
from trainables.trial.prune import prune
from trainables.trial.record import TrialRecord
from trainables.trial.reports import TrialFailed, TrialLost, to_tune

QUIET_SECONDS = 0.5  # Tune hears of shorter epochs now and then: each report costs a trial some milliseconds
OUTCOME = "outcome.json"  # written last: the trial will not go on
STEPS = "pruning"  # folder of the epochs between two steps of a schedule, gone once the network is pruned
RECORDED = "samples"  # folder of the epochs recorded so far, gone once they are together


def run_trial(
    spec: TrialSpec, splits: Splits, storage: Folder, folder: Folder, device: torch.device, team: Team = ALONE
) -> Iterator[EpochReport]:
    """Run a trial, or go on with it from its newest checkpoint, and yield every epoch's report from epoch 0 on.

    storage: where the shared artifacts are. folder: this trial's own, in which only the best epoch's network is left.
    team: that this worker leads; it trains together, and all else is done here.
    """
    if ended := _done(folder):  # and its worker was lost before anybody heard of it
        _tidy(folder, ended)
        yield from ended.history
        return
    data = residents(splits, device)
    first = 1 if spec.record == "during" else 0  # what samples come up in; what may be asked about them
    recorder = Recorder.of(spec.record, splits.train, folder / RECORDED, spec, first)
    last = recorder.last_whole() if recorder else None
    begun = resume(folder, TrialRecord, spec.dense.model, device, last=last)
    state = begun or prune(spec, splits, data, storage, folder / STEPS, team)
    facts = state.record.facts
    pruned = Pruned(
        spec, facts.macs_total / facts.macs_kept, lambda: load_dense(saved_dense(storage, spec.dense), device)
    )
    plan = RECOVERIES[spec.recovery](pruned)
    batch_size = plan.recipe.batch_size
    draw = draw_by(spec.curriculum, spec.dense, splits.train, storage, plan.epochs, batch_size)
    if begun is None:
        _start(state, plan, data[1], spec.seed)
        if recorder and recorder.first == 0:
            recorder.end(0, state.model, data[0])
        save_epoch(folder, state)
    (folder / STEPS).delete()
    yield from tuple(state.history)
    yield from fit(state, data, replace(plan, draw=draw), folder, recorder, team)
    if recorder:
        recorder.finish(folder, plan.epochs)
    outcome = Outcome(spec=spec, status="done", facts=facts, history=tuple(state.history))
    write_outcome(folder, outcome)
    _tidy(folder, outcome)


def _start(state: State[TrialRecord], plan: TrainingPlan, val: Resident, seed: int) -> None:
    """Make epoch 0 what the recovery starts from."""
    first: dict[str, object] = {"final": plan.epochs == 0}
    if plan.reinitialise:
        draw_anew(state.model, state.masks, state.record.architecture, seed)
        judged = evaluate(state.model, val)
        first |= {"val_accuracy": judged.accuracy, "val_loss": judged.loss}
        first |= {"images": total((state.history[0].images, len(val)))}
    state.history = [state.history[0].model_copy(update=first)]


def _tidy(folder: Folder, outcome: Outcome) -> None:
    keep_best(folder, list(outcome.history))
    (folder / RECORDED).delete()


def _done(folder: Folder) -> Outcome | None:
    try:
        outcome = Outcome.model_validate_json(folder.read(OUTCOME))
    except (FileNotFoundError, ValueError):  # a damaged one counts as never written
        return None
    return outcome if outcome.status == "done" else None


def write_outcome(folder: Folder, outcome: Outcome) -> None:
    """Say how a trial ended; from here on it will not go on."""
    ended = datetime.now(UTC).isoformat(timespec="milliseconds")
    folder.write(OUTCOME, outcome.model_copy(update={"ended": ended}).model_dump_json().encode())


def prune_and_finetune(config: dict[str, Any], data: Mapping[str, Any], place: WorkerResources) -> None:
    """The Ray Tune trainable.

    config: "spec" (a TrialSpec as JSON), "storage" and "folder" (URIs). data: key of a DataSpec -> reference to its
    Splits in Ray's object store. A trial that fails by its own doing says so in its outcome and reports it; one that
    loses its storage reports that it is lost, as one that loses its worker cannot: both are tried again.
    """
    import ray
    from ray import tune

    spec = TrialSpec.model_validate_json(config["spec"])
    storage, folder = Folder.at(config["storage"]), Folder.at(config["folder"])
    leave_no_trace(place)
    reference = data[spec.dense.data.key()]
    try:
        last = -QUIET_SECONDS
        with team(place, reference) as together:
            for report in run_trial(spec, ray.get(reference), storage, folder, own_device(), together):
                if report.final or time.monotonic() - last >= QUIET_SECONDS:
                    tune.report(to_tune(report))
                    last = time.monotonic()
    except StorageError as error:
        tune.report(to_tune(TrialLost(str(error))))
    except (OSError, ray.exceptions.RayError):
        raise
    except Exception as error:
        message = redacted(f"{type(error).__name__}: {error}")
        write_outcome(folder, Outcome(spec=spec, status="failed", error=message))
        tune.report(to_tune(TrialFailed(message)))

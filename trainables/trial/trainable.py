"""One trial: prune the dense network to the budget, then recover. And the function that Ray Tune runs."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch

from trainables.artifacts.dense import load_dense, saved_dense
from trainables.checkpoints.checkpoint import CPU
from trainables.data.batches import Resident
from trainables.data.splits import AnySplits
from trainables.evaluate import load_trial
from trainables.exports.export import INT8
from trainables.learnability.scores import draw_by
from trainables.mistakes import in_one_line
from trainables.models.trust import Trust
from trainables.outcome import Facts, Outcome, total
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import Folder, StorageError
from trainables.training.fit import fit, residents
from trainables.training.process import WorkerResources, own_device, prepare_process
from trainables.training.recorder import Recorder
from trainables.training.recovery import Pruned, recovery, reinitialise
from trainables.training.saves import State, keep_best, resume, save_epoch
from trainables.training.team import ALONE, Team
from trainables.training.train import TrainingPlan, evaluate
from trainables.training.workers import team
from trainables.trial.promise import give_promise
from trainables.trial.prune import prune
from trainables.trial.quantisation import quantised
from trainables.trial.record import TrialRecord
from trainables.trial.reports import TrialFailed, TrialLost, to_tune

QUIET_SECONDS = 0.5  # at least, between two reports to Tune, and two saves: each costs a trial some milliseconds
OUTCOME = "outcome.json"  # written last: the trial has ended
STEPS = "pruning"  # folder of the epochs between two steps of a schedule; deleted after the network is pruned
RECORDED = "samples"  # folder of the epochs recorded so far; deleted after `finish` has merged them


def run_trial(
    spec: TrialSpec,
    splits: AnySplits,
    storage: Folder,
    folder: Folder,
    device: torch.device,
    team: Team = ALONE,
    judged: bool = False,
    hear: Callable[[Facts], None] = lambda facts: None,
    pause: float = 0.0,
) -> Iterator[EpochReport]:
    """Run a trial, or resume it from its newest checkpoint, and yield the report of every epoch from epoch 0 on.

    storage: has the shared artifacts. folder: of this trial; at the end it has the network of the best epoch only.
    team: this worker leads it; all workers train, and this one does everything else. judged: whether a scheduler reads
    the reports; epoch 0 then has a promise, if the recovery trains the weights that pruning kept. hear: gets what is
    known after pruning, before the first report. pause: seconds between two saves, as for `fit`. Raises ValueError
    where the spec cannot be carried out, DivergedError where a loss is not finite, StorageError where the storage
    fails.
    """
    if ended := _done(folder):  # the worker was lost after it wrote the outcome and before its last report arrived
        _tidy(folder, ended)
        if ended.facts:
            hear(ended.facts)
        yield from ended.history
        return
    data = residents(splits, device)
    first = 1 if spec.record == "during" else 0  # epoch 0 has no training steps to record
    recorder = Recorder.of(spec.record, splits, folder / RECORDED, spec, first)
    last = recorder.last_whole() if recorder else None
    resumed = resume(folder, TrialRecord, spec.dense.model, device, last=last)
    state = resumed or prune(spec, splits, data, storage, folder / STEPS, team)
    facts = state.record.facts
    hear(facts)
    pruned = Pruned(
        spec,
        facts.macs_total / facts.macs_kept,
        lambda: load_dense(saved_dense(storage, spec.dense), device),
        splits.objective,
    )
    plan = recovery(spec.recovery)(pruned)
    batch_size = plan.recipe.batch_size
    draw = draw_by(spec.curriculum, spec.dense, splits, storage, plan.epochs, batch_size)
    if resumed is None:
        _start(state, plan, data[1], spec.seed)
        if judged and spec.trains_kept_weights:
            give_promise(spec, state, splits, storage, device)
        if recorder and recorder.first == 0:
            recorder.end(0, state.model, data[0])
        save_epoch(folder, state, splits.objective.metric.spec)
    (folder / STEPS).delete()
    yield from tuple(state.history)
    yield from fit(state, data, replace(plan, draw=draw), folder, recorder, team, pause)
    if recorder:
        recorder.finish(folder, plan.epochs)
    outcome = Outcome(spec=spec, status="done", facts=facts, history=tuple(state.history))
    if spec.quantise == INT8:
        network = load_trial(folder, outcome, CPU, Trust([spec.dense.model]))
        found = quantised(network, splits, spec.calibration, spec.device if spec.latency else None)
        outcome = outcome.model_copy(update={"quantised": found})
    write_outcome(folder, outcome)
    _tidy(folder, outcome)


def _start(state: State[TrialRecord], plan: TrainingPlan, val: Resident, seed: int) -> None:
    """Set epoch 0 to the network that the recovery starts from; draw its weights again if the plan says so."""
    update: dict[str, object] = {"final": plan.epochs == 0}
    if plan.reinitialise:
        reinitialise(state.model, state.masks, state.record.architecture, seed)
        update |= evaluate(state.model, val).reported
        update |= {"images": total((state.history[0].images, len(val)))}
    state.history = [state.history[0].model_copy(update=update)]


def _tidy(folder: Folder, outcome: Outcome) -> None:
    keep_best(folder, outcome.history, outcome.spec.dense.data.task.metric)
    (folder / RECORDED).delete()


def _done(folder: Folder) -> Outcome | None:
    try:
        outcome = Outcome.from_file(folder.read(OUTCOME))
    except (FileNotFoundError, ValueError):  # a damaged outcome counts as never written
        return None
    return outcome if outcome.status == "done" else None


def write_outcome(folder: Folder, outcome: Outcome) -> None:
    """Write how a trial ended, with the time. A trial with an outcome does not resume."""
    ended = datetime.now(UTC).isoformat(timespec="milliseconds")
    folder.write(OUTCOME, outcome.model_copy(update={"ended": ended}).to_file())


def prune_and_finetune(config: dict[str, Any], data: Mapping[str, Any], resources: WorkerResources) -> None:
    """Run a trial as Ray Tune's trainable.

    config: "spec" (a TrialSpec as JSON), "storage" and "folder" (URIs), "judged" (whether a scheduler reads the
    reports). data: key of a DataSpec -> reference to its
    Splits in Ray's object store. resources: of this trial. A trial that fails by an error of its own writes this to its
    outcome and reports it. A trial that loses its storage reports that it is lost; a trial that loses its worker cannot
    report. Ray Tune repeats both.
    """
    import ray
    from ray import tune

    spec = TrialSpec.model_validate_json(config["spec"])
    storage, folder = Folder.at(config["storage"]), Folder.at(config["folder"])
    prepare_process(resources)
    reference = data[spec.dense.data.key()]
    costs: dict[str, float] = {}
    try:
        judged: bool = config["judged"]
        last = -QUIET_SECONDS if judged else time.monotonic()
        pause = 0.0 if judged else QUIET_SECONDS  # a scheduler reads the newest epoch
        with team(resources, reference) as workers:
            splits, device = ray.get(reference), own_device()
            reports = run_trial(
                spec, splits, storage, folder, device, workers, judged, lambda facts: costs.update(facts.costs), pause
            )
            for report in reports:
                if report.final or time.monotonic() - last >= QUIET_SECONDS:
                    tune.report(to_tune(report, costs))
                    last = time.monotonic()
    except StorageError as error:
        tune.report(to_tune(TrialLost(str(error))))
    except (OSError, ray.exceptions.RayError):
        raise
    except Exception as error:
        message = in_one_line(error)
        write_outcome(folder, Outcome(spec=spec, status="failed", error=message))
        tune.report(to_tune(TrialFailed(message)))

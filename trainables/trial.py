"""One trial: prune the dense network to its budget, then let it recover. The only file here that knows Ray."""

import ctypes
import gc
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables import artifacts, checkpoints
from trainables.allocation.plan import looks_at_samples, plan
from trainables.allocation.policies import POLICIES
from trainables.checkpoints import Architecture
from trainables.data.batches import Resident
from trainables.data.splits import Splits
from trainables.learning.calibration import calibration_samples
from trainables.learning.dense import load_dense
from trainables.learning.fit import fit, newest_epoch, residents, save_epoch
from trainables.learning.profile import load_profile
from trainables.learning.recovery import recalibrate
from trainables.learning.train import evaluate, place
from trainables.outcome import Facts, Outcome
from trainables.pruning.layers import Masks, count
from trainables.spec import EpochReport, TrialSpec
from trainables.storage import Folder

QUIET_SECONDS = 0.5  # Tune hears of shorter epochs now and then: each report costs a trial some milliseconds
OUTCOME = "outcome.json"  # written last: the trial will not go on
Data = tuple[Resident, Resident]  # training and validation samples


@dataclass(frozen=True)
class _State:
    """A trial between two epochs."""

    model: nn.Module
    masks: Masks
    momenta: Mapping[str, Tensor]
    record: dict[str, Any]  # the spec, the architecture and the facts
    history: list[EpochReport]


def run_trial(
    spec: TrialSpec, splits: Splits, storage: Folder, folder: Folder, device: torch.device
) -> Iterator[EpochReport]:
    """Run a trial, or go on with it from its newest checkpoint, and yield every epoch's report from epoch 0 on.

    storage: where the shared artifacts are. folder: this trial's own.
    """
    data = residents(splits, device)
    state = _go_on(folder, device) or _prune(spec, splits, data, storage, folder, device)
    history = state.history
    yield from tuple(history)
    for report in fit(
        state.model,
        state.masks,
        data,
        spec.finetune,
        spec.dense.data,
        spec.seed,
        folder,
        state.record,
        history,
        state.momenta,
    ):
        history.append(report)
        yield report
    write_outcome(folder, Outcome(spec=spec, status="done", facts=state.record["facts"], history=tuple(history)))


def write_outcome(folder: Folder, outcome: Outcome) -> None:
    """Say how a trial ended; from here on it will not go on."""
    folder.write(OUTCOME, outcome.model_dump_json().encode())


def _go_on(folder: Folder, device: torch.device) -> _State | None:
    saved = newest_epoch(folder)
    if saved is None:
        return None
    built = Architecture.model_validate(saved.record["architecture"])
    model = place(checkpoints.rebuild(built, saved.tensors["network"]), device)
    masks = {name: mask.to(device) for name, mask in saved.tensors.get("masks", {}).items()}
    history = [EpochReport.model_validate(report) for report in saved.record.pop("history")]
    return _State(model, masks, saved.tensors.get("momenta", {}), saved.record, history)


def _prune(
    spec: TrialSpec, splits: Splits, data: Data, storage: Folder, folder: Folder, device: torch.device
) -> _State:
    started = time.perf_counter()
    found = artifacts.find(storage, "dense", spec.dense.key())
    assert found is not None, "dense networks are made before the trials"
    dense = checkpoints.load(found)
    model = load_dense(dense, device)
    example = Architecture.model_validate(dense.record["architecture"]).example().to(device)
    before = count(model, {}, example)
    profile, profile_seconds = None, 0.0
    if POLICIES[spec.policy].profiled:
        made = artifacts.find(storage, "profile", spec.profile.key())
        assert made is not None, "profiles are made before the trials that look at them"
        profile, profile_seconds = load_profile(made)
    calibration = calibration_samples(splits, spec.calibration, device) if looks_at_samples(spec) else None
    chosen = plan(model, example, spec, calibration, profile)
    masks = chosen.carry_out()
    after = count(model, masks, example)
    one_shot = evaluate(model, data[1])
    recalibrate(model, data[0], spec.recalibrate, spec.finetune.batch_size, spec.seed)
    recalibrated = evaluate(model, data[1])
    seconds = time.perf_counter() - started
    facts = Facts(
        dense_accuracy=dense.record["val_accuracy"],
        one_shot_accuracy=one_shot.accuracy,
        recalibrated_accuracy=recalibrated.accuracy,
        params_total=before.params_kept,
        params_kept=after.params_kept,
        macs_total=before.macs_kept,
        macs_kept=after.macs_kept,
        layers={name: after.weights[name] / size for name, size in before.weights.items()},
        parts=chosen.parts,
        allocation_seconds=chosen.seconds,
        profile_seconds=profile_seconds,
        prune_seconds=seconds,
        hardware=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    )
    record = {
        "spec": spec.model_dump(mode="json"),
        "data": spec.dense.data.model_dump(mode="json"),
        "architecture": dense.record["architecture"],
        "facts": facts.model_dump(mode="json"),
    }
    history = [EpochReport(epoch=0, val_accuracy=recalibrated.accuracy, val_loss=recalibrated.loss, seconds=seconds)]
    save_epoch(folder, model, masks, {}, record, history)
    return _State(model, masks, {}, record, history)


def prune_and_finetune(config: dict[str, Any], data: Mapping[str, Any]) -> None:
    """The Ray Tune trainable.

    config: "spec" (a TrialSpec as JSON), "storage" and "folder" (URIs) and "cpus". data: key of a DataSpec -> reference
    to its Splits in Ray's object store. A trial that fails by its own doing says so in its outcome and reports it; a
    lost worker or storage is left to Ray's retries.
    """
    import ray
    from ray import tune

    spec = TrialSpec.model_validate_json(config["spec"])
    storage, folder = Folder.at(config["storage"]), Folder.at(config["folder"])
    leave_no_trace(config["cpus"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        splits = ray.get(data[spec.dense.data.key()])
        last, best = -QUIET_SECONDS, 0.0
        for report in run_trial(spec, splits, storage, folder, device):
            best = max(best, report.val_accuracy)
            if report.epoch == spec.finetune.epochs or time.monotonic() - last >= QUIET_SECONDS:
                tune.report({**report.model_dump(), "best_val_accuracy": best})
                last = time.monotonic()
    except (OSError, ray.exceptions.RayError):
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        write_outcome(folder, Outcome(spec=spec, status="failed", error=told))
        tune.report({"epoch": -1, "val_accuracy": 0.0, "error": told})


def leave_no_trace(cpus: float) -> None:
    """Start from a clean process, as actors are reused: its own threads, no memory of the trial before."""
    torch.set_num_threads(max(1, int(cpus)))
    _keep_freed_memory()
    if torch.cuda.is_available():
        gc.collect()  # a quarter of a second, which short trials on a CPU need not pay: they leave no memory in cycles
        torch.cuda.empty_cache()


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: each step asks for it again, and page faults cost small networks a tenth of it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(trim_threshold, -1)
        mallopt(mmap_threshold, 32 << 20)  # the most that it takes

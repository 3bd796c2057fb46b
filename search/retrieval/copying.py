"""Copies of trials' networks: their checksums are checked, and a clean process rebuilds and evaluates them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from search.results.versions import versions
from search.retrieval.int8_files import Int8File, Int8Writer
from search.retrieval.latency import LatencyMeter, best_checkpoint, measure
from search.retrieval.record import BestRecord
from trainables.checkpoints import checkpoint, manifest
from trainables.checkpoints.checkpoint import CPU, Checkpoint
from trainables.checkpoints.record import TrainedRecord
from trainables.data_spec import DataSpec
from trainables.evaluate import VERIFICATIONS, Verification, rebuild
from trainables.exports.export import INT8, KINDS, export
from trainables.exports.latency import Speed
from trainables.frozen import Frozen
from trainables.models.inputs import Dtype, TensorSpec
from trainables.models.layers import inventory
from trainables.models.trust import Trust
from trainables.storage.folder import Folder
from trainables.trial.quantisation import INT8_FILE

SAME_HARDWARE, OTHER_HARDWARE = 0.001, 0.005  # largest difference of verified and reported, as a share above 1
LIBRARIES = ("howcompact", "torch", "torchvision", "numpy", "safetensors")


class Registered(Frozen):
    """A version in MLflow's model registry."""

    uri: str  # for mlflow.pyfunc.load_model
    version: int
    tracking: str  # address of MLflow


class Retrieved(Frozen):
    """A network that was copied and verified. Accuracies, or values of another metric, are on validation samples."""

    checkpoint: str  # the folder of the copy
    study: str
    trial: str
    model: str
    image: tuple[int, ...]  # channels, height, width in pixels; the shape of another input
    dtype: Dtype  # of the input
    tensors: tuple[TensorSpec, ...]  # of an input of several, the first of which `image` and `dtype` describe
    task: str  # function of the user's Task; empty for the classification of images
    policy: str
    criterion: str
    schedule: str
    rules: str  # rules for layers; empty if there are none
    compensation: str
    recovery: str
    curriculum: str
    sparsity: float
    seed: int
    epoch: int
    params_kept: int
    params_total: int
    macs_kept: int
    macs_total: int
    params_fixed: int  # parameters that are never pruned, beside `params_kept`
    metric: str  # it names the next two fields
    higher_is_better: bool
    reported_accuracy: float
    verified_accuracy: float
    other_metrics: dict[str, float]  # of the task, verified: name -> value
    layers: dict[str, float]  # layer -> density
    bytes: int  # of its tensors on disk
    exports: list[str]  # files beside them
    reported_quantised_accuracy: float | None  # by the trial; None if it did not quantise
    verified_quantised_accuracy: float | None  # of the exported int8 file, in a clean process; None: not exported
    quantised_bytes: int | None = None  # this field and the next three as in `Int8File`
    exported_bytes: int | None = None
    quantised_latency_ms: float | None = None
    exported_latency_ms: float | None = None
    speeds: list[Speed]  # on this machine, beside the dense network
    registered: Registered | None = None


@dataclass(frozen=True)
class Destination:
    """Where the network of a trial goes."""

    row: TrialRow
    data: DataSpec  # where its data set is now
    final: str  # the folder in the end
    path: Path  # the folder while it is filled

    @property
    def folder(self) -> Folder:
        """The folder while it is filled."""
        return Folder.at(str(self.path))


def retrieve(
    folder: StudyFolder, destinations: Sequence[Destination], exports: Sequence[str], meter: LatencyMeter
) -> list[Retrieved]:
    """Copy the networks of trials, evaluate them again, export and time them.

    Raises ValueError where a file differs from its checksum, where an accuracy differs from the reported one by more
    than hardware explains, and where an export fails.
    """
    for destination in destinations:
        _copy(folder, destination)
    writer = Int8Writer() if INT8 in exports else None
    int8_files = [
        writer.write(checkpoint.load(destination.folder, folder.trust), destination.path) if writer else None
        for destination in destinations
    ]
    verifications = _evaluate([each.path for each in destinations], folder.trust, INT8_FILE if writer else "")
    for destination, verification in zip(destinations, verifications, strict=True):
        _compare(destination.row, verification)
    return [
        _complete(folder.study.name, destination, verification, int8_file, exports, meter, folder.trust)
        for destination, verification, int8_file in zip(destinations, verifications, int8_files, strict=True)
    ]


def _copy(folder: StudyFolder, destination: Destination) -> None:
    saved = best_checkpoint(folder, destination.row)
    record = saved.record | {
        "data": saved.read(TrainedRecord).data.found_by(destination.data).model_dump(mode="json"),
        "architecture": saved.architecture.model_dump(mode="json"),
    }
    checkpoint.save(destination.folder, {"network": saved.tensors.get("network", {})}, record)


def _evaluate(paths: Sequence[Path], trust: Trust, int8: str) -> list[Verification]:
    """Evaluate copied networks in a process that knows nothing but their folders. int8: name of a file in each."""
    trusted = [f"--trust={model}" for model in trust.models]
    command = [sys.executable, "-m", "trainables.evaluate", *trusted, f"--int8={int8}", "--", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2].removeprefix("ValueError: ")  # of a traceback
        raise ValueError(f"the copied network must rebuild in a clean process, but failed: {last}")
    return VERIFICATIONS.validate_json(done.stdout.splitlines()[-1])


def _compare(row: TrialRow, verification: Verification) -> None:
    """Raise ValueError where the copy of a network does not reach what its trial reported."""
    assert row.best_val_accuracy is not None
    reached = {row.metric: verification.val_accuracy} | verification.other_metrics
    for name, reported in ({row.metric: row.best_val_accuracy} | row.other_metrics).items():
        allowed = allowed_difference(row.hardware, verification.hardware, reported)
        if abs(reached[name] - reported) > allowed:
            raise ValueError(
                f"the copied network of trial {row.trial} must reach its reported {name} {reported:.4f} within "
                f"{allowed:g}, but reached {reached[name]:.4f}; its data or its checkpoint has changed since"
            )


def allowed_difference(hardware: str, other: str, value: float = 1.0) -> float:
    """Return how far two measurements of one value may differ. hardware, other: where they were made."""
    return (SAME_HARDWARE if hardware == other else OTHER_HARDWARE) * max(1.0, abs(value))


def _complete(
    study: str,
    destination: Destination,
    verification: Verification,
    int8_file: Int8File | None,
    exports: Sequence[str],
    meter: LatencyMeter,
    trust: Trust,
) -> Retrieved:
    """Add exports and the fields of a `BestRecord` to a copy. The manifest is written last and covers all files."""
    row, folder = destination.row, destination.folder
    copied = checkpoint.load(folder, trust)
    names = [_export(copied, destination.path, kind) for kind in exports]
    files = manifest.read_files(folder)
    assert row.best_epoch is not None
    assert row.best_val_accuracy is not None
    record = BestRecord(
        study=study,
        trial=row.trial,
        epoch=row.best_epoch,
        result=row,
        reported_accuracy=row.best_val_accuracy,
        params_fixed=inventory(rebuild(copied, CPU), copied.architecture.example()).params_fixed,
        verified_accuracy=verification.val_accuracy,
        verified_on=verification.hardware,
        input=verification.input,
        versions=versions(LIBRARIES),
    )
    content = copied.record | record.model_dump(mode="json")
    files[manifest.RECORD] = json.dumps(content, indent=1, allow_nan=False).encode()
    manifest.write_files(folder, files | {name: folder.read(name) for name in names})
    manifest.read_files(folder)
    speeds = [meter.speed(row)]
    if "onnx" in exports and meter.device != "onnxruntime-cpu":
        speeds.append(measure(copied, "onnxruntime-cpu"))
    own = {"params_fixed", "other_metrics", *Int8File.model_fields}
    shared = set(Retrieved.model_fields) & set(TrialRow.model_fields) - own
    return Retrieved(
        **{name: getattr(row, name) for name in shared},
        checkpoint=destination.final,
        study=record.study,
        image=copied.architecture.image,
        dtype=copied.architecture.dtype,
        tensors=copied.architecture.tensors,
        task=destination.data.task.function,
        epoch=record.epoch,
        params_fixed=record.params_fixed,
        reported_accuracy=record.reported_accuracy,
        verified_accuracy=record.verified_accuracy,
        other_metrics=verification.other_metrics,
        bytes=len(files["network.safetensors"]),
        exports=[os.path.join(destination.final, name) for name in names],
        reported_quantised_accuracy=row.quantised_accuracy,
        verified_quantised_accuracy=verification.quantised_accuracy,
        **(int8_file.model_dump() if int8_file else {}),
        speeds=speeds,
    )


def _export(copied: Checkpoint, path: Path, kind: str) -> str:
    """Export a network into `path`, where an int8 file already is; return the name of the file."""
    if kind == INT8:
        return INT8_FILE
    file = path / f"network{KINDS[kind].suffix}"
    return export(rebuild(copied, CPU), copied.architecture.example(), file, kind).path.name

"""Copies of trials' networks: checksums checked on both sides, rebuilt and judged again in a clean process."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search.results.data_at_hand import DataName, name_of
from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from search.results.versions import versions
from search.retrieval.latency import LatencyMeter, checkpoint_of, measure
from trainables.checkpoints import checkpoint, manifest
from trainables.evaluate import load_pruned
from trainables.exports.export import KINDS, export
from trainables.exports.latency import Speed
from trainables.frozen import Frozen
from trainables.spec import DataSpec
from trainables.storage.folder import Folder
from trainables.storage.strict_json import from_json

SAME_HARDWARE, OTHER_HARDWARE = 0.001, 0.005  # how far a re-evaluated accuracy may be from the reported one
LIBRARIES = ("howcompact", "torch", "torchvision", "numpy", "safetensors")


class Registered(Frozen):
    """A version in MLflow's model registry."""

    uri: str  # what mlflow.pyfunc.load_model takes
    version: int
    tracking: str  # where MLflow is


class Retrieved(Frozen):
    """A network that was copied and verified. Accuracies are on validation samples."""

    checkpoint: str  # the folder that it was copied to
    study: str
    trial: str
    model: str
    image: tuple[int, int, int]  # channels, height, width in pixels
    policy: str
    criterion: str
    schedule: str
    recovery: str
    curriculum: str
    sparsity: float
    seed: int
    epoch: int
    params_kept: int
    params_total: int
    macs_kept: int
    macs_total: int
    reported_accuracy: float
    verified_accuracy: float
    layers: dict[str, float]  # layer -> density
    bytes: int  # of its tensors on disk
    exports: list[str]  # files beside them
    speeds: list[Speed]  # on this machine, beside the dense network
    registered: Registered | None = None


def take(
    folder: StudyFolder,
    data: Mapping[DataName, DataSpec],
    chosen: Mapping[str, TrialRow],
    places: Mapping[str, Path],
    exports: Sequence[str],
    watch: LatencyMeter,
    trust: Sequence[str],
) -> list[Retrieved]:
    """Copy the networks of chosen trials, judge them again, export them.

    data: where the data sets of these trials are now. chosen: final folder -> trial. places: final folder -> where its
    files are written now. trust: as for `checkpoints.load`. Raises ValueError where a file differs from its checksum,
    where an accuracy differs from the reported one by more than the same network's may on that hardware, and where an
    export refuses.
    """
    for home, row in chosen.items():
        _copy(folder, data[name_of(row)], row, places[home], trust)
    verdicts = _judge([places[home] for home in chosen], trust)
    for row, verdict in zip(chosen.values(), verdicts, strict=True):
        _refuse_mismatch(row, verdict)
    return [
        _complete(row, home, places[home], verdict, exports, watch, trust)
        for (home, row), verdict in zip(chosen.items(), verdicts, strict=True)
    ]


def _copy(folder: StudyFolder, data: DataSpec, row: TrialRow, place: Path, trust: Sequence[str]) -> None:
    saved = checkpoint.load(checkpoint_of(folder, row), trust)
    record = {
        **saved.record,
        "data": DataSpec.model_validate(saved.record["data"]).found_by(data).model_dump(mode="json"),
        "architecture": saved.architecture.model_dump(mode="json"),
        "study": folder.study.name,
        "trial": row.trial,
        "epoch": row.best_epoch,
        "result": row.model_dump(mode="json"),
        "reported_accuracy": row.best_val_accuracy,
    }
    checkpoint.save(Folder.at(str(place)), {"network": saved.tensors.get("network", {})}, record)


def _judge(places: Sequence[Path], trust: Sequence[str]) -> list[dict[str, Any]]:
    trusted = [f"--trust={model}" for model in trust]
    command = [sys.executable, "-m", "trainables.evaluate", *trusted, "--", *map(str, places)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(
            f"the copied network must rebuild in a clean process, but failed: {done.stderr.strip()[-500:]}"
        )
    told: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return told


def _refuse_mismatch(row: TrialRow, verdict: Mapping[str, Any]) -> None:
    assert row.best_val_accuracy is not None
    allowed = SAME_HARDWARE if row.hardware == verdict["hardware"] else OTHER_HARDWARE
    if abs(verdict["val_accuracy"] - row.best_val_accuracy) > allowed:
        raise ValueError(
            f"the copied network of trial {row.trial} must reach its reported accuracy {row.best_val_accuracy:.4f} "
            f"within {allowed}, but reached {verdict['val_accuracy']:.4f}; its data or its checkpoint has changed since"
        )


def _complete(
    row: TrialRow,
    home: str,
    place: Path,
    verdict: Mapping[str, Any],
    exports: Sequence[str],
    watch: LatencyMeter,
    trust: Sequence[str],
) -> Retrieved:
    """Add exports and what the judgement showed; the manifest comes last and covers all."""
    target = Folder.at(str(place))
    written = _export(place, exports, trust)
    files = manifest.read_files(target)
    record = from_json(files["record.json"].decode()) | {
        "verified_accuracy": verdict["val_accuracy"],
        "verified_on": verdict["hardware"],
        "input": verdict["input"],
        "versions": versions(LIBRARIES),
    }
    files["record.json"] = json.dumps(record, indent=1, allow_nan=False).encode()
    manifest.write_files(target, files | {name: target.read(name) for name in written})
    manifest.read_files(target)
    speeds = [watch.speed(row)] + ([measure(target, "onnxruntime", trust)] if "onnx" in exports else [])
    shared = set(Retrieved.model_fields) & set(TrialRow.model_fields)
    return Retrieved(
        **{name: getattr(row, name) for name in shared},
        checkpoint=home,
        study=record["study"],
        image=record["architecture"]["image"],
        epoch=record["epoch"],
        reported_accuracy=record["reported_accuracy"],
        verified_accuracy=record["verified_accuracy"],
        bytes=len(files["network.safetensors"]),
        exports=[os.path.join(home, name) for name in written],
        speeds=speeds,
    )


def _export(place: Path, kinds: Sequence[str], trust: Sequence[str]) -> list[str]:
    if not kinds:
        return []
    target = Folder.at(str(place))
    example = checkpoint.load(target, trust).architecture.example()
    model = load_pruned(target.uri, trust)
    return [export(model, example, place / f"network{KINDS[kind].suffix}", kind).path.name for kind in kinds]

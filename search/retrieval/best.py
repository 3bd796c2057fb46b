"""The best network of a study, or its whole Pareto front, copied to a folder that is replaced whole or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from search.results.data_at_hand import DataName, data_at_hand, name_of
from search.results.folder import StudyFolder
from search.results.out_folder import refuse_out
from search.results.rows import TrialRow
from search.results.to_json import to_json
from search.retrieval.atomic_folder import replacing
from search.retrieval.choosing import BestRequest, choose, choose_front
from search.retrieval.copying import Destination, Retrieved, retrieve
from search.retrieval.latency import LatencyMeter
from search.retrieval.record import VerifiedRecord
from search.retrieval.registry import Registry
from trainables.checkpoints import manifest
from trainables.data_spec import DataSpec
from trainables.exports import export
from trainables.frozen import Frozen
from trainables.storage.folder import Folder
from trainables.storage.strict_json import from_json

FRONT = "front.json"


class Front(Frozen):
    """A study's Pareto front. Each network is in a folder of its own."""

    folder: str
    metric: str
    where: list[str]
    networks: list[Retrieved]  # the best by the metric first


def best(folder: StudyFolder, request: BestRequest) -> Retrieved:
    """Copy, verify and export the network that `choose` finds, and register it in MLflow.

    After an error, `request.out` is as it was. Raises ValueError where no trial fits, where `request.out` holds other
    files, and as `retrieve` and `Registry` do.
    """
    _check(request.out, request.export)
    registry = Registry(folder, request.register) if request.register else None
    meter = LatencyMeter(folder, request.device)
    rows, data = _on_data_at_hand(folder)
    row = choose(rows, request, meter.milliseconds)
    with replacing(request.out) as fresh:
        destination = Destination(row, data[name_of(row)], request.out, fresh)
        (network,) = retrieve(folder, [destination], request.export, meter)
        if registry:
            network = network.model_copy(update={"registered": registry.add(fresh, network)})
    return network


def best_front(folder: StudyFolder, request: BestRequest) -> Front:
    """Do as `best` with every network that `choose_front` finds, and list the networks in `front.json`.

    Each network has a folder of its own in `request.out`. None is registered in MLflow.
    """
    _check(request.out, request.export)
    meter = LatencyMeter(folder, request.device)
    rows, data = _on_data_at_hand(folder)
    rows = choose_front(rows, request, meter.milliseconds)
    with replacing(request.out) as fresh:
        names = [f"{row.policy}-{row.sparsity:g}-{row.trial}" for row in rows]
        destinations = [
            Destination(row, data[name_of(row)], os.path.join(request.out, name), fresh / name)
            for row, name in zip(rows, names, strict=True)
        ]
        networks = retrieve(folder, destinations, request.export, meter)
        front = Front(folder=request.out, metric=request.metric, where=list(request.where), networks=networks)
        Folder.at(str(fresh)).write(FRONT, to_json(front, indent=1).encode())
    return front


def _on_data_at_hand(folder: StudyFolder) -> tuple[list[TrialRow], dict[DataName, DataSpec]]:
    """Find the data sets for the evaluation of copies; leave out the finished trials whose data set is missing."""
    rows = folder.rows()
    data = data_at_hand(folder, [row for row in rows if row.status == "done"])
    return [row for row in rows if row.status != "done" or name_of(row) in data], data


def _check(out: str, exports: Sequence[str]) -> None:
    """Raise ValueError for a folder that `best` may not replace, and for exports that this machine cannot write."""
    refuse_out(out)
    if os.path.lexists(out) and not set(os.listdir(out)) <= _own_files(Path(out)):
        raise ValueError(f"--out must be a new folder or one that best has filled, but {out} is neither; name another")
    for kind in exports:
        export.check(kind)


def _own_files(path: Path) -> set[str]:
    """Name the files and folders in `path` that `best` has written, each without a file of anybody else."""
    folder = Folder.at(str(path))
    if folder.has(FRONT):
        names = [Path(network["checkpoint"]).name for network in from_json(folder.read(FRONT).decode())["networks"]]
        return {FRONT} | {name for name in names if set(os.listdir(path / name)) <= _own_files(path / name)}
    if not (folder.has(manifest.MANIFEST) and folder.has(manifest.RECORD)):
        return set()
    try:
        VerifiedRecord.model_validate(from_json(folder.read(manifest.RECORD).decode()))
    except ValidationError:
        return set()
    return {manifest.MANIFEST, *manifest.listed(folder)}

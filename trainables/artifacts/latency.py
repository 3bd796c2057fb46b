"""Latency tables as artifacts: each is measured once for all trials of a network, or copied from elsewhere."""

import time

import torch

from trainables.artifacts.record import LatencyTableRecord
from trainables.checkpoints import artifact_store, manifest
from trainables.checkpoints.checkpoint import Architecture
from trainables.checkpoints.manifest import RECORD
from trainables.data.splits import AnySplits
from trainables.latency.measuring import inputs_of, measure
from trainables.latency.table import LatencyTable
from trainables.outcome import Cost
from trainables.pruning.granularities import view
from trainables.spec import DenseSpec, LatencySpec
from trainables.storage.folder import Folder

TABLE = "latency.parquet"
NOTHING = Cost(seconds=0.0, evaluations=0, images=0)


def make_latency(spec: LatencySpec, splits: AnySplits, storage: Folder, folder: Folder, device: torch.device) -> None:
    """Measure a network of random weights on this machine, or check the table that the settings name; write it.

    Raises ValueError for a table of another network.
    """
    started = time.perf_counter()
    built = Architecture.of(DenseSpec(model=spec.model, width=spec.width, data=spec.data), splits.inputs)
    model, example = built.build(), built.example()
    if spec.device.table:
        table = LatencyTable.at(spec.device.table)
        table.refuse_other(view(model, spec.granularity, example, spec.round_to), inputs_of(example))
    else:
        table = measure(model, example, spec.model, spec.granularity, spec.round_to, spec.device)
    cost = NOTHING.model_copy(update={"seconds": time.perf_counter() - started})
    record = LatencyTableRecord(spec=spec, cost=cost)
    manifest.write_files(folder, {TABLE: table.to_parquet(), RECORD: record.model_dump_json().encode()})


def load_latency(folder: Folder) -> tuple[LatencyTable, Cost]:
    """Load a latency table. Raises ValueError where it is damaged.

    No policy is charged for it, as all policies of a study read the same one.
    """
    return LatencyTable.from_parquet(manifest.read_files(folder)[TABLE], f"in {folder.uri}"), NOTHING


def saved_latency(storage: Folder, spec: LatencySpec) -> LatencyTable:
    """Load the table of `spec`; `storage` must have it."""
    folder = artifact_store.find(storage, "latency", spec.key())
    assert folder is not None, "a latency table must be measured before anything that reads it"
    return load_latency(folder)[0]

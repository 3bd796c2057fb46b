"""Every measure of every training sample, for each dense network of a study; written as Parquet."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search.study.spec import StudySpec
from trainables.checkpoints import artifact_store
from trainables.curriculum_spec import Curriculum
from trainables.learnability.measures import MEASURES
from trainables.learnability.records import Records, read_records
from trainables.spec import DenseSpec
from trainables.storage.columns import to_parquet
from trainables.storage.folder import Folder

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """One training of a dense network."""

    spec: DenseSpec
    ids: NDArray[np.int64]  # (N,), ascending
    labels: NDArray[np.int64]  # (N,), that it was trained on
    measures: Mapping[str, Floats]  # (N,) each
    right: NDArray[np.bool_]  # (N,), whether the last epoch has a hit

    @classmethod
    def of(cls, spec: DenseSpec, records: Records) -> "Run":
        """Take every measure of what was recorded."""
        measures = {name: measure.of(records) for name, measure in MEASURES.items()}
        return cls(spec, records.ids, records.labels, measures, records.hits[-1])

    def ease(self, measure: str) -> Floats:
        """Compute how easy each sample is (N,); higher is easier."""
        return ease(measure, self.measures[measure])


def ease(measure: str, values: Floats) -> Floats:
    """Turn values of a measure so that higher is easier."""
    return values if MEASURES[measure].easy == "high" else -values


def networks(study: StudySpec) -> list[DenseSpec]:
    """List a study's dense networks without a curriculum, by model; ValueError where none records its samples."""
    if study.records.dense == "off":
        raise ValueError("records.dense must be during or after for learnability, but got off; leave it out for during")
    found = dict.fromkeys(cell.dense for cell in study.cells() if cell.dense.curriculum == Curriculum())
    return sorted(found, key=lambda spec: study.models.index(spec.model))


def read_runs(specs: Sequence[DenseSpec], storage: Folder) -> list[Run]:
    """Read what was recorded of dense networks that `storage` has; ValueError where one was not."""
    found = []
    for spec in specs:
        folder = artifact_store.find(storage, "dense", spec.key())
        assert folder is not None, "dense networks are made before their records are read"
        found.append(Run.of(spec, read_records(folder)))
    return found


def by_network(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs that differ in nothing but their seed: model -> its runs."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.spec.model, []).append(run)
    return found


def mean_over_seeds(runs: Sequence[Run], measure: str) -> dict[str, Floats]:
    """Average a measure over the seeds of each network: model -> (N,)."""
    found = by_network(runs)
    return {model: np.asarray(np.mean([run.measures[measure] for run in own], axis=0)) for model, own in found.items()}


SCHEMA = pa.schema(  # of samples.parquet; its metadata "learnability" holds the specs of the networks
    pa.field(name, kind, metadata={"description": description})
    for name, kind, description in (
        ("id", pa.int64(), "of the sample, the same under every spec of its data set"),
        ("label", pa.int64(), "that the network was trained on"),
        ("model", pa.string(), "the network's name"),
        ("seed", pa.int64(), "of its training"),
        *((name, pa.float64(), inspect.getdoc(measure.of) or "") for name, measure in MEASURES.items()),
    )
)


def table(study: str, runs: Sequence[Run]) -> bytes:
    """Write a row for each sample and network as Parquet, with `SCHEMA`."""
    specs = [run.spec.model_dump(mode="json") for run in runs]
    about = {"study": study, "split": "train", "taken": runs[0].spec.record, "networks": specs}
    parts = [
        pa.table(
            {
                "id": run.ids,
                "label": run.labels,
                "model": [run.spec.model] * len(run.ids),
                "seed": np.full(len(run.ids), run.spec.seed),
                **run.measures,
            },
            SCHEMA,
        )
        for run in runs
    ]
    return to_parquet(pa.concat_tables(parts).replace_schema_metadata({"learnability": json.dumps(about)}))

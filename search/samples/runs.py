"""All measures of all training samples, for each dense network of a study, and their table in Parquet."""

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
from trainables.learnability.measures import MEASURES, measures_for
from trainables.learnability.records import Records, read_records
from trainables.spec import DenseSpec
from trainables.storage.columns import to_parquet
from trainables.storage.folder import Folder
from trainables.task.loading import load_task

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """One training of a dense network."""

    spec: DenseSpec
    ids: NDArray[np.int64]  # (N,), ascending
    labels: NDArray[np.int64]  # (N,), in training; -1 where samples have none
    measures: Mapping[str, Floats]  # (N,) each; without labels, those that read hits alone
    right: NDArray[np.bool_]  # (N,), whether the network was right in the last epoch

    @classmethod
    def of(cls, spec: DenseSpec, records: Records) -> "Run":
        """Compute all measures of the records."""
        measures = {name: measure.of(records) for name, measure in measures_for(records).items()}
        return cls(spec, records.ids, records.labels, measures, records.right[-1])

    def ease(self, measure: str) -> Floats:
        """Compute how easy each sample is (N,); higher is easier."""
        return ease(measure, self.measures[measure])


def ease(measure: str, values: Floats) -> Floats:
    """Turn values of a measure so that higher is easier."""
    return values if MEASURES[measure].easy == "high" else -values


def networks(study: StudySpec) -> list[DenseSpec]:
    """List a study's dense networks without a curriculum, sorted by model.

    Raises ValueError if the study does not record the samples of dense training, or has a task that cannot.
    """
    if study.task and load_task(study.task).objective.hits is None:
        raise ValueError(
            f"learnability must know which outputs are right, but task {study.task!r} does not say so; give its Task "
            "hits"
        )
    if study.records.dense == "off":
        raise ValueError("records.dense must be during or after for learnability, but got off; leave it out")
    specs = dict.fromkeys(cell.dense for cell in study.cells() if cell.dense.curriculum == Curriculum())
    return sorted(specs, key=lambda spec: study.models.index(spec.model))


def read_runs(specs: Sequence[DenseSpec], storage: Folder) -> list[Run]:
    """Read the records of dense networks in `storage`. Raises ValueError if one has none."""
    runs = []
    for spec in specs:
        folder = artifact_store.find(storage, "dense", spec.key())
        assert folder is not None, "dense networks are made before their records are read"
        runs.append(Run.of(spec, read_records(folder)))
    return runs


def by_network(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs that differ only in their seed: model -> its runs."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.spec.model, []).append(run)
    return groups


def mean_over_seeds(runs: Sequence[Run], measure: str) -> dict[str, Floats]:
    """Average a measure over the seeds of each network: model -> (N,)."""
    return {
        model: np.asarray(np.mean([run.measures[measure] for run in of_model], axis=0))
        for model, of_model in by_network(runs).items()
    }


SCHEMA = pa.schema(  # of samples.parquet; its metadata "learnability" holds the specs of the networks
    pa.field(name, kind, metadata={"description": description})
    for name, kind, description in (
        ("id", pa.int64(), "id of the sample; the same for each spec of its data set"),
        ("label", pa.int64(), "label in training"),
        ("model", pa.string(), "name of the network"),
        ("seed", pa.int64(), "seed of its training"),
        *((name, pa.float64(), inspect.getdoc(measure.of) or "") for name, measure in MEASURES.items()),
    )
)


def table(study: str, runs: Sequence[Run]) -> bytes:
    """Write one row for each sample and network as Parquet, with the columns of `SCHEMA` that the samples have."""
    specs = [run.spec.model_dump(mode="json") for run in runs]
    about = {"study": study, "split": "train", "taken": runs[0].spec.record, "networks": specs}
    parts = []
    for run in runs:
        columns = {
            "id": run.ids,
            **({"label": run.labels} if run.labels.min() >= 0 else {}),
            "model": [run.spec.model] * len(run.ids),
            "seed": np.full(len(run.ids), run.spec.seed),
            **run.measures,
        }
        parts.append(pa.table(columns, pa.schema([field for field in SCHEMA if field.name in columns])))
    return to_parquet(pa.concat_tables(parts).replace_schema_metadata({"learnability": json.dumps(about)}))

"""The study folder, which is the truth: what is done, what is missing, as rows and as Parquet."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from search.study import StudySpec, cell_key
from trainables.learning.fit import newest_epoch
from trainables.outcome import Outcome, Status
from trainables.spec import BudgetKind, Frozen, GranularityName, TrialSpec, from_json
from trainables.storage import Folder

STUDY = "study.json"
SPEC = "spec.json"
OUTCOME = "outcome.json"
TABLE = "results.parquet"


class TrialRow(Frozen):
    """One trial that will not go on, flat. Accuracies are on validation samples; None is what was not reached."""

    trial: str  # its key, and the name of its folder
    cell: str  # what it shares with its rivals: all but the policy and the densities
    setting: str  # what it shares with all that it may be averaged or plotted with: the cell but for sparsity and seed
    policy: str
    criterion: str
    schedule: str = "one-shot"
    recovery: str = "finetune"
    granularity: GranularityName
    model: str
    width: float
    dataset: str
    sparsity: float
    budget: BudgetKind
    seed: int
    status: Status
    dense_accuracy: float | None = None
    one_shot_accuracy: float | None = None
    recalibrated_accuracy: float | None = None
    val_accuracy: float | None = None  # of the best epoch
    best_epoch: int | None = None
    epochs: int = 0
    params_kept: int | None = None
    params_total: int | None = None
    macs_kept: int | None = None
    macs_total: int | None = None
    seconds: float = 0.0
    allocation_seconds: float = 0.0
    profile_seconds: float = 0.0
    hardware: str = ""
    error: str = ""
    layers: dict[str, float] = Field(default_factory=dict)  # layer -> density
    parts: dict[str, float] = Field(default_factory=dict)  # part -> fraction of its units kept


def row_of(outcome: Outcome) -> TrialRow:
    """Flatten an outcome."""
    spec, facts, best = outcome.spec, outcome.facts, outcome.best
    shared = spec.model_copy(update={"policy": TrialSpec().policy, "densities": None, "sparsity": 0.5})
    seedless = shared.model_copy(update={"dense": spec.dense.model_copy(update={"seed": 0})})
    known = facts.model_dump(exclude={"prune_seconds"}) if facts else {}
    return TrialRow(
        trial=spec.key(),
        cell=cell_key(spec),
        setting=seedless.key(),
        policy=spec.policy,
        criterion=spec.criterion,
        schedule=spec.schedule.name,
        recovery=spec.recovery,
        granularity=spec.granularity,
        model=spec.dense.model,
        width=spec.dense.width,
        dataset=spec.dense.data.name,
        sparsity=spec.sparsity,
        budget=spec.budget,
        seed=spec.seed,
        status=outcome.status,
        val_accuracy=best.val_accuracy if best else None,
        best_epoch=best.epoch if best else None,
        epochs=len(outcome.history),
        seconds=outcome.seconds,
        error=outcome.error,
        **known,
    )


SCHEMA = pa.schema(
    [
        *[(n, pa.string()) for n in ("trial", "cell", "setting", "policy", "criterion", "schedule", "recovery")],
        *[(n, pa.string()) for n in ("granularity", "model")],
        ("width", pa.float64()),
        ("dataset", pa.string()),
        ("sparsity", pa.float64()),
        ("budget", pa.string()),
        ("seed", pa.int64()),
        ("status", pa.string()),
        *[(f"{n}_accuracy", pa.float64()) for n in ("dense", "one_shot", "recalibrated", "val")],
        *[(n, pa.int64()) for n in ("best_epoch", "epochs", "params_kept", "params_total", "macs_kept", "macs_total")],
        *[(n, pa.float64()) for n in ("seconds", "allocation_seconds", "profile_seconds")],
        ("hardware", pa.string()),
        ("error", pa.string()),
        *[(n, pa.map_(pa.string(), pa.float64())) for n in ("layers", "parts")],
    ]
)


class StudyFolder:
    """`<storage>/<study>`: the study, its trials, each in a folder named by its key, and their table."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    @classmethod
    def open(cls, uri: str) -> "StudyFolder":
        """Open the folder of a study that has been started; ValueError where there is none."""
        folder = Folder.at(uri)
        if not folder.has(STUDY):
            raise ValueError(f"a study folder must hold {STUDY}, but {uri} does not; give the folder that run printed")
        return cls(folder)

    @property
    def study(self) -> StudySpec:
        """The study as it was last run."""
        return StudySpec.model_validate(from_json(self.folder.read(STUDY).decode()))

    def write_study(self, study: StudySpec) -> None:
        """Remember the study."""
        self.folder.write(STUDY, study.model_dump_json(indent=1).encode())

    def trial(self, key: str) -> Folder:
        """Folder of a trial."""
        return self.folder / "trials" / key

    def rows(self) -> list[TrialRow]:
        """Every trial that will not go on, by key: from the table, and from the outcomes that it does not hold yet."""
        known = {row.trial: row for row in self._table() if row.status != "failed"}
        fresh = self.read_outcomes(key for key in self.keys() if key not in known)
        return sorted([*known.values(), *map(row_of, fresh)], key=lambda row: row.trial)

    def keys(self) -> list[str]:
        """Keys of all trials that were ever started."""
        return (self.folder / "trials").folders()

    def outcome(self, key: str) -> Outcome | None:
        """How a trial ended; None where it did not."""
        try:
            return Outcome.model_validate_json(self.trial(key).read(OUTCOME))
        except (FileNotFoundError, ValueError):
            return None

    def unended(self, spec: TrialSpec, status: Status, error: str) -> Outcome:
        """Say of a trial that did not end by itself how it ended, with what its newest checkpoint knows."""
        saved = newest_epoch(self.trial(spec.key()))
        known = {name: saved.record[name] for name in ("facts", "history")} if saved else {}
        return Outcome.model_validate({"spec": spec, "status": status, "error": error, **known})

    def read_outcomes(self, keys: Iterable[str]) -> list[Outcome]:
        """Read outcomes side by side, leaving out the trials that have none."""
        with ThreadPoolExecutor(16) as pool:
            return [outcome for outcome in pool.map(self.outcome, keys) if outcome is not None]

    def unfinished(self, done: set[str]) -> list[TrialSpec]:
        """Specs of the trials that were started and have not ended."""
        specs = []
        for key in self.keys():
            if key not in done and self.trial(key).has(SPEC):
                specs.append(TrialSpec.model_validate_json(self.trial(key).read(SPEC)))
        return specs

    def start_trial(self, spec: TrialSpec) -> None:
        """Leave a trial's spec, so that it is found again whatever happens to it."""
        self.trial(spec.key()).write(SPEC, spec.model_dump_json().encode())

    def write_table(self) -> list[TrialRow]:
        """Write all rows as Parquet and return them."""
        rows = self.rows()
        self.folder.write(TABLE, to_parquet(rows))
        return rows

    def _table(self) -> list[TrialRow]:
        return from_parquet(self.folder.read(TABLE)) if self.folder.has(TABLE) else []


def to_parquet(rows: list[TrialRow]) -> bytes:
    """Write rows as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([_maps(row.model_dump()) for row in rows], SCHEMA), sink)
    return sink.getvalue()


def from_parquet(content: bytes) -> list[TrialRow]:
    """Read rows back."""
    rows = pq.ParquetFile(pa.BufferReader(content)).read().to_pylist(maps_as_pydicts="strict")
    return [TrialRow.model_validate(row) for row in rows]


def _maps(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "layers": list(row["layers"].items()), "parts": list(row["parts"].items())}

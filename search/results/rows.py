"""A trial of a study as a flat row, and rows as columns of Parquet."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, get_args

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from search.results.names import curriculum_name
from search.study.cells import cell_key, following
from trainables.curriculum_spec import Curriculum
from trainables.frozen import Frozen
from trainables.learnability.curriculum_kinds import control_of
from trainables.names import GranularityName
from trainables.outcome import Outcome, Status
from trainables.spec import BudgetKind, TrialSpec
from trainables.storage.columns import read_columns
from trainables.storage.strict_json import damage_as_error

TABLE = "results.parquet"
ALIASES = {"val_accuracy": "best_val_accuracy"}  # former name of a column -> its name


class TrialRow(Frozen):
    """One trial that will not go on, flat. Accuracies are on validation samples; None is what was not reached."""

    trial: str = Field(description="key of the trial, and the name of its folder in trials/")
    cell: str = Field(description="key of what it shares with its rivals: all but the policy and the densities")
    setting: str = Field(description="key of the cell but for sparsity and seed: what may be averaged as one")
    family: str = Field("", description="key of the setting but for recovery and curriculum: what stands in one table")
    control_setting: str = Field("", description="setting of its curriculum's control; empty where it has none")
    standard_setting: str = Field("", description="setting of its rival without a curriculum; empty where it has none")
    policy: str = Field(description="how the budget was shared among the layers")
    criterion: str = Field(description="what scored the units that could go")
    schedule: str = Field("one-shot", description="how pruning came to its sparsity")
    before: str = Field("", description="what went before: granularity, sparsity, criterion and policy of each pruning")
    recovery: str = Field("finetune", description="how the pruned network was trained")
    curriculum: str = Field("standard", description="what each step of that, or of dense training, drew; in short")
    granularity: GranularityName = Field(description="what was removed: weight, channel or block")
    model: str = Field(description="the network's name")
    width: float = Field(description="factor on the network's channels")
    dataset: str = Field(description="the data set's name")
    content: str = Field("", description="checksum of the data set's files; empty where its library checks them")
    sparsity: float = Field(description="fraction of the budget asked to be removed")
    budget: BudgetKind = Field(description="what the sparsity counts: params or macs")
    seed: int = Field(description="of dense training, pruning and recovery")
    status: Status = Field(description="done, stopped (early, by a scheduler) or failed")
    dense_epochs: int | None = Field(None, description="epochs of dense training; 0: taken as it was built")
    dense_accuracy: float | None = Field(None, description="of the dense network, in [0, 1]")
    one_shot_accuracy: float | None = Field(None, description="as it was pruned last")
    recalibrated_accuracy: float | None = Field(None, description="with batch-norm statistics estimated anew")
    best_val_accuracy: float | None = Field(description="of the best epoch; epoch 0 is what recovery starts from")
    best_epoch: int | None = Field(None, description="the first epoch of highest validation accuracy")
    epochs: int = Field(0, description="reported, epoch 0 included")
    params_kept: int | None = Field(None, description="weights of convolutions and linear layers, counted")
    params_total: int | None = Field(None, description="the same of the dense network")
    macs_kept: int | None = Field(None, description="multiply-accumulates of one image, counted")
    macs_total: int | None = Field(None, description="the same of the dense network")
    seconds: float = Field(0.0, description="spent in the trial, repeats after a crash left out")
    images: int | None = Field(None, description="through the network in these seconds; none: ran by an older version")
    allocation_seconds: float = Field(0.0, description="scoring and sharing the budget, a part of seconds")
    allocation_evaluations: int | None = Field(None, description="forward passes of all calibration samples in these")
    allocation_images: int | None = Field(None, description="in these evaluations, a part of images")
    profile_seconds: float = Field(0.0, description="making the profile that the policy needed, by whoever made it")
    profile_evaluations: int | None = Field(None, description="the same in these, from the first changed layer on")
    profile_images: int | None = Field(None, description="in these evaluations")
    latency_ms: float | None = Field(None, description="of one image on the trial's device, median; none: not asked")
    ended: str = Field("", description="when: UTC, ISO 8601")
    hardware: str = Field("", description="cpu, or the GPU's name, and the precision if it is not auto's")
    error: str = Field("", description="why it failed")
    layers: dict[str, float] = Field({}, description="layer -> density of its weights")
    parts: dict[str, float] = Field({}, description="part -> fraction of its units kept")


class Settings(NamedTuple):
    """Keys of a row's setting and of its rivals', as the row has them."""

    setting: str
    family: str
    control_setting: str
    standard_setting: str


def row_of(outcome: Outcome) -> TrialRow:
    """Flatten an outcome."""
    spec, facts, best = outcome.spec, outcome.facts, outcome.best
    shared = spec.under(TrialSpec().policy, spec.gates).model_copy(update={"densities": None, "sparsity": 0.5})
    known = facts.model_dump(exclude={"prune_seconds"}) if facts else {}
    return TrialRow(
        trial=spec.key(),
        cell=cell_key(spec),
        **_settings(shared.model_copy(update={"dense": spec.dense.model_copy(update={"seed": 0})}))._asdict(),
        policy=spec.policy,
        criterion=spec.criterion,
        schedule=spec.schedule.name,
        before=", ".join(f"{p.granularity}s {p.sparsity:g} by {p.criterion} and {p.policy}" for p in spec.before),
        recovery=spec.recovery,
        curriculum=curriculum_name(spec.followed),
        granularity=spec.granularity,
        model=spec.dense.model,
        width=spec.dense.width,
        dataset=spec.dense.data.name,
        content=spec.dense.data.content,
        sparsity=spec.sparsity,
        budget=spec.budget,
        seed=spec.seed,
        status=outcome.status,
        dense_epochs=spec.dense.recipe.epochs,
        best_val_accuracy=best.val_accuracy if best else None,
        best_epoch=best.epoch if best else None,
        epochs=len(outcome.history),
        seconds=outcome.seconds,
        images=outcome.images,
        ended=outcome.ended,
        error=outcome.error,
        **known,
    )


@lru_cache(maxsize=1024)
def _settings(seedless: TrialSpec) -> Settings:
    """Find the keys of a row's setting and of its rivals'; cached, because all trials of a search share them."""
    standard, control = following(seedless, Curriculum()), control_of(seedless.followed)
    familiar = standard.model_copy(update={"recovery": TrialSpec().recovery, "distillation": TrialSpec().distillation})
    return Settings(
        setting=seedless.key(),
        family=familiar.key(),
        control_setting=following(seedless, control).key() if control else "",
        standard_setting=standard.key() if standard != seedless else "",
    )


def _arrow(annotation: Any) -> pa.DataType:
    kinds = {int: pa.int64(), float: pa.float64(), dict[str, float]: pa.map_(pa.string(), pa.float64())}
    return next((kinds[kind] for kind in (annotation, *get_args(annotation)) if kind in kinds), pa.string())


SCHEMA = pa.schema(  # of results.parquet; each field carries its description
    pa.field(name, _arrow(field.annotation), metadata={"description": field.description or ""})
    for name, field in TrialRow.model_fields.items()
)


def to_table(rows: Iterable[TrialRow]) -> pa.Table:
    """Turn rows into columns."""
    return pa.Table.from_pylist([_maps(row.model_dump()) for row in rows], SCHEMA)


def with_aliases(table: pa.Table) -> pa.Table:
    """Append each column of `ALIASES` under its former name, for readers of results.parquet that still ask for it."""
    for former, name in ALIASES.items():
        description = {"description": f"alias of {name}, its name since"}
        table = table.append_column(pa.field(former, SCHEMA.field(name).type, metadata=description), table[name])
    return table


def from_table(table: pa.Table) -> list[TrialRow]:
    """Turn columns into rows."""
    return [TrialRow.model_validate(row) for row in table.to_pylist(maps_as_pydicts="strict")]


def from_parquet(content: bytes, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """Read columns; those that an older version did not write have their defaults, and aliases are ignored.

    Raises ValueError for a damaged file, a missing column that has no default, and values that no row has.
    """
    fields = [field for field in SCHEMA if field.name in columns]
    with damage_as_error(TABLE):
        told = read_columns(content, [field.name for field in fields])
        return pa.table([_column(told, field) for field in fields], pa.schema(fields))


def _column(told: pa.Table, field: pa.Field) -> Any:
    known = TrialRow.model_fields[field.name]
    if field.name not in told.column_names:
        if known.is_required():
            raise ValueError(f"{TABLE} must have a column {field.name}")
        return pa.array([known.default] * len(told), field.type)
    column = told[field.name].cast(field.type)
    if column.null_count and type(None) not in get_args(known.annotation):
        raise ValueError(f"{field.name} must have a value in every row")
    if pa.types.is_floating(field.type) and not pc.all(pc.is_finite(column), min_count=0).as_py():
        raise ValueError(f"{field.name} must be finite")
    return column


def _maps(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "layers": list(row["layers"].items()), "parts": list(row["parts"].items())}

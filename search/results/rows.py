"""Trials as flat rows, and rows as columns of Parquet."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, get_args

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from search.results.names import COMPENSATED, curriculum_name, data_name, policy_label, rules_name
from search.results.scale import ACCURACY, public_name
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
    """An ended trial as a flat row.

    Accuracies, or the values of another metric, are on validation samples; None means that it was not reached.
    """

    trial: str = Field(description="key of the trial; name of its folder in trials/")
    cell: str = Field(description="key of the settings that compared trials share: all but policy and densities")
    setting: str = Field(description="key of the cell without sparsity and seed: trials that may be averaged")
    family: str = Field("", description="key of the setting without compensation, recovery and curriculum")
    control_setting: str = Field("", description="setting with the control of the curriculum; empty if there is none")
    standard_setting: str = Field("", description="setting without a curriculum; empty if this trial has no curriculum")
    policy: str = Field(description="policy that shared the budget; given with a checksum of its densities")
    criterion: str = Field(description="criterion that scored the units")
    schedule: str = Field("one-shot", description="schedule of the sparsity")
    before: str = Field("", description="earlier prunings: granularity, sparsity, criterion and policy of each")
    rules: str = Field("", description="rules for layers: the layers and the share of each rule; empty without rules")
    compensation: str = Field("", description="compensated: least squares re-fitted the layers; otherwise empty")
    recovery: str = Field("finetune", description="how the pruned network was trained")
    curriculum: str = Field("standard", description="short name of the curriculum of recovery, or of dense training")
    granularity: GranularityName = Field(description="removed units: weight, channel, block or projected-block")
    model: str = Field(description="name of the network")
    width: float = Field(description="factor on the network's channels")
    dataset: str = Field(description="name of the data set")
    content: str = Field("", description="checksum of the data set's files; empty if its library checks them")
    metric: str = Field(ACCURACY, description="what judges the network; it names the columns of its values")
    higher_is_better: bool = Field(True, description="whether a higher value of the metric is better")
    sparsity: float = Field(description="requested fraction of the budget to remove")
    budget: BudgetKind = Field(description="unit of the sparsity: params, macs or latency")
    seed: int = Field(description="seed of dense training, pruning and recovery")
    status: Status = Field(description="done, stopped (early, by a scheduler) or failed")
    dense_epochs: int | None = Field(None, description="epochs of dense training; 0: not trained here")
    dense_accuracy: float | None = Field(None, description="accuracy of the dense network, in [0, 1]")
    one_shot_accuracy: float | None = Field(None, description="accuracy right after the last pruning")
    recalibrated_accuracy: float | None = Field(None, description="accuracy with batch-norm statistics estimated again")
    compensated_accuracy: float | None = Field(None, description="accuracy compensated, then recalibrated")
    best_val_accuracy: float | None = Field(description="accuracy of the best epoch; epoch 0 is the start of recovery")
    quantised_accuracy: float | None = Field(None, description="accuracy of the best epoch's int8 ONNX file")
    other_metrics: dict[str, float] = Field({}, description="other metric of the task -> its value in the best epoch")
    best_epoch: int | None = Field(None, description="the first epoch of best validation accuracy")
    epochs: int = Field(0, description="number of reported epochs, with epoch 0")
    params_kept: int | None = Field(None, description="kept weights of all layers")
    params_total: int | None = Field(None, description="weights of the dense network's layers")
    macs_kept: int | None = Field(None, description="multiply-accumulates of one image with kept weights")
    macs_total: int | None = Field(None, description="multiply-accumulates of one image in the dense network")
    params_fixed: int | None = Field(
        None, description="parameters that are never pruned and that no budget counts; none: an older version"
    )
    seconds: float = Field(0.0, description="time spent in the trial, without repeats after a crash")
    images: int | None = Field(None, description="images through the network in these seconds; none: an older version")
    allocation_seconds: float = Field(0.0, description="time to score units and share the budget, a part of seconds")
    allocation_evaluations: int | None = Field(None, description="forward passes of all calibration samples")
    allocation_images: int | None = Field(None, description="images in these evaluations, a part of images")
    profile_seconds: float = Field(0.0, description="time to make the profile that the policy needs, in any trial")
    profile_evaluations: int | None = Field(None, description="forward passes from the first changed layer on")
    profile_images: int | None = Field(None, description="images in these evaluations")
    compensation_seconds: float | None = Field(None, description="time to compensate, a part of seconds")
    latency_ms: float | None = Field(None, description="median time of one batch on the device; none: not measured")
    dense_latency_ms: float | None = Field(None, description="the same of the dense network, measured in turns")
    latency_spread: float | None = Field(None, description="interquartile range of these runs over their median")
    predicted_latency_ms: float | None = Field(None, description="latency by the table of the budget; none: no table")
    device: str = Field("", description="where latency was measured; empty: not measured, or by an older version")
    quantised_bytes: int | None = Field(None, description="size of the int8 ONNX file; none: not quantised")
    exported_bytes: int | None = Field(None, description="size of the float32 ONNX file that it was made from")
    quantised_seconds: float | None = Field(
        None, description="time to export, quantise and evaluate, a part of seconds"
    )
    quantised_latency_ms: float | None = Field(
        None, description="median time of one batch of the int8 file in onnxruntime"
    )
    exported_latency_ms: float | None = Field(None, description="the same of the float32 file, measured in turns")
    ended: str = Field("", description="time of the end: UTC, ISO 8601")
    hardware: str = Field("", description="cpu or the name of the GPU, and the precision if it is not the default")
    error: str = Field("", description="why the trial failed")
    layers: dict[str, float] = Field({}, description="layer -> density of its weights")
    parts: dict[str, float] = Field({}, description="part -> fraction of its units kept")


class Settings(NamedTuple):
    """Keys of a row's setting and of the settings that it is compared with."""

    setting: str
    family: str
    control_setting: str
    standard_setting: str


def row_of(outcome: Outcome) -> TrialRow:
    """Flatten an outcome."""
    spec, facts, best = outcome.spec, outcome.facts, outcome.best
    metric = spec.dense.data.task.metric
    shared = spec.under(TrialSpec().policy, spec.gates).model_copy(update={"densities": None, "sparsity": 0.5})
    known = facts.model_dump(exclude={"prune_seconds"}) if facts else {}
    known |= outcome.quantised.model_dump(exclude={"quantised_images"}) if outcome.quantised else {}
    return TrialRow(
        trial=spec.key(),
        cell=cell_key(spec),
        **_settings(shared.model_copy(update={"dense": spec.dense.model_copy(update={"seed": 0})}))._asdict(),
        policy=policy_label(spec),
        criterion=spec.criterion,
        schedule=spec.schedule.name,
        before=", ".join(f"{p.granularity}s {p.sparsity:g} by {p.criterion} and {p.policy}" for p in spec.before),
        rules=rules_name(spec.layers),
        compensation=COMPENSATED if spec.compensate else "",
        recovery=spec.recovery,
        curriculum=curriculum_name(spec.followed),
        granularity=spec.granularity,
        model=spec.dense.model,
        width=spec.dense.width,
        dataset=data_name(spec.dense.data),
        content=spec.dense.data.content,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        sparsity=spec.sparsity,
        budget=spec.budget,
        seed=spec.seed,
        status=outcome.status,
        dense_epochs=spec.dense.recipe.epochs,
        best_val_accuracy=best.val_accuracy if best else None,
        other_metrics=best.other_metrics if best else {},
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
    """Compute the keys of a row's settings. They are cached, because all trials of a search share them."""
    standard, control = following(seedless, Curriculum()), control_of(seedless.followed)
    alike = ("compensate", "recovery", "distillation")
    familiar = standard.model_copy(update={name: getattr(TrialSpec(), name) for name in alike})
    return Settings(
        setting=seedless.key(),
        family=familiar.key(),
        control_setting=following(seedless, control).key() if control else "",
        standard_setting=standard.key() if standard != seedless else "",
    )


def _arrow(annotation: Any) -> pa.DataType:
    kinds = {
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        dict[str, float]: pa.map_(pa.string(), pa.float64()),
    }
    return next((kinds[kind] for kind in (annotation, *get_args(annotation)) if kind in kinds), pa.string())


SCHEMA = pa.schema(  # of results.parquet; each field has its description
    pa.field(name, _arrow(field.annotation), metadata={"description": field.description or ""})
    for name, field in TrialRow.model_fields.items()
)


def to_table(rows: Iterable[TrialRow]) -> pa.Table:
    """Turn rows into columns."""
    return pa.Table.from_pylist([_maps(row.model_dump()) for row in rows], SCHEMA)


def published(table: pa.Table) -> pa.Table:
    """Name the columns of a study's trials by its metric, and append each column of `ALIASES` under its former name."""
    for former, name in ALIASES.items():
        description = {"description": f"alias of {name}, the new name"}
        table = table.append_column(pa.field(former, SCHEMA.field(name).type, metadata=description), table[name])
    metric = _metric_of(table)
    fields = [
        field.with_name(public_name(field.name, metric)).with_metadata(
            {key: value.replace(ACCURACY.encode(), metric.encode()) for key, value in field.metadata.items()}
        )
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)) if metric == ACCURACY else pa.table(table.columns, pa.schema(fields))


def _metric_of(table: pa.Table) -> str:
    """Return the metric that names columns: the trials' one; accuracy where they have several or none."""
    metrics = pc.unique(table["metric"]).to_pylist() if "metric" in table.column_names else []
    return metrics[0] if len(metrics) == 1 else ACCURACY


def from_table(table: pa.Table) -> list[TrialRow]:
    """Turn columns into rows."""
    return [TrialRow.model_validate(row) for row in table.to_pylist(maps_as_pydicts="strict")]


def from_parquet(content: bytes, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """Read columns and ignore aliases. A column that an older version did not write has its default.

    Raises ValueError for a damaged file, a missing column without a default, and invalid values.
    """
    fields = [field for field in SCHEMA if field.name in columns]
    with damage_as_error(TABLE):
        metric = _metric_of(read_columns(content, ["metric"]))
        own = {public_name(field.name, metric): field.name for field in fields}
        table = read_columns(content, list(own))
        table = table.rename_columns([own[name] for name in table.column_names])
        return pa.table([_column(table, field) for field in fields], pa.schema(fields))


def _column(table: pa.Table, field: pa.Field) -> Any:
    known = TrialRow.model_fields[field.name]
    if field.name not in table.column_names:
        if known.is_required():
            raise ValueError(f"{TABLE} must have a column {field.name}")
        return pa.array([known.default] * len(table), field.type)
    column = table[field.name].cast(field.type)
    if column.null_count and type(None) not in get_args(known.annotation):
        raise ValueError(f"{field.name} must have a value in every row")
    if pa.types.is_floating(field.type) and not pc.all(pc.is_finite(column), min_count=0).as_py():
        raise ValueError(f"{field.name} must be finite")
    return column


def _maps(row: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value.items()) if isinstance(value, dict) else value for name, value in row.items()}

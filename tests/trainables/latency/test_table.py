"""Latency tables: what they predict, what policies spend by them, and files that are none."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.allocation.plan import plan
from trainables.checkpoints.checkpoint import Architecture
from trainables.latency.draws import FITTED, draw
from trainables.latency.measuring import inputs_of
from trainables.latency.table import KEY, LatencyTable, TableHeader, table_content
from trainables.pruning.channels import Channels
from trainables.pruning.granularities import view
from trainables.spec import TrialSpec

BUILT = Architecture(model="small_cnn", width=1.0, classes=10, image=(1, 8, 8))
EXAMPLE = BUILT.example()


def made(batch: float = 1.0, noise: float = 0.0) -> LatencyTable:
    """A table of times that follow the multiply-accumulates exactly, or with noise."""
    channels = Channels(BUILT.build(), EXAMPLE, 4)
    kept, random = draw(channels), np.random.default_rng(0)
    ms = np.array([0.05 + batch * channels.cost(row, "macs") * 1e-6 for row in kept])
    header = TableHeader(
        model="small_cnn",
        inputs=inputs_of(EXAMPLE),
        granularity="channel",
        round_to=4,
        runs=10,
        units={part.name: part.units for part in channels.parts},
        device="onnxruntime-cpu",
        threads=1,
        hardware="a board",
        batch=1,
        spread=0.0,
        drift=0.0,
        versions={},
        measured="then",
    )
    return LatencyTable(header, kept, ms * np.exp(noise * random.normal(size=len(ms))), np.arange(len(ms)) >= FITTED)


def test_times_that_follow_the_work_are_predicted_and_noise_is_not() -> None:
    channels = Channels(BUILT.build(), EXAMPLE, 4)
    assert made().errors(channels).max() < 1e-6
    assert np.median(made(noise=0.5).errors(channels)) > 0.1


@pytest.mark.parametrize("policy", ["uniform", "erk", "global", "lamp", "random", "isomorphic"])
def test_policies_spend_a_budget_of_time_to_the_last_block_of_channels(policy: str) -> None:
    table, model = made(), BUILT.build()
    spec = TrialSpec(granularity="channel", criterion="l1", policy=policy, budget="latency", sparsity=0.4, round_to=4)
    found = plan(model, EXAMPLE, spec, shared={"latency": table})
    kept = np.array([found.steps[-1][part.name] for part in found.prunable.parts])
    dense = found.prunable.cost(np.array([part.units for part in found.prunable.parts]), "latency")
    assert found.prunable.cost(kept, "latency") <= 0.6 * dense
    for part, more in enumerate(4 * np.eye(len(kept), dtype=int)):
        if kept[part] < found.prunable.parts[part].units:
            assert found.prunable.cost(kept + more, "latency") > 0.6 * dense
    assert found.latency_ms == pytest.approx(found.prunable.cost(kept, "latency") / 1e9)
    assert found.latency_ms is not None
    assert found.latency_ms <= 0.6 * table.dense_ms * (1 + 1e-6)


def test_a_budget_that_the_device_cannot_reach_is_refused() -> None:
    spec = TrialSpec(granularity="channel", criterion="l1", budget="latency", sparsity=0.97, round_to=4)
    with pytest.raises(ValueError, match=r"budget must leave at least 0\.\d+ of 0\.8\d+ ms, but sparsity 0.97 leaves"):
        plan(BUILT.build(), EXAMPLE, spec, shared={"latency": made()})


def test_a_table_of_another_network_or_input_is_refused() -> None:
    other = Architecture(model="resnet20", width=0.25, classes=10, image=(3, 16, 16))
    with pytest.raises(ValueError, match="must be of the network that is pruned, but it is of small_cnn with 5 parts"):
        made().priced(view(other.build(), "channel", other.example()))
    with pytest.raises(ValueError, match="float32 1x16x16, but it is of float32 1x8x8; measure again with these"):
        made().refuse_other(Channels(BUILT.build(), EXAMPLE), "float32 1x16x16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.replace_schema_metadata({}), "must be a file of howcompact latency-table, but says nothi"),
        (lambda table: table.drop_columns(["ms"]), "KeyError"),
        (lambda table: table.set_column(1, "ms", pa.array([0.0] * len(table))), "ms must be above 0"),
        (lambda table: table.set_column(2, "held_out", pa.array([True] * len(table))), "must hold out some networks"),
        (lambda table: table.slice(1), "its first network must be the dense one"),
        (lambda table: table.replace_schema_metadata({KEY: b"{}"}), "ValidationError"),
    ],
)
def test_a_file_that_is_no_table_is_refused(change: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    file.write_bytes(made().to_parquet())
    assert LatencyTable.at(str(file)).dense_ms == made().dense_ms
    pq.write_table(change(pq.read_table(file)), file)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        LatencyTable.at(str(file))


def test_a_table_is_known_by_its_content_and_a_missing_one_is_named(tmp_path: Path) -> None:
    for name, table in (("a", made()), ("b", made()), ("c", made(2.0))):
        (tmp_path / f"{name}.parquet").write_bytes(table.to_parquet())
    one, two, other = (table_content(str(tmp_path / f"{name}.parquet")) for name in "abc")
    assert one == two != other
    with pytest.raises(ValueError, match=r"device\.table must be a file, but .*none\.parquet is not there; correct it"):
        LatencyTable.at(str(tmp_path / "none.parquet"))

"""How long `howcompact compare` takes on 100,000 trials: `python -m tests.benchmarks.comparison [ROWS]`.

It makes study folders in a scratch directory, with a folder for each trial as in a real study, and runs the installed
command on them. "searches" has 20 named policies and a search of 100 trials in each cell. "policies" has only named
policies and ten seeds, so every trial is a winner.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from search.results.folder import StudyFolder
from search.results.rows import SCHEMA, TABLE, TrialRow
from search.study.spec import StudySpec
from trainables.names import SEARCHED
from trainables.storage.columns import to_parquet
from trainables.storage.folder import Folder

POLICIES = ("uniform", "erk", "capacity", *(f"policy-{index}" for index in range(17)))
LAYERS = tuple(f"block{index // 2}.conv{index % 2}" for index in range(20))
TOTAL = 1_000_000  # weights of the dense network


def table_of(rows: int, seeds: int, searched: int) -> pa.Table:
    """Make the trials of a study. Each cell has every named policy once, and `searched` trials of a search."""
    random = np.random.default_rng(0)
    trial = np.arange(rows)
    cell, kind = np.divmod(trial, len(POLICIES) + searched)
    setting, rest = np.divmod(cell, seeds * 10)
    sparsity, seed = np.divmod(rest, seeds)
    kept = np.round((1 - (sparsity + 1) / 11) * TOTAL).astype(int)
    names = np.array([*POLICIES, *[SEARCHED] * searched], object)
    densities = pa.array(random.random(rows * len(LAYERS)))
    offsets = np.arange(0, (rows + 1) * len(LAYERS), len(LAYERS), dtype=np.int32)
    maps = pa.MapArray.from_arrays(offsets, pa.array(LAYERS * rows), densities)
    columns: dict[str, Any] = {
        "trial": [f"{index:016x}" for index in trial],
        "cell": [f"{index:016x}" for index in cell],
        "setting": [f"{index:016x}" for index in setting],
        "family": [f"{index:016x}" for index in setting],
        "policy": names[kind],
        "model": [f"network-{index}" for index in setting],
        "sparsity": (sparsity + 1) / 11,
        "seed": seed,
        "params_kept": kept,
        "params_total": np.full(rows, TOTAL),
        "macs_kept": random.integers(9 * kept),
        "macs_total": np.full(rows, 9 * TOTAL),
        "epochs": np.full(rows, 4),
        "dense_epochs": np.full(rows, 10),
        **{name: random.random(rows) for name in SCHEMA.names if name.endswith(("_accuracy", "seconds"))},
        **{name: random.integers(1000, size=rows) for name in SCHEMA.names if name.endswith(("evaluations", "images"))},
        "layers": maps,
        "parts": maps,
    }
    same = {"criterion": "magnitude", "granularity": "weight", "dataset": "digits", "budget": "params", "width": 1.0}
    same |= {"status": "done", "best_epoch": 3, "hardware": "cpu"}
    others = {name: [same.get(name, field.default)] * rows for name, field in TrialRow.model_fields.items()}
    columns = others | columns
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], SCHEMA)


def make(path: Path, table: pa.Table) -> None:
    """Write a study folder that holds these trials."""
    folder = StudyFolder(Folder.at(str(path)))
    folder.write_study(StudySpec(name=path.name))
    folder.folder.write(TABLE, to_parquet(table))
    for key in table["trial"].to_pylist():
        (path / "trials" / key).mkdir(parents=True)


def timed(*arguments: str) -> str:
    """Run the installed command; write its seconds, its processor time, its peak memory and the size of its output."""
    command = Path(sys.executable).with_name("howcompact")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with subprocess.Popen([command, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        size = len(process.stdout.read())
        seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{seconds:.1f} s, processor {busy:.1f} s, peak so far {after.ru_maxrss / 1024:.0f} MiB, {size:,} bytes"


def main(rows: int) -> None:
    """Time the command on both kinds of study, with its tables and with JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, seeds, searched in (("searches", 5, 100), ("policies", 10, 0)):
            path = Path(scratch) / name
            make(path, table_of(rows, seeds, searched))
            size = (path / TABLE).stat().st_size / 2**20
            print(f"{name}: {rows:,} trials, {size:.0f} MiB of Parquet", flush=True)
            for options in ((), ("--json",)):
                print(f"  compare {' '.join(options):7}{timed('compare', str(path), *options)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

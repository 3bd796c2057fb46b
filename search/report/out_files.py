"""The files of a report, and a check that a folder holds no others."""

import os
from contextlib import suppress
from pathlib import Path

from trainables.storage.strict_json import from_json

PAGE, JSON, CSV, PARQUET = "index.html", "comparison.json", "comparison.csv", "comparison.parquet"
PAIRS_CSV, PAIRS_PARQUET = "pairs.csv", "pairs.parquet"  # only with a margin
FIGURES = (
    *("gap", "accuracy", "macs", "latency", "curricula", "layers", "compact", "gates", "probes", "pareto", "cost"),
    *("progress", "ranking", "importance"),
)  # names of the sections that may have charts
OTHER_METRIC = "sparsity"  # name of the section "accuracy" where the metric is another
FILES = {
    PAGE,
    JSON,
    CSV,
    PARQUET,
    PAIRS_CSV,
    PAIRS_PARQUET,
    *(f"{name}.{kind}" for name in (*FIGURES, OTHER_METRIC) for kind in ("png", "svg")),
}


def refuse_others_files(out: Path) -> None:
    """Raise ValueError for a folder that holds anything but a report: a new report replaces files there."""
    if not out.is_dir() or not (held := {*os.listdir(out)}):
        return
    if not (held <= FILES and _is_report(out)):
        raise ValueError(
            f"--out must be a new folder or one that compare has filled, but {out} is neither; name another"
        )


def _is_report(out: Path) -> bool:
    with suppress(OSError, ValueError):
        content = from_json((out / JSON).read_text())
        return isinstance(content, dict) and {"study", "rows", "headline", "versus"} <= content.keys()
    return False

"""The summary of a run comes before MLflow has its page and its end."""

import json
import sys
from pathlib import Path

from tests.search.conftest import FEW, process

SCRIPT = """
import json
from pathlib import Path

import search


def pages():
    return len([*Path("runs/mlartifacts").rglob("index.html")])


def show(summary):
    shown.append(summary)
    trials = [row.trials for row in summary.comparison.rows]
    print(json.dumps({"pages": pages(), "done": summary.trials["done"], "trials": trials}))


shown = []
summary = search.run("digits", storage="runs", overrides=SETTINGS, show=show)
print(json.dumps({"pages": pages(), "same": shown == [summary]}))
"""


def test_the_summary_is_shown_before_mlflow_has_its_page(tmp_path: Path) -> None:
    script = SCRIPT.replace("SETTINGS", repr([*FEW, "tracking=auto"]))
    done = process(sys.executable, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, last = map(json.loads, done.stdout.splitlines())
    assert first == {"pages": 0, "done": 1, "trials": [1]}
    assert last == {"pages": 1, "same": True}

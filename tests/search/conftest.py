"""What tests of the search share: small studies that run once, a user's own model, and a tracking server."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from search.cli.app import main
from search.results.folder import StudyFolder
from search.study.spec import StudySpec
from tests.search.mlflow_server import Server
from tests.search.waiting import LIMIT
from trainables.spec import TrialSpec
from trainables.task.loading import load_task

COMMAND = str(Path(sys.executable).with_name("howcompact"))
NOTHING: Mapping[str, str] = MappingProxyType({})
SMALL = (
    *("dense.epochs=3", "finetune.epochs=2", "sparsities=[0.5,0.9]"),
    *("seeds=[0,1]", "search.trials=5", "calibration=64"),
)
EXAMPLES = Path(__file__).parents[1] / "tasks"
FEW = ("policies=[uniform]", "sparsities=[0.5]", "seeds=[0]", "dense.epochs=1", "finetune.epochs=1", "tracking=off")


def installed(*arguments: str, cwd: Path, more: Mapping[str, str] = NOTHING) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own. more: variables beside those of this process."""
    return process(COMMAND, *arguments, cwd=cwd, more=more)


def process(*command: str, cwd: Path, more: Mapping[str, str] = NOTHING) -> subprocess.CompletedProcess[str]:
    """Run a process to its end, without the tracking server of this one. more: as for `installed`."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return subprocess.run(command, cwd=cwd, env={**environment, **more}, capture_output=True, text=True, timeout=LIMIT)


def howcompact(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which saves the imports. It must not run a study."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["howcompact", *arguments])
        patch.setattr(sys, "path", [*sys.path])
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Run:
    """A study that has run, and what the command printed."""

    home: Path
    folder: Path
    summary: dict[str, Any]
    stderr: str

    def json_of(self, *arguments: str) -> Any:
        """Run a command in the study's home folder and parse its JSON."""
        done = howcompact(*arguments, "--json", cwd=self.home)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def run_small(home: Path, *arguments: str, settings: Sequence[str] = (), code: int = 0) -> Run:
    """Run the small study with these settings. code: the exit code that it must have."""
    done = installed("run", "digits", "--set", *SMALL, *settings, "--json", *arguments, cwd=home)
    assert done.returncode == code, done.stderr
    summary = json.loads(done.stdout)
    return Run(home, Path(summary["folder"]), summary, done.stderr)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small study: 12 trials of named policies and 2 more for each of 4 searches."""
    return run_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study folder of four real trials on few digits, run without Ray: two cut weights, two cut channels."""
    from tests.trainables.trials import CHANNEL, WEIGHT

    specs = [spec.model_copy(update={"sparsity": sparsity}) for spec in (WEIGHT, CHANNEL) for sparsity in (0.5, 0.8)]
    return run_trials(tmp_path_factory.mktemp("trained"), specs)


@pytest.fixture(scope="session")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study folder of three real trials with rules for layers: of weights, of channels, of channels then weights."""
    from tests.trainables.trials import CHANNEL, WEIGHT

    head, blocks = {"match": "head", "keep": 1.0}, {"match": "block*", "at_least": 0.3, "at_most": 0.8}
    earlier = {"granularity": "channel", "criterion": "l1", "policy": "uniform", "sparsity": 0.3}
    trials = [
        {**WEIGHT.model_dump(), "sparsity": 0.6, "layers": [head, blocks]},
        {**CHANNEL.model_dump(), "sparsity": 0.6, "layers": [head, blocks]},
        {**WEIGHT.model_dump(), "sparsity": 0.6, "before": [earlier], "layers": [{"type": "Linear", "density": 0.5}]},
    ]
    return run_trials(tmp_path_factory.mktemp("ruled"), map(TrialSpec.model_validate, trials))


def run_trials(home: Path, specs: Iterable[TrialSpec]) -> StudyFolder:
    """Run trials of one dense network on few digits, without Ray."""
    from tests.trainables.trials import CPU, DATA, storage_with_dense
    from trainables.data import sources
    from trainables.trial.trainable import run_trial

    splits = sources.load(DATA)
    storage = storage_with_dense(str(home), splits)
    study = StudyFolder(storage / "small")
    study.write_study(StudySpec.model_validate({"name": "small", "data": DATA, "tracking": "off"}))
    for trial in specs:
        study.start_trial(trial)
        list(run_trial(trial, splits, storage, study.trial(trial.key()), CPU))
    return study


@pytest.fixture(scope="session")
def latency_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a latency table of small_cnn, as the command measures it on this machine."""
    file = tmp_path_factory.mktemp("table") / "board.parquet"
    device = ("--device", "torch-cpu", "--batch", "64", "--round-to", "4", "--image", "1x8x8", "--quiet")
    made = howcompact("latency-table", "small_cnn", *device, "--out", str(file), cwd=file.parent)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("latency of small_cnn on torch-cpu (")
    return file


@pytest.fixture
def own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a model that only this process can import: a module, and a package that it needs, with a data file."""
    modules = tmp_path / "modules"
    (modules / "hc_blocks" / "inner").mkdir(parents=True)
    (modules / "hc_blocks" / "__init__.py").write_text("from hc_blocks.inner.head import head\n")
    (modules / "hc_blocks" / "inner" / "head.py").write_text(
        "from torch import nn\n\ndef head(classes):\n    return nn.Linear(8, classes)\n"
    )
    (modules / "hc_blocks" / "weights.parquet").write_bytes(b"data")
    (modules / "hc_unused.py").write_text("")
    (modules / "hc_net.py").write_text(
        "import torch\nfrom torch import nn\nimport hc_blocks\n\n"
        "def build(num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),\n"
        "                         hc_blocks.head(num_classes))\n"
    )
    monkeypatch.syspath_prepend(str(modules))
    return "hc_net:build"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A tracking server for one test module, whose tests may kill it and start it again."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let this process, and those that it starts, import the example tasks."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]))
    load_task.cache_clear()
    yield EXAMPLES
    for example in EXAMPLES.glob("*.py"):
        sys.modules.pop(example.stem, None)

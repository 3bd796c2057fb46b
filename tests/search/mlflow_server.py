"""A real MLflow server that tests may kill, and the runs of a study on it."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from search.tracking.tracker import Finished
from tests.search.ports import free_port
from tests.search.waiting import until

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run


class Server:
    """A tracking server. It keeps its port and its store when it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.uri, self.folder, self.log = f"http://127.0.0.1:{self.port}", folder, folder / "server.log"

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        files = ["--artifacts-destination", str(self.folder / "files")]
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, *store, *files], env=environment, start_new_session=True, stdout=log, stderr=log
            )
        until(lambda: self.answers() or self.process.poll() is not None, 180)
        assert self.process.poll() is None, self.log.read_text()[-2000:]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()


class Seen:
    """The runs of a study on an MLflow server."""

    def __init__(self, uri: str, study: str) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(uri)
        experiment = self.client.get_experiment_by_name("howcompact")
        assert experiment is not None
        runs = self.client.search_runs([experiment.experiment_id], max_results=1000)
        (self.parent,) = [run for run in runs if run.data.tags.get("howcompact.study") == study]
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == self.parent.info.run_id]
        self.trials = {run.data.tags["howcompact.trial"]: run for run in children}
        assert len(self.trials) == len(children), "a trial has one run"

    def points(self, key: str) -> dict[str, list[tuple[int, float]]]:
        run = self.trials[key]
        histories = {name: self.client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        return {name: sorted((point.step, point.value) for point in points) for name, points in histories.items()}

    def holds_once(self, trial: Finished) -> bool:
        """Tell whether a trial's run has its parameters, its status, and each of its points exactly once."""
        run = self.trials[trial.key]
        expected: dict[str, list[tuple[int, float]]] = {}
        for step, metrics in trial.epochs.items():
            for name, value in metrics.items():
                expected.setdefault(name, []).append((step, value))
        for name, value in trial.metrics.items():
            expected[name] = [(max(trial.epochs, default=0), value)]
        params = {name: str(value) for name, value in trial.params.items()}
        return (run.info.status, run.data.params, self.points(trial.key)) == (trial.status, params, expected)


def data_sets_of(run: "Run") -> list["DatasetInput"]:
    assert run.inputs is not None
    return run.inputs.dataset_inputs


def shows(uri: str, study: str, key: str, epochs: int = 1) -> bool:
    try:
        return len(Seen(uri, study).points(key)["val_accuracy"]) >= epochs
    except (AssertionError, KeyError, ValueError):
        return False


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start

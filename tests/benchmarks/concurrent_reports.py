"""What 1,000 concurrent trials cost a study's driver: `python -m tests.benchmarks.concurrent_reports [TRIALS]`.

All trials report each epoch. Ray is left out: this script calls the searcher, the Tune callback and the tracker that
`howcompact run` uses, in Tune's order, with a real MLflow server over HTTP. It prints processor milliseconds for each
report and each trial, and how many of them the tracker's thread sends in a second.
"""

import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from search.results.folder import StudyFolder
from search.running.callback import TuneCallback
from search.searching.searcher import StudySearcher
from search.study.spec import StudySpec
from search.tracking.tracker import Tracker
from search.tracking.watcher import MlflowWatcher
from tests.benchmarks.search_scale import Clock, finished
from tests.search.mlflow_server import Server
from tests.trainables.parts import part_names
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.trial.reports import to_tune
from trainables.trial.trainable import write_outcome

EPOCHS = 10


def main(trials: int) -> None:
    """Start a server and a study folder, then drive the study."""
    scratch = Path(tempfile.mkdtemp())
    study = StudySpec.model_validate(
        {"name": "scale", "seeds": range(trials), "sparsities": [0.5], "policies": ["uniform"], "tracking": "off"}
    )
    folder = StudyFolder(Folder.at(str(scratch / "runs")) / "scale")
    folder.write_study(study)
    server = Server(scratch)
    server.start()
    try:
        drive(trials, study, folder, server.uri)
    finally:
        server.kill()
    log = server.log.read_text()
    print(f"MLflow: {log.count('HTTP/1.1') / trials:.1f} requests per trial")


def drive(trials: int, study: StudySpec, folder: StudyFolder, uri: str) -> None:
    """Make Tune's calls: start all trials, report epoch by epoch, end all trials."""
    parts = part_names(study.cells()[0])
    searcher = StudySearcher(study, folder, configure=lambda spec: {"spec": spec.model_dump_json()})
    tracker = Tracker(uri, study.name, {}, warn=print)
    callback = TuneCallback(folder, searcher, [MlflowWatcher(tracker)], check=lambda: None)
    clock, began = Clock(), time.monotonic()
    running: list[Any] = []
    for number in range(trials):
        config = searcher.suggest(str(number))
        running.append(SimpleNamespace(trial_id=str(number), config=config, last_result={}))
        callback.on_trial_start(0, [], running[-1])
    print(f"{trials} trials started: {1e3 * clock.lap() / trials:.2f} ms each", flush=True)
    for epoch in range(EPOCHS):
        report = EpochReport(
            epoch=epoch, val_accuracy=0.5, val_loss=1.0, seconds=1.0, images=1, final=epoch == EPOCHS - 1
        )
        result = to_tune(report)
        for trial in running:
            searcher.on_trial_result(trial.trial_id, result)
            callback.on_trial_result(0, [], trial, result)
    reports, seconds = trials * EPOCHS, time.monotonic() - began
    print(f"{reports} reports: {1e3 * clock.lap() / reports:.3f} ms each, tracker's thread included", flush=True)
    for trial in running:
        spec = searcher._running[trial.trial_id]
        write_outcome(folder.trial(spec.key()), finished(spec, parts, 0.0))
    clock.lap()
    for trial in running:
        searcher.on_trial_complete(trial.trial_id, result)
        callback.on_trial_complete(0, [], trial)
    print(f"ended: {1e3 * clock.lap() / trials:.2f} ms each, after {seconds:.1f} s in total", flush=True)
    searcher.close()
    waiting = time.monotonic()
    tracker.close(timeout=600)
    total = time.monotonic() - began
    rate = f"{trials / total:.1f} trials and {reports / total:.0f} reports per second"
    print(f"tracker done {time.monotonic() - waiting:.1f} s later: {rate}")
    print(f"tracker's thread: {1e3 * clock.lap() / trials:.1f} ms per trial")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)

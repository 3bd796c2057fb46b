"""How many requests each trial and each epoch sends to storage and MLflow.

    python -m tests.benchmarks.cluster_requests

It runs `howcompact run` with a real S3 server and a real MLflow server on loopback, and counts the requests in their
access logs. Two numbers of trials and of epochs separate the requests of a study, a trial and an epoch. Renewals of the
study's lease depend on the clock and are left out.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from pyarrow import fs

from search.running.lease import LEASE
from tests.search.mlflow_server import Server
from tests.search.object_store import object_store

CASES = ((2, 4), (2, 12), (6, 12))  # seeds (one trial each), epochs of fine-tuning
SETTINGS = ("policies=[uniform]", "sparsities=[0.8]", "calibration=64", "dense.epochs=1", "resources.gpus=0")


def requests(log: Path) -> Counter[str]:
    """Count the requests so far, by method."""
    logged = re.findall(r'"(GET|PUT|POST|DELETE|HEAD|PATCH) (\S+) HTTP', log.read_text())
    return Counter(method for method, path in logged if LEASE not in path)


def run(logs: Sequence[Path], tracking: str, seeds: int, epochs: int, home: Path) -> list[Counter[str]]:
    """Run the study in a new folder, and count the requests to each server."""
    before = [requests(log) for log in logs]
    settings = [*SETTINGS, f"seeds={list(range(seeds))}", f"finetune.epochs={epochs}", f"tracking={tracking}"]
    command = [str(Path(sys.executable).with_name("howcompact")), "run", "digits", "--json", "--name", "study"]
    storage = ["--storage", f"s3://bucket/{seeds}-{epochs}?region=us-east-1"]
    subprocess.run([*command, *storage, "--set", *settings], cwd=home, check=True, capture_output=True)
    return [requests(log) - earlier for log, earlier in zip(logs, before, strict=True)]


def main() -> None:
    """Solve for the requests of a study, of a trial and of an epoch."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log, server = home / "s3.log", Server(home)
        endpoint = stack.enter_context(object_store("bucket", log))
        os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_ENDPOINT_URL": endpoint}
        server.start()
        stack.callback(server.kill)
        counts = [run((log, server.log), server.uri, seeds, epochs, home) for seeds, epochs in CASES]
        trials = fs.FileSelector("bucket/6-12/study/trials", recursive=True)
        files = fs.S3FileSystem(endpoint_override=endpoint, region="us-east-1").get_file_info(trials)
        bytes_of_a_trial = sum(file.size or 0 for file in files) / 6
    unknown = np.array([[1, seeds, seeds * epochs] for seeds, epochs in CASES])
    for index, name in enumerate(("S3", "MLflow")):
        for method in sorted({method for case in counts for method in case[index]}):
            counted = [case[index][method] for case in counts]
            study, trial, epoch = np.linalg.solve(unknown, counted)
            print(f"{name} {method}: {counted}: {study:.1f} per study, {trial:.1f} per trial, {epoch:.1f} per epoch")
    print(f"left in storage: {bytes_of_a_trial / 1024:.0f} KiB per trial")


if __name__ == "__main__":
    main()

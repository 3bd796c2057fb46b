"""Storage as a cluster has it: an object store, and a folder that one of two real nodes does not see."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import fs

from search.results.folder import StudyFolder
from search.running.messages import Messages
from search.running.tuner import run_trials
from search.study.reading import read_study
from tests.search.conftest import FEW, howcompact, installed
from tests.search.heads import authentication
from tests.search.object_store import object_store
from tests.search.ports import free_port
from tests.search.waiting import until
from tests.trainables.trials import CPU, make_shared, run_until_killed
from trainables.data import sources
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

APART = ("unshare", "--map-root-user", "--mount")  # a node with mounts of its own
SECRET = "dHVja2VkLWF3YXk"  # of each kind: what must be found nowhere
STUDY = [*FEW, "finetune.epochs=3", "data.max_train=300", "data.max_val=90"]


@dataclass(frozen=True)
class Cluster:
    """Where the head is, what Ray leaves, and a folder that is another one on the second node."""

    address: str
    session: Path
    hidden: Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes that know an object store, and its secrets, from their environment."""
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount anything: unshare --mount is refused")
    hidden = tmp_path_factory.mktemp("hidden")
    address = f"127.0.0.1:{free_port()}"
    cover = [*APART, "sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "sh"]
    with ExitStack() as stack:
        session = stack.enter_context(tempfile.TemporaryDirectory(prefix="hc", ignore_cleanup_errors=True))
        stack.enter_context(authentication(secrets.token_hex(32)))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {
            "AWS_ENDPOINT_URL": stack.enter_context(object_store("bucket")),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": f"{SECRET}-1",
            "AWS_SECRET_ACCESS_KEY": f"{SECRET}-2",
            "AWS_SESSION_TOKEN": f"{SECRET}-3",
            "MLFLOW_TRACKING_PASSWORD": f"{SECRET}-4",
        }.items():
            patch.setenv(name, value)
        head = ["--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={session}"]
        stack.callback(_end, _start([], head))
        until(lambda: _nodes(address) == 1, 60)
        stack.callback(_end, _start(cover, [f"--address={address}"]))
        until(lambda: _nodes(address) == 2, 60)
        yield Cluster(address, Path(session), hidden)


def _start(before: list[str], arguments: list[str]) -> "subprocess.Popen[bytes]":
    names = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port")
    ports = [f"--{name}={free_port()}" for name in (*names, "runtime-env-agent-port")]
    ports += ["--min-worker-port=0", "--max-worker-port=0"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", "--num-cpus=1"]
    command += ["--num-gpus=0", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1", *ports, *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*before, *command], env=environment, stdout=quiet, stderr=quiet, start_new_session=True)


def _end(node: "subprocess.Popen[bytes]") -> None:
    node.terminate()
    with suppress(subprocess.TimeoutExpired):
        node.wait(15)
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def _nodes(address: str) -> int:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    with suppress(Exception):
        return len(GcsClient(address=address).get_all_node_info(timeout=2))
    return 0


def test_a_study_in_an_object_store_goes_on_and_tells_no_secret(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its nodes, its trials, its logs, MLflow and the page: what they know of the environment they keep."""
    storage, study = Folder.at("s3://bucket/studies"), read_study("digits", STUDY)
    folder, (trial,) = StudyFolder(storage / "digits"), study.trials()
    splits = sources.load(study.data)
    make_shared([trial], splits, storage)
    run_until_killed(run_trial(trial, splits, storage, folder.trial(trial.key()), CPU), 2, monkeypatch)
    half = folder.unended(trial, "stopped", "").history
    assert len(half) == 2

    tracking = f"tracking=sqlite:///{tmp_path}/mlflow.db"
    run = ["run", "digits", "--storage", storage.uri, "--address", cluster.address, "--set", *STUDY, tracking]
    done = installed(*run, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["folder"], summary["trials"]["done"]) == (folder.folder.uri, 1)
    whole = folder.outcome(trial.key())
    assert whole is not None
    assert len(whole.history) == 4
    assert whole.history[:2] == half  # seconds included: nothing was done again
    compared = howcompact("compare", folder.folder.uri, cwd=tmp_path)  # run has put its page into MLflow
    assert compared.returncode == 0, compared.stderr

    (tmp_path / "bucket").mkdir()
    fs.copy_files("s3://bucket", str(tmp_path / "bucket"))
    left = [path for place in (tmp_path, cluster.session) for path in place.rglob("*") if path.is_file()]
    names = {path.name for path in left}
    assert {"index.html", "mlflow.db", "results.parquet", "study.json", "raylet.out"} <= names
    assert not [path for path in left if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr + compared.stdout


def test_a_folder_that_one_node_lacks_is_refused_before_the_first_trial(cluster: Cluster) -> None:
    study, storage = read_study("digits", FEW), Folder.at(str(cluster.hidden))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(ValueError, match="storage must be a folder that every node reaches") as refusal:
            run_trials(study, storage, cluster.address, Messages(), (), lambda: None)
    finally:
        signal.signal(signal.SIGTERM, handler)
    told = str(refusal.value)
    assert re.search(rf"{cluster.hidden} is not for [\d.]+ \(FileNotFoundError", told)
    assert "s3://bucket/studies" in told
    assert {path.name for path in cluster.hidden.rglob("*")} == {"digits", "study.json"}

"""Ray's part of a run: connect to a cluster or start a local one, keep its logs quiet, leave it."""

import gc
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO, Any

import ray
from ray.tune.execution import class_cache

from search.running.shared_work import place_of
from search.study.spec import Resources
from trainables.storage import credentials
from trainables.storage.folder import StorageError
from trainables.training.process import WorkerResources

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study folder holds what they would write
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's snapshots are never read
    "TUNE_MAX_PENDING_TRIALS_PG": "16",  # lets an autoscaler see that more trials wait
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run at once: the folder has every finished epoch
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray announces as its future default, without its warning
}


@contextmanager
def _on_ray(resources: Resources, address: str | None) -> Iterator[WorkerResources]:
    """Be connected to a Ray cluster; yields what a trial occupies there."""
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    with _chatter_kept_away():
        local_logs = _connect(address)
        try:
            yield place_of(resources, ray.cluster_resources(), grows=address is not None)
        finally:
            _leave()
    if local_logs:
        shutil.rmtree(local_logs, ignore_errors=True)


@contextmanager
def _chatter_kept_away() -> Iterator[None]:
    """Send what Ray prints to a file without a name, which is given one only where the run fails."""
    with tempfile.TemporaryFile("w+") as log:
        try:
            with redirect_stdout(log), redirect_stderr(log), _logged_to(log):
                yield
        except (ValueError, StorageError):
            raise
        except Exception as error:
            log.seek(0)
            with tempfile.NamedTemporaryFile("w", prefix="howcompact-ray-", suffix=".log", delete=False) as kept:
                shutil.copyfileobj(log, kept)
            error.add_note(f"what Ray said is in {kept.name}")
            raise


@contextmanager
def _logged_to(log: IO[str]) -> Iterator[None]:
    """Send there what Ray's loggers write to a stream that they took when Ray was imported."""
    handlers = [each for each in logging.getLogger("ray").handlers if isinstance(each, logging.StreamHandler)]
    before = [handler.setStream(log) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream)


def _connect(address: str | None) -> str | None:
    """Connect; return where a Ray that was started for it writes its logs."""
    # Tune would hand this process's AWS keys on to its trials, and Ray log them; a node has its own
    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not credentials.TELLING.search(name)
    }
    dashboard = None if address else False
    ours: Any = ray.init(
        address or "local", include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # in place of Ray's: SIGTERM ends a run as Ctrl-C does
    return None if address else str(ours.address_info["session_dir"])


def _leave() -> None:
    """Shut Ray down; a thread whose garbage has one of Ray's references in it would end this process meanwhile."""
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()

"""The Ray session of a run: connect to a cluster or start a local one, keep its logs quiet, shut it down."""

import gc
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from typing import IO, Any

import ray
import torch
from ray.air._internal import usage
from ray.tune.execution import class_cache

from search.running.local_ray import without_services
from search.running.messages import Messages
from search.running.shared_work import worker_resources
from search.study.resources import Resources
from trainables.counts import quantity
from trainables.storage.folder import StorageError
from trainables.training.process import WorkerResources

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study folder holds what they would write
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's snapshots are never read
    "TUNE_MAX_PENDING_TRIALS_PG": "16",  # so that an autoscaler sees that more trials wait
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run at once: the folder has every saved epoch
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_preload_python_modules": "trainables.trial.preload",  # by each worker while it waits for work
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; setting it silences a warning
}
SLOW_START = "timed out during startup"  # part of what Ray says then


@contextmanager
def ray_session(resources: Resources, address: str | None, messages: Messages) -> Iterator[WorkerResources]:
    """Connect to a Ray cluster for the duration; yields the resources of a trial there.

    A verbose run keeps Ray's logs and says where they are. Raises ValueError where Ray cannot start, TimeoutError where
    it starts too slowly.
    """
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    with _output_to_file(messages):
        local_logs = _connect(address)
        if local_logs and messages.verbose:
            messages.say(f"the logs of Ray's processes are kept in {local_logs}/logs")
        try:
            yield worker_resources(resources, ray.cluster_resources(), grows=address is not None)
        finally:
            _shut_down()
    if local_logs and not messages.verbose:
        shutil.rmtree(local_logs, ignore_errors=True)


def refuse_resources(resources: Resources, address: str | None) -> None:
    """Raise ValueError for what keeps Ray from starting here: a Ray in this process, or GPUs that are missing."""
    if ray.is_initialized():
        raise ValueError(
            "a run must start or join Ray itself, but this process uses Ray already; call ray.shutdown() before the "
            'run, and give it address="auto" if a cluster of this machine should run the trials'
        )
    if address is not None or resources.gpus == "auto":
        return
    asked, has = resources.workers * resources.gpus, torch.cuda.device_count()
    if asked > has:
        raise ValueError(
            f"resources.gpus must fit into this machine: PyTorch sees {quantity(has, 'GPU')}, but a trial asks "
            f"for {asked:g}; set "
            "resources.gpus=auto, or give the --address of a cluster"
        )


def _limit_environment(local: bool) -> None:
    """Let Tune set as few environment variables of trials as possible.

    It would hand AWS keys to trials and to Ray's logs, but each node has its own. And variables that differ from those
    of a worker make Ray start another process, though workers of a local Ray wait with everything imported.
    """
    class_cache.DEFAULT_ENV_VARS = {}
    class_cache.ENV_VARS_TO_PROPAGATE = set() if local else {"RAY_CHDIR_TO_TRIAL_DIR"}  # local workers inherit it


@contextmanager
def _output_to_file(messages: Messages) -> Iterator[None]:
    """Redirect what Ray prints to a temporary file, which is kept if the run fails or is verbose."""
    with tempfile.TemporaryFile("w+") as log:
        try:
            with redirect_stdout(log), redirect_stderr(log), _logged_to(log):
                yield
            if messages.verbose and log.seek(0, os.SEEK_END):
                messages.say(f"what Ray printed is kept in {_kept(log)}")
        except (ValueError, StorageError):
            raise
        except Exception as error:
            error.add_note(f"Ray's log is in {_kept(log)}")
            raise


def _kept(log: IO[str]) -> str:
    """Copy a log to a file that stays; return its path."""
    log.seek(0)
    with tempfile.NamedTemporaryFile("w", prefix="howcompact-ray-", suffix=".log", delete=False) as kept:
        shutil.copyfileobj(log, kept)
    return kept.name


@contextmanager
def _logged_to(log: IO[str]) -> Iterator[None]:
    """Redirect Ray's loggers: they keep the stream that they found when Ray was imported."""
    handlers = [each for each in logging.getLogger("ray").handlers if isinstance(each, logging.StreamHandler)]
    before = [handler.setStream(log) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream)


def _connect(address: str | None) -> str | None:
    """Connect; return the log folder of a Ray that this call has started, None for a running cluster."""
    _limit_environment(local=address is None)
    usage.tag_callbacks = lambda callbacks: False  # Ray's usage statistics; counting callbacks imports MLflow: 3 s
    dashboard = None if address else False
    try:
        with nullcontext() if address else without_services():
            context: Any = ray.init(
                address or "local", include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR
            )
    except OSError as error:
        _shut_down()
        if "AF_UNIX path length" not in str(error):
            raise
        variable = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
        raise ValueError(
            f"{variable} must be a short path, as Ray's sockets lie below it, but is {os.environ.get(variable)!r}; set "
            "RAY_TMPDIR to a short folder on a local disk, such as /tmp"
        ) from error
    except Exception as error:  # Ray's own class for this is Exception
        _shut_down()
        if SLOW_START not in str(error):
            raise
        raise TimeoutError(
            "Ray must start within 30 seconds, but did not; give the same command again when this machine is less busy"
        ) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # not Ray's handler: SIGTERM ends a run as Ctrl-C does
    return None if address else str(context.address_info["session_dir"])


def _shut_down() -> None:
    """Shut Ray down without garbage collection: collecting a Ray reference during the shutdown crashes the process."""
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()

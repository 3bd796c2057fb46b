"""A study as a Ray job on a cluster: submit, follow, list, read the log, stop. Functions import Ray when needed."""

import asyncio
import logging
import os
import secrets
import shlex
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.error import HTTPError
from urllib.request import urlopen

from tenacity import RetryError, Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from search.cluster.job_log import JobLog
from search.cluster.packing import STUDY_FILE, check_for_cluster, environment, pack

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

PREFIX = "howcompact-"
ANSWER = 5.0  # seconds that a cluster has for its first answer
PATIENCE = 60.0  # seconds that the cluster may be out of reach while a job is followed
PAUSE = 0.5  # seconds between two requests to the cluster
STOPPING = 30.0  # seconds that a job has to stop; Ray kills it after 3
NOISY_LOGGERS = (
    "ray",
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
)  # they report each upload

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Job:
    """A study's job on a cluster. Times are in seconds since 1970, or None where the job has not started or ended."""

    id: str
    study: str
    storage: str
    status: str  # PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED
    started: float | None
    ended: float | None

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.status not in ("PENDING", "RUNNING")

    def __str__(self) -> str:
        start = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.started)) if self.started else "not yet"
        return f"{self.id}  {self.status:9}  started {start}  {self.storage}"


def submit(study: str, address: str, storage: str, *, overrides: Sequence[str] = (), name: str | None = None) -> str:
    """Start a study as a job and return the job's id. The study's folder is `<storage>/<name of the study>`.

    The job gets the study with its overrides, and the code of this project and of the user's own models as it is on
    this machine. It gets no data and no credentials: those are on the cluster. It gets one variable of this
    environment: MLFLOW_TRACKING_URI, if that is a web address without a password.

    Args:
        study: a YAML file or a shipped name. The job checks the images that only the cluster has.
        address: of the dashboard, such as "http://127.0.0.1:8265".
        storage: URI, or absolute path of a folder that all nodes share.
        overrides: settings as "key=value".
        name: replaces the name in the study file.

    Raises:
        ValueError: the study, storage or address is wrong, or the same study is running there. Nothing is sent.
    """
    checked = check_for_cluster(study, storage, overrides, name)
    client = _connect(address)
    for job in _jobs(client):
        if (job.study, job.storage) == (checked.name, storage) and not job.over:
            raise ValueError(f"a study must have one run at a time, but {job.id} is running; follow or stop that job")
    with TemporaryDirectory() as folder:
        pack(checked, Path(folder))
        return client.submit_job(
            entrypoint=shlex.join(
                ["python", "-m", "search.cli", "run", STUDY_FILE, "--storage", storage, "--address", "auto"]
            ),
            submission_id=f"{PREFIX}{checked.name}-{secrets.token_hex(3)}",
            runtime_env={"working_dir": folder, "env_vars": environment()},
            metadata={"study": checked.name, "storage": storage},
        )


def follow(address: str, job: str, echo: Callable[[str], None]) -> str:
    """Echo each line of a job's log until the job ends. Return its status: SUCCEEDED, FAILED or STOPPED.

    A lost connection continues where it broke. Raises ValueError where the job does not exist, and where the cluster is
    out of reach for PATIENCE seconds; the job runs on.
    """
    from aiohttp import ClientError

    client = _connect(address)
    _find(client, job)
    log = JobLog(echo)
    while True:
        status = _retried(address, client.get_job_status, job)
        log.restart()
        if status.is_terminal():
            log.take(_retried(address, client.get_job_logs, job))
            log.end()
            if not log.lines:  # the job wrote nothing; its message says why
                echo(str(_retried(address, client.get_job_info, job).message))
            return str(status.value)
        with suppress(OSError, RuntimeError, ClientError):  # a lost connection: the next request notices it
            _tail(client, job, log.take)
        time.sleep(PAUSE)


def jobs(address: str) -> list[Job]:
    """List the jobs of a cluster that run studies, the newest first."""
    return _jobs(_connect(address))


def logs(address: str, job: str) -> str:
    """Return all that a job has written so far. Raises ValueError where the job does not exist."""
    client = _connect(address)
    _find(client, job)
    lines: list[str] = []
    log = JobLog(lines.append)
    log.take(client.get_job_logs(job))
    log.end()
    return "\n".join(lines)


def stop(address: str, job: str) -> None:
    """Stop a job and wait until it has stopped. A job that has ended stays as it is. Finished trials are kept.

    Raises ValueError where the job does not exist, and where it has not stopped after STOPPING seconds.
    """
    client = _connect(address)
    _find(client, job)
    client.stop_job(job)
    stopping = Retrying(
        retry=retry_if_result(lambda status: not status.is_terminal()),
        wait=wait_fixed(PAUSE),
        stop=stop_after_delay(STOPPING),
    )
    try:
        stopping(client.get_job_status, job)
    except RetryError as error:
        status = error.last_attempt.result()
        raise ValueError(f"{job} must stop within {STOPPING:.0f} s, but is {status.value}; stop it again") from None


def _retried(address: str, ask: Callable[[str], Answer], job: str) -> Answer:
    """Ask the cluster about a job until it answers. Raises ValueError after PATIENCE seconds."""
    retrying = Retrying(
        retry=retry_if_exception_type((OSError, RuntimeError)),
        wait=wait_fixed(PAUSE),
        stop=stop_after_delay(PATIENCE),
        reraise=True,
    )
    try:
        return retrying(ask, job)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{address} must be reachable to follow {job}, but was out of reach for {PATIENCE:.0f} s ({error}); "
            "the job may still run: follow it again later"
        ) from error


def _tail(client: "JobSubmissionClient", job: str, take: Callable[[str], None]) -> None:
    async def receive() -> None:
        async for text in client.tail_job_logs(job):
            take(text)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ssl=None is deprecated", DeprecationWarning)  # Ray's call of aiohttp
        asyncio.run(receive())


def _connect(address: str) -> "JobSubmissionClient":
    """Connect to the Jobs API of a cluster. Raises ValueError within seconds where that fails."""
    url = address.rstrip("/")
    hint = "start the cluster, forward its dashboard with `ray dashboard cluster.yaml`, and give the address of that"
    if not url.startswith(("http://", "https://")):
        raise ValueError(
            f"address must be that of a dashboard, such as http://127.0.0.1:8265, but is {address!r}; {hint}"
        )
    for variable in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        if os.environ.get(variable, url).rstrip("/") != url:
            raise ValueError(f"{variable} must match {address}, as Ray uses it first, but differs; unset it")
    try:
        urlopen(f"{url}/api/version", timeout=ANSWER).close()
    except HTTPError as refusal:  # it answers; the client below reports the refusal
        refusal.close()
    except (OSError, HTTPException) as error:
        raise ValueError(f"address must answer, but {address} does not ({error}); {hint}") from error
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(url)
    except AuthenticationError as error:
        raise ValueError(
            f"this machine must have the token of the cluster, but {address} refuses it; set RAY_AUTH_MODE=token here "
            "and put the token of the cluster into ~/.ray/auth_token"
        ) from error
    except Exception as error:
        raise ValueError(f"address must be the dashboard of a Ray cluster, but {address}: {error}; {hint}") from error


def _find(client: "JobSubmissionClient", job: str) -> None:
    """Raise ValueError where the cluster does not know the job."""
    try:
        client.get_job_info(job)
    except RuntimeError as error:
        if "status code 404" not in str(error):
            raise
        raise ValueError(f"job must be a job of the cluster, but got {job!r}; `howcompact jobs` lists them") from None


def _jobs(client: "JobSubmissionClient") -> list[Job]:
    ours = [_job(details) for details in client.list_jobs() if (details.submission_id or "").startswith(PREFIX)]
    return sorted(ours, key=lambda job: job.started or 0.0, reverse=True)


def _job(details: Any) -> Job:
    metadata = details.metadata or {}
    started, ended = ((ms / 1000 if ms else None) for ms in (details.start_time, details.end_time))
    return Job(
        details.submission_id,
        metadata.get("study", ""),
        metadata.get("storage", ""),
        details.status.value,
        started,
        ended,
    )

"""A study as a Ray job on a cluster: submit, follow, list, read the log, stop. Ray is imported by what needs it."""

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
ANSWER = 5.0  # seconds in which the cluster must answer at all
PATIENCE = 60.0  # seconds that following a job bears without the cluster
PAUSE = 0.5  # seconds between two questions to the cluster
STOPPING = 30.0  # seconds in which a job must have stopped; Ray kills it after 3
CHATTY = ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")  # loggers, of each upload

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Job:
    """A study's job on a cluster. Times are in seconds since 1970, None where the job has not come so far."""

    id: str
    study: str
    storage: str
    status: str  # PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED
    started: float | None
    ended: float | None

    @property
    def over(self) -> bool:
        """Whether the job will not go on."""
        return self.status not in ("PENDING", "RUNNING")

    def __str__(self) -> str:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.started)) if self.started else "not yet"
        return f"{self.id}  {self.status:9}  started {began}  {self.storage}"


def submit(study: str, address: str, storage: str, *, overrides: Sequence[str] = (), name: str | None = None) -> str:
    """Start a study as a job and return the job's id; the study's folder will be `<storage>/<name of the study>`.

    The job gets the code of this project and of the user's own models as they are here, and the study with its
    overrides, but no data and no credentials: those are the cluster's. Of this environment it gets only
    MLFLOW_TRACKING_URI, where that is a web address without a password.

    Args:
        study: a YAML file or a shipped name. Images that only the cluster has are left for the job to check.
        address: where the dashboard listens, as "http://127.0.0.1:8265".
        storage: URI, or absolute path of a folder that all nodes share.
        overrides: settings as "key=value".
        name: of the study, instead of its own.

    Raises:
        ValueError: the study, storage or address will not do, or the same study is running there; nothing was sent.
    """
    checked = check_for_cluster(study, storage, overrides, name)
    client = _connect(address)
    for job in _jobs(client):
        if (job.study, job.storage) == (checked.name, storage) and not job.over:
            raise ValueError(f"a study must run once at a time, but {job.id} is running it; follow its logs or stop it")
    with TemporaryDirectory() as folder:
        pack(checked, Path(folder))
        return client.submit_job(
            entrypoint=shlex.join(
                ["python", "-m", "search.cli.app", "run", STUDY_FILE, "--storage", storage, "--address", "auto"]
            ),
            submission_id=f"{PREFIX}{checked.name}-{secrets.token_hex(3)}",
            runtime_env={"working_dir": folder, "env_vars": environment()},
            metadata={"study": checked.name, "storage": storage},
        )


def follow(address: str, job: str, echo: Callable[[str], None]) -> str:
    """Tell each line of a job's log until the job ends; return its status: SUCCEEDED, FAILED or STOPPED.

    A lost connection is taken up again where it broke. Raises ValueError where there is no such job, and where the
    cluster has been out of reach for PATIENCE seconds; the job itself never minds who follows it.
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
            if not log.lines:  # the job ended before it wrote anything; its message says why
                echo(str(_retried(address, client.get_job_info, job).message))
            return str(status.value)
        with suppress(OSError, RuntimeError, ClientError):  # a lost connection, which the next question notices
            _tail(client, job, log.take)
        time.sleep(PAUSE)


def jobs(address: str) -> list[Job]:
    """List the studies' jobs of a cluster, the newest first."""
    return _jobs(_connect(address))


def logs(address: str, job: str) -> str:
    """Return all that a job has written so far. Raises ValueError where there is no such job."""
    client = _connect(address)
    _find(client, job)
    lines: list[str] = []
    log = JobLog(lines.append)
    log.take(client.get_job_logs(job))
    log.end()
    return "\n".join(lines)


def stop(address: str, job: str) -> None:
    """Stop a job and wait until it has stopped; one that has ended already stays as it is. What it finished stays.

    Raises ValueError where there is no such job, and where it has not stopped after STOPPING seconds.
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
    """Ask the cluster about a job, again and again while it is out of reach; ValueError after PATIENCE seconds."""
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
            f"{address} must be reachable to follow {job}, but was not for {PATIENCE:.0f} s ({error}); "
            "the job may still run: follow it again later"
        ) from error


def _tail(client: "JobSubmissionClient", job: str, take: Callable[[str], None]) -> None:
    async def hear() -> None:
        async for text in client.tail_job_logs(job):
            take(text)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ssl=None is deprecated", DeprecationWarning)  # Ray's call of aiohttp
        asyncio.run(hear())


def _connect(address: str) -> "JobSubmissionClient":
    """Reach the Jobs API of a cluster; ValueError, within seconds, where it cannot be reached."""
    url = address.rstrip("/")
    hint = "start the cluster, forward its dashboard with `ray dashboard cluster.yaml`, and give that address"
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"address must be a dashboard's, such as http://127.0.0.1:8265, but got {address!r}; {hint}")
    for variable in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        if os.environ.get(variable, url).rstrip("/") != url:
            raise ValueError(f"{variable} must not contradict the address {address}, as Ray heeds it first; unset it")
    try:
        urlopen(f"{url}/api/version", timeout=ANSWER).close()
    except HTTPError as refusal:  # it answers; the client says what it refuses
        refusal.close()
    except (OSError, HTTPException) as error:
        raise ValueError(f"address must answer, but {address} does not ({error}); {hint}") from error
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(url)
    except AuthenticationError as error:
        raise ValueError(
            f"the cluster must know this machine by its token, but {address} refuses it; set RAY_AUTH_MODE=token here "
            "and put the cluster's token in ~/.ray/auth_token"
        ) from error
    except Exception as error:
        raise ValueError(f"address must be the dashboard of a Ray cluster, but {address}: {error}; {hint}") from error


def _find(client: "JobSubmissionClient", job: str) -> None:
    """Raise ValueError where the cluster knows no such job."""
    try:
        client.get_job_info(job)
    except RuntimeError as error:
        if "status code 404" not in str(error):
            raise
        raise ValueError(f"job must be one of the cluster's, but got {job!r}; `howcompact jobs` lists them") from None


def _jobs(client: "JobSubmissionClient") -> list[Job]:
    found = [_job(details) for details in client.list_jobs() if (details.submission_id or "").startswith(PREFIX)]
    return sorted(found, key=lambda job: job.started or 0.0, reverse=True)


def _job(details: Any) -> Job:
    told = details.metadata or {}
    started, ended = ((ms / 1000 if ms else None) for ms in (details.start_time, details.end_time))
    return Job(
        details.submission_id, told.get("study", ""), told.get("storage", ""), details.status.value, started, ended
    )

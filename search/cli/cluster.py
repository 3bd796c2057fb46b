"""The commands for clusters: their configs and their jobs."""

import sys
from dataclasses import asdict
from typing import Annotated, TextIO

import typer

import search
from search.cli.options import Address, Json, Name, Settings, Study
from search.results.to_json import to_json

cluster = typer.Typer()
JobId = Annotated[str, typer.Argument(help="The id of a job, as `submit` and `jobs` print it.")]
Follow = Annotated[bool, typer.Option("--follow", help="Stream the job's output until it ends.")]


@cluster.command("cluster")
def config(kind: Annotated[str, typer.Option(help="aws, kubernetes or onprem.")]) -> None:
    """Print the config of a cluster. Change the lines that are marked (1) to (5).

    Example: howcompact cluster --kind kubernetes > cluster.yaml
    """
    from search.study.shipped import yaml_files
    from trainables.lookup import pick

    print(pick("kind", kind, yaml_files("clusters")), end="")


@cluster.command()
def submit(
    study: Study,
    address: Address,
    storage: Annotated[str, typer.Option(help="Folder or URI of the studies that every node can reach.")],
    name: Name = None,
    settings: Settings = [],  # noqa: B006
    follow: Follow = False,
    as_json: Json = False,
) -> None:
    """Run a study as a job on a Ray cluster. Submit the study again to continue it.

    Example: howcompact submit digits --address http://127.0.0.1:8265 --storage s3://bucket/studies --follow
    """
    job = search.submit(study, address, storage, name=name, overrides=settings)
    out = sys.stderr if as_json else sys.stdout
    print(job, file=out, flush=True)
    status = _follow(address, job, out) if follow else None
    if as_json:
        print(to_json({"job": job, "status": status}))
    _exit_by(status)


@cluster.command()
def jobs(address: Address, as_json: Json = False) -> None:
    """List the jobs of a cluster.

    Example: howcompact jobs --address http://127.0.0.1:8265
    """
    from search.cluster.jobs import jobs as list_jobs

    listed = list_jobs(address)
    if as_json:
        return print(to_json({"jobs": [asdict(job) for job in listed]}))
    for job in listed:
        print(job)
    return None


@cluster.command()
def logs(job: JobId, address: Address, follow: Follow = False) -> None:
    """Print the log of a job.

    Example: howcompact logs howcompact-digits-1a2b3c --address http://127.0.0.1:8265 --follow
    """
    from search.cluster.jobs import logs as job_logs

    if follow:
        return _exit_by(_follow(address, job, sys.stdout))
    return print(job_logs(address, job))


@cluster.command()
def stop(job: JobId, address: Address) -> None:
    """Stop a job. The results of its finished trials are kept.

    Example: howcompact stop howcompact-digits-1a2b3c --address http://127.0.0.1:8265
    """
    from search.cluster.jobs import stop as stop_job

    stop_job(address, job)


def _follow(address: str, job: str, out: TextIO) -> str:
    """Print a job's log as it grows, then its status; return the status. Ctrl-C does not stop the job."""
    from search.cluster.jobs import follow

    try:
        status = follow(address, job, lambda text: print(text, file=out, flush=True))
    except KeyboardInterrupt:
        print(f"{job} still runs; follow it again: howcompact logs {job} --address {address} --follow", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"{job}: {status}", file=out)
    return status


def _exit_by(status: str | None) -> None:
    if status not in (None, "SUCCEEDED"):
        raise typer.Exit(1)

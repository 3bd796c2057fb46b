"""The commands that talk to a cluster."""

from typing import Annotated

import typer

import search
from search.arguments import Address, Name, Settings, Study

cluster = typer.Typer()


@cluster.command()
def submit(
    study: Study,
    address: Address,
    storage: Annotated[str, typer.Option(help="Folder or URI that every node of the cluster reaches.")],
    name: Name = None,
    settings: Settings = [],  # noqa: B006
    follow: Annotated[bool, typer.Option("--follow", help="Stream the job's output until it ends.")] = False,
) -> None:
    """Run a study as a job on a Ray cluster; submitting it again continues it."""
    job = search.submit(study, address, storage, name=name, overrides=settings)
    print(job, flush=True)
    if follow:
        from search.jobs import follow as follow_job

        ended = follow_job(address, job, lambda text: print(text, flush=True))
        print(f"{job}: {ended}")
        if ended != "SUCCEEDED":
            raise typer.Exit(1)


@cluster.command()
def jobs(address: Address) -> None:
    """List the jobs of a cluster."""
    from search.jobs import jobs as list_jobs

    for job in list_jobs(address):
        print(job)


@cluster.command()
def logs(job: str, address: Address) -> None:
    """Print what a job has said."""
    from search.jobs import logs as job_logs

    print(job_logs(address, job))


@cluster.command()
def stop(job: str, address: Address) -> None:
    """Stop a job; what it has finished stays."""
    from search.jobs import stop as stop_job

    stop_job(address, job)

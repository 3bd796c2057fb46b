"""The command line: parse, call, print. Each command imports heavy libraries only when it runs."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import search
from search.cli.cleaning import cleaning
from search.cli.cluster import cluster
from search.cli.ending import errors_as_lines, stoppable
from search.cli.latency import latency
from search.cli.networks import networks
from search.cli.options import (
    Device,
    Dry,
    Evaluator,
    Json,
    Margin,
    Metric,
    Name,
    Quiet,
    Ray,
    Settings,
    Storage,
    Study,
    StudyDir,
    Trusted,
    Verbose,
    Version,
    general_first,
    spread,
    verbosity,
)
from search.cli.reference import reference
from search.cli.verification import verification
from search.results.out_folder import refuse_out, writing
from search.results.to_json import to_json
from trainables.garbage import uncollected

app = typer.Typer(
    name="howcompact",
    help="Compare how pruning budgets are shared among the layers of neural networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(version: Version = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Take the options of all commands."""
    if quiet and verbose:
        raise ValueError("--quiet must come without --verbose, but both are given; drop one")


@app.command()
def run(
    context: typer.Context,
    study: Study = "digits",
    storage: Storage = search.STORAGE,
    name: Name = None,
    settings: Settings = [],  # noqa: B006
    address: Ray = None,
    dry_run: Dry = False,
    as_json: Json = False,
) -> None:
    """Start, continue or extend a study.

    Exit code: 0 if no trial failed, 3 if some did, 1 if none was done or the storage failed, 2 for a mistake.

    Example: howcompact run digits --set seeds=[0,1] finetune.epochs=5
    """
    how = verbosity(context)
    if dry_run:
        plan = search.dry_run(study, storage, name=name, overrides=settings, progress=how)
        if as_json:
            return print(to_json(plan))
        from search.cli.dry_run_lines import print_dry_run

        return print_dry_run(plan)
    from search.cli.run_lines import show_run

    show = partial(show_run, as_json=as_json)
    with stoppable():
        summary = search.run(study, storage, name=name, overrides=settings, address=address, progress=how, show=show)
    if summary.trials["failed"]:
        raise typer.Exit(3 if summary.trials["done"] else 1)
    return None


@app.command()
def status(folder: StudyDir, as_json: Json = False) -> None:
    """Show the progress of a study: trials by state, epochs, best networks so far, time left.

    Example: howcompact status howcompact-runs/digits
    """
    from search.results.folder import StudyFolder
    from search.results.status import status_of

    progress = status_of(StudyFolder.open(folder))
    if as_json:
        return print(to_json(progress))
    from search.cli.status_lines import print_status

    return print_status(progress)


@app.command()
def compare(
    folders: Annotated[list[str], typer.Argument(help="Study folders.")],
    margin: Margin = None,
    out: Annotated[str | None, typer.Option(help="Write tables, plots and one HTML page to this folder.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Also measure the accuracies on the test split.")] = False,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Compare policies at equal budgets over the same seeds, with confidence intervals.

    Example: howcompact compare howcompact-runs/digits --margin 0.3 --out report
    """
    if out is not None:
        from search.report.out_files import refuse_others_files

        refuse_out(out)
        refuse_others_files(Path(out))
    with uncollected():  # a large comparison creates a million objects
        comparison = search.compare(folders, margin=margin, test=test, trust=trust)
    written: list[Any] = []
    if out is not None:
        from search.report.write import write_report
        from search.results.folder import StudyFolder

        with writing(out):
            written = write_report(comparison, Path(out), [StudyFolder.open(folder) for folder in folders])
    if as_json:
        return print(to_json(comparison))
    from search.cli.comparison_tables import print_comparison

    print_comparison(comparison)
    for path in written:
        print(path)
    return None


@app.command()
def learnability(
    context: typer.Context,
    study: Study = "learnability",
    storage: Storage = search.STORAGE,
    name: Name = None,
    settings: Settings = [],  # noqa: B006
    address: Ray = None,
    out: Annotated[str | None, typer.Option(help="Write samples.parquet, figures and one HTML page here.")] = None,
    as_json: Json = False,
) -> None:
    """Train a study's dense networks, and show which training samples are easy and whether networks agree.

    Example: howcompact learnability learnability --set models=[resnet20] --out samples
    """
    with stoppable():
        result = search.learnability(
            study, storage, name=name, overrides=settings, address=address, out=out, progress=verbosity(context)
        )
    if as_json:
        return print(to_json(result))
    from search.cli.sample_tables import print_learnability

    print_learnability(result)
    if out is not None:
        print(f"{out}/index.html")
    return None


@app.command()
def best(
    folder: StudyDir,
    metric: Metric = "best_val_accuracy",
    where: Annotated[list[str], typer.Option(help="Constraints, such as 'sparsity>=0.9' 'latency_ms<=3'.")] = [],  # noqa: B006
    policy: Annotated[str | None, typer.Option(help="Only trials of this policy.")] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Copy each network that no other network beats.")] = False,
    out: Annotated[str, typer.Option(help="Folder to copy the checkpoint to.")] = "best",
    export: Annotated[list[str], typer.Option(help="Also export the network: onnx, torch or int8.")] = [],  # noqa: B006
    register: Annotated[str | None, typer.Option(help="Register the network in MLflow under this model name.")] = None,
    device: Device = None,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Copy the network of the best trial, and verify its accuracy in a new process.

    Example: howcompact best howcompact-runs/digits --where 'sparsity>=0.9' --out best
    """
    request: dict[str, Any] = {"metric": metric, "where": where, "policy": policy, "out": out, "device": device}
    if pareto:
        if register is not None:
            raise ValueError(
                f"--register must come without --pareto, which copies several networks, but got {register!r}; drop one"
            )
        front = search.front(folder, **request, export=export, trust=trust)
        if as_json:
            return print(to_json(front))
        from search.cli.best_tables import print_front

        return print_front(front)
    retrieved = search.best(folder, **request, export=export, register=register, trust=trust)
    if as_json:
        return print(to_json(retrieved))
    from search.cli.best_tables import print_network

    return print_network(retrieved)


@app.command()
def importance(folder: StudyDir, evaluator: Evaluator = "ped-anova", as_json: Json = False) -> None:
    """Show which parts' densities matter most for the accuracy in the searches of a study.

    Example: howcompact importance howcompact-runs/digits
    """
    from search.cli.search_tables import print_importances
    from search.comparison.importance import importances
    from search.results.folder import StudyFolder

    result = importances(StudyFolder.open(folder), evaluator)
    return print(to_json(result)) if as_json else print_importances(result)


for commands in (reference, networks, latency, cluster, verification, cleaning):
    app.add_typer(commands)


def main() -> None:
    """Run the command line. Errors are `error: ` lines; the exit code is 2 for a mistake, 1 if storage or Ray fail."""
    sys.path.append("")  # the current folder may hold the user's own models
    arguments = general_first(sys.argv[1:])
    with errors_as_lines(tracebacks=not {"--verbose", "-v"}.isdisjoint(arguments)):
        app(args=spread(arguments))

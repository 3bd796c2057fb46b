"""The command line: parse, call, print. Heavy libraries are imported inside the commands."""

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

import search
from search.cli.cluster import cluster
from search.cli.networks import networks
from search.cli.options import Evaluator, Json, Name, Ray, Settings, Storage, Study, StudyDir, Trusted, spread
from trainables.storage.credentials import redacted

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(
    name="howcompact",
    help="How compact can each layer of a network become, and which way of sharing the pruning budget gets there?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    study: Study = "digits",
    storage: Storage = search.STORAGE,
    name: Name = None,
    settings: Settings = [],  # noqa: B006
    address: Ray = None,
    as_json: Json = False,
) -> None:
    """Start, continue or extend a study."""
    with _stoppable():
        summary = search.run(study, storage, name=name, overrides=settings, address=address)
    if as_json:
        return _print_json(summary, exclude={"comparison"})
    from search.cli.comparison_tables import print_comparison

    if summary.comparison:
        print_comparison(summary.comparison)
    counts = ", ".join(f"{count} {state}" for state, count in summary.trials.items())
    print(
        f"trials: {counts}; {summary.wall_seconds:.0f} s, of which {summary.trial_seconds:.0f} s in new trials, summed"
    )
    print(f"study folder: {summary.folder}")
    if summary.tracking:
        print(f"MLflow: mlflow ui --backend-store-uri {summary.tracking}")
    if summary.best:
        trust = f" --trust {summary.best.model}" if ":" in summary.best.model else ""
        print(f"best checkpoint: howcompact best {summary.folder} --where 'sparsity>=0.9' --out best/{trust}")
    return None


@app.command()
def status(folder: StudyDir, as_json: Json = False) -> None:
    """Show how far a study is: trials by state, epochs, best so far, time left."""
    from search.results.folder import StudyFolder
    from search.results.status import status_of

    found = status_of(StudyFolder.open(folder))
    if as_json:
        return _print_json(found)
    print(", ".join(f"{count} {state}" for state, count in found.trials.items()))
    print(f"{found.epochs} epochs trained; about {found.seconds_left:.0f} s of trials left")
    for policy, row in found.best.items():
        accuracy = f"{100 * (row.best_val_accuracy or 0):.1f} %"
        print(f"best of {policy}: {accuracy} at sparsity {row.sparsity:g} (trial {row.trial})")
    return None


@app.command()
def compare(
    folders: Annotated[list[str], typer.Argument(help="Study folders.")],
    out: Annotated[str | None, typer.Option(help="Write tables, plots and one HTML page to this folder.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Read the test split, once for each trial.")] = False,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Compare policies side by side: matched budgets, paired seeds, intervals."""
    gc.disable()  # a large comparison is a million objects, none of them garbage
    comparison = search.compare(folders, test=test, trust=trust)
    gc.freeze()
    gc.enable()
    written: list[Any] = []
    if out is not None:
        from pathlib import Path

        from search.report.write import write_report
        from search.results.folder import StudyFolder

        written = write_report(comparison, Path(out), [StudyFolder.open(folder) for folder in folders])
    if as_json:
        return _print_json(comparison)
    from search.cli.comparison_tables import print_comparison

    print_comparison(comparison)
    for path in written:
        print(path)
    return None


@app.command()
def learnability(
    study: Study = "learnability",
    storage: Storage = search.STORAGE,
    name: Name = None,
    settings: Settings = [],  # noqa: B006
    address: Ray = None,
    out: Annotated[str | None, typer.Option(help="Write samples.parquet, figures and one HTML page here.")] = None,
    as_json: Json = False,
) -> None:
    """Show which training samples are easy, and whether networks agree; train the study's dense networks for it."""
    with _stoppable():
        found = search.compare_samples(study, storage, name=name, overrides=settings, address=address, out=out)
    if as_json:
        return _print_json(found)
    from search.cli.sample_tables import print_learnability

    print_learnability(found)
    if out is not None:
        print(f"{out}/index.html")
    return None


@app.command()
def best(
    folder: StudyDir,
    metric: Annotated[str, typer.Option(help="A number of the results, or latency_ms.")] = "best_val_accuracy",
    where: Annotated[list[str], typer.Option(help="Constraints, as 'sparsity>=0.9' 'latency_ms<=3'.")] = [],  # noqa: B006
    policy: Annotated[str | None, typer.Option(help="Only trials of this policy.")] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Every network that no other beats.")] = False,
    out: Annotated[str, typer.Option(help="Folder to copy the checkpoint to.")] = "best",
    export: Annotated[list[str], typer.Option(help="Also write it as onnx or torch.")] = [],  # noqa: B006
    register: Annotated[str | None, typer.Option(help="Name of a model in MLflow's registry.")] = None,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Copy the best trial's network, verified by judging it again in a clean process."""
    asked: dict[str, Any] = {"metric": metric, "where": where, "policy": policy, "out": out, "export": export}
    if pareto:
        if register is not None:
            raise ValueError(f"--register must have one network, but --pareto takes several for {register!r}; use one")
        front = search.front(folder, **asked, trust=trust)
        if as_json:
            return _print_json(front)
        from search.cli.best_tables import print_front

        return print_front(front)
    taken = search.best(folder, **asked, register=register, trust=trust)
    if as_json:
        return _print_json(taken)
    from search.cli.best_tables import print_network

    return print_network(taken)


@app.command()
def importance(folder: StudyDir, evaluator: Evaluator = "ped-anova", as_json: Json = False) -> None:
    """Show which parts' densities decided about the accuracy, among the trials of a study's searches."""
    from search.cli.search_tables import print_importances
    from search.comparison.importance import importances
    from search.results.folder import StudyFolder

    found = importances(StudyFolder.open(folder), evaluator)
    return _print_json(found) if as_json else print_importances(found)


@app.command()
def catalog(kind: Annotated[str | None, typer.Argument(help="One kind only.")] = None, as_json: Json = False) -> None:
    """List models, data sets, criteria, policies, schedules, recoveries, curricula, samplers, studies, ..."""
    from search.cli.catalog import listing

    found = listing(kind)
    if as_json:
        return print(json.dumps(found))
    for name, entries in found.items():
        print(name)
        for entry, about in entries.items():
            print(f"  {entry:22} {about}")
    return None


@app.command()
def schema() -> None:
    """Print the JSON schema of study files, by which editors complete and check them.

    The shipped studies name the schema as study.schema.json beside them; write it there.

    Example: howcompact schema > study.schema.json
    """
    from search.study.schema import study_schema

    print(json.dumps(study_schema(), indent=2))


app.add_typer(networks)
app.add_typer(cluster)


def main() -> None:
    """Run the command line; the user's mistake is `error:` and exit code 2, a storage that fails is that and 1."""
    sys.path.append("")  # a user's own package.module:function is looked for where the command is called
    try:
        app(args=spread(sys.argv[1:]))
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"error: {redacted(line)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        from trainables.storage.folder import StorageError

        if not isinstance(error, StorageError):
            raise
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None


def _print_json(told: "BaseModel", exclude: set[str] | None = None) -> None:
    print(told.model_dump_json(exclude=exclude))


if __name__ == "__main__":
    main()

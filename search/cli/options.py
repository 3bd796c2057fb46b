"""The arguments that several commands share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from search.running.messages import Verbosity

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Storage = Annotated[str, typer.Option(help="Folder or URI (s3://, gs://) that holds the studies.")]
Settings = Annotated[list[str], typer.Option("--set", help="Settings to change, such as finetune.epochs=5.")]
Study = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped study.")]
StudyDir = Annotated[str, typer.Argument(help="The study folder that `run` printed: a path or a URI.")]
Evaluator = Annotated[str, typer.Option(help="Method that computes the importance: ped-anova or fanova.")]
Name = Annotated[str | None, typer.Option(help="Name of the study and of its folder; default: the name in the file.")]
Margin = Annotated[
    float | None, typer.Option(help="Test which policies are equivalent within so many points of accuracy.")
]
Metric = Annotated[str, typer.Option(help="The result to choose the trial by, or latency_ms.")]
Trusted = Annotated[
    list[str], typer.Option("--trust", help="A model of your own that may be imported, as package.module:function.")
]
Device = Annotated[
    str | None,
    typer.Option(help="Where latency is measured: torch-cpu, torch-cuda or onnxruntime-cpu; default: PyTorch."),
]
InputImage = Annotated[str | None, typer.Option(help="Channels x height x width; default: 3x32x32.")]
InputTensor = Annotated[
    str | None, typer.Option("--input", help="For no images: extents[:type], as 16:int64 for tokens, or 2x128.")
]
Classes = Annotated[int, typer.Option(help="Number of classes, for a model's name.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would run and what is reused; start nothing.")]
Ray = Annotated[str | None, typer.Option("--address", help="Address of a Ray cluster; default: start a local one.")]
Address = Annotated[
    str,
    typer.Option(
        help="Address of the cluster's dashboard, such as http://127.0.0.1:8265.",
        envvar=["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"],  # Ray's own variables, in its order
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from search.results.versions import versions

        print(f"howcompact {versions(['howcompact']).get('howcompact', 'is not installed')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
]


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress, only warnings, errors and results. At any place.")
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Show each trial and each epoch of dense training, keep Ray's logs, show errors with tracebacks. "
        "At any place.",
    ),
]
GENERAL = ("--quiet", "-q", "--verbose", "-v")


def verbosity(context: typer.Context) -> "Verbosity":
    """Return how much of its progress a command shows."""
    chosen = context.find_root().params
    return "quiet" if chosen["quiet"] else "verbose" if chosen["verbose"] else "normal"


def general_first(arguments: Sequence[str]) -> list[str]:
    """Move --quiet and --verbose before the command: users write them at its end, too."""
    return sorted(arguments, key=lambda argument: argument not in GENERAL)


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat --where and --set before each of their values, because typer takes one value for each option."""
    repeated: list[str] = []
    option: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in ("--where", "--set") else None
            repeated.append(argument)
        elif option is not None and repeated[-1] != option:
            repeated += [option, argument]
        else:
            repeated.append(argument)
    return repeated

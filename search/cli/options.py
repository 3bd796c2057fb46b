"""The arguments that several commands share."""

from collections.abc import Sequence
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Storage = Annotated[str, typer.Option(help="Folder or URI (s3://, gs://) that holds the studies.")]
Settings = Annotated[list[str], typer.Option("--set", help="Settings as key=value, such as finetune.epochs=5.")]
Study = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped study.")]
StudyDir = Annotated[str, typer.Argument(help="The study folder that `run` printed: a path or a URI.")]
Evaluator = Annotated[str, typer.Option(help="How importance is computed: ped-anova or fanova.")]
Name = Annotated[str | None, typer.Option(help="Name of the study and its folder.")]
Trusted = Annotated[
    list[str], typer.Option("--trust", help="A model of your own, package.module:function, that may be imported.")
]
Ray = Annotated[str | None, typer.Option("--address", help="A running Ray cluster; default: a local one.")]
Address = Annotated[str, typer.Option(help="Where the cluster's dashboard listens, as http://127.0.0.1:8265.")]


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat --where and --set before each of their further values, as typer takes one value for each option."""
    taken: list[str] = []
    option: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in ("--where", "--set") else None
            taken.append(argument)
        elif option is not None and taken[-1] != option:
            taken += [option, argument]
        else:
            taken.append(argument)
    return taken

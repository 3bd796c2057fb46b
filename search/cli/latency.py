"""The command that measures a latency table."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import Classes, InputImage, InputTensor, Json, Quiet
from search.results.out_folder import refuse_out, writing
from search.results.to_json import to_json

latency = typer.Typer()


@latency.command()
def latency_table(
    model: Annotated[str, typer.Argument(help="A model's name.")],
    device: Annotated[str, typer.Option(help="torch-cpu, torch-cuda or onnxruntime-cpu.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    width: Annotated[float, typer.Option(help="Factor on the channels of the project's own models.")] = 1.0,
    threads: Annotated[int, typer.Option(help="Threads of the CPU.")] = 1,
    batch: Annotated[int, typer.Option(help="Samples that the network takes at once.")] = 1,
    granularity: Annotated[str, typer.Option(help="channel, block or projected-block.")] = "channel",
    round_to: Annotated[int, typer.Option(help="Channels are kept in multiples of this.")] = 8,
    image: InputImage = None,
    tensor: InputTensor = None,
    classes: Classes = 10,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how long a network takes on this machine at many widths. A study's setting `device` takes the file.

    Example: howcompact latency-table resnet20 --device onnxruntime-cpu --out laptop.parquet
    """
    from search.networks.latency import measured
    from trainables.mistakes import checked
    from trainables.spec import LatencySpec

    if out.suffix != ".parquet":
        raise ValueError(f"--out must end with .parquet, but got {str(out)!r}; rename it")
    refuse_out(out.parent)
    settings = {
        "model": model,
        "width": width,
        "device": {"name": device, "threads": threads, "batch": batch},
        "granularity": granularity,
        "round_to": round_to,
    }
    spec = checked(LatencySpec, settings)

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr)

    table, found = measured(spec, image, tensor, classes, say)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(table.to_parquet())
    if as_json:
        return print(to_json(found))
    print(found.line)
    for line in found.warnings:
        print(f"warning: {line}")
    print(out)
    return None

"""The commands for one network, without a study."""

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import Classes, InputImage, InputTensor, Json, Trusted
from search.results.out_folder import refuse_out, writing
from search.results.to_json import to_json
from trainables.models.trust import Trust

networks = typer.Typer()

Checkpoint = Annotated[str, typer.Argument(help="The folder of a checkpoint.")]
Model = Annotated[str, typer.Argument(help="A model's name, or the folder of a checkpoint.")]
Image = Annotated[str, typer.Option(help="Channels x height x width, for a model's name.")]
Granularity = Annotated[str, typer.Option(help="weight, channel, block or projected-block.")]
Criterion = Annotated[str | None, typer.Option(help="Default: magnitude for weights, l1 for channels and blocks.")]
Rules = Annotated[
    str | None, typer.Option(help="Rules for layers: a YAML file, as a study's setting layers, or the YAML itself.")
]
Out = Annotated[Path | None, typer.Option(help="Write JSON, the curves and a picture to this folder.")]


@networks.command()
def allocate(
    network: Model,
    policy: Annotated[str, typer.Option(help="An allocation policy.")],
    sparsity: Annotated[float, typer.Option(help="Fraction of the budget to remove, in [0, 1).")],
    budget: Annotated[str, typer.Option(help="params, macs or latency.")] = "params",
    table: Annotated[str | None, typer.Option(help="File of `howcompact latency-table`, for budget latency.")] = None,
    granularity: Granularity = "weight",
    criterion: Criterion = None,
    compensate: Annotated[
        bool, typer.Option("--compensate", help="Share the budget as in a trial that compensates.")
    ] = False,
    finetune: Annotated[
        float | None,
        typer.Option(help="Share the budget as in a trial that fine-tunes at this learning rate; matters to capacity."),
    ] = None,
    layers: Rules = None,
    given: Annotated[
        str | None, typer.Option(help='The densities of policy "given": a CSV, Parquet, JSON or YAML file.')
    ] = None,
    image: Image = "3x32x32",
    classes: Classes = 10,
    seed: Annotated[int, typer.Option(help="Seed of a named model's weights and of random policies.")] = 0,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Show what each layer keeps under a policy, without a trial.

    Example: howcompact allocate resnet20 --policy erk --sparsity 0.9
    """
    from search.networks.allocation import allocation
    from search.networks.network import fresh, saved
    from search.study.given import densities_of
    from search.study.rules import read_rules

    settings = {
        "policy": policy,
        "sparsity": sparsity,
        "budget": budget,
        "device": {"table": table or ""},
        "granularity": granularity,
        "criterion": criterion or _usual_criterion(granularity),
        "compensate": compensate,
        "layers": [] if layers is None else read_rules(layers),
        "densities": None if given is None else densities_of(given),
        "finetune": {"epochs": 0} if finetune is None else {"epochs": 1, "lr": finetune},
    }
    opened = saved(network, Trust(trust)) or fresh(network, image, classes, seed)
    found = allocation(opened, settings, seed)
    if as_json:
        return print(to_json(found))
    from search.cli.network_tables import print_allocation

    print_allocation(found)
    return None


@networks.command()
def inspect(
    network: Model,
    image: InputImage = None,
    tensor: InputTensor = None,
    layers: Rules = None,
    classes: Classes = 10,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Show what a network consists of: weights, multiply-accumulates, and what can be pruned at which granularity.

    Example: howcompact inspect vit_b_16 --image 3x224x224 --classes 1000

    Example: howcompact inspect hf:BertModel --input 16:int64
    """
    from search.networks.inspection import inspection
    from search.networks.network import by_name, not_alone, saved
    from search.study.rules import checked_rules

    rules = checked_rules(layers)
    opened = saved(network, Trust(trust))
    if opened and tensor is not None:
        raise not_alone("a checkpoint, which knows its input")
    if opened:
        model, example = opened.model, opened.architecture.example()
    else:
        model, example = by_name(network, image, tensor, classes)
    found = inspection(network, model, example, rules, opened.rules if opened else "")
    if as_json:
        return print(to_json(found))
    from search.cli.inspection_tables import print_inspection

    print_inspection(found)
    return None


@networks.command()
def profile(
    network: Checkpoint,
    granularity: Granularity = "weight",
    criterion: Criterion = None,
    calibration: Annotated[int, typer.Option(help="Training samples that the profile is measured on.")] = 512,
    compensate: Annotated[
        bool, typer.Option("--compensate", help="Fit the layers that lose weights again before measuring.")
    ] = False,
    out: Out = None,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Show how much of each part of a trained network can be removed before its accuracy falls.

    Example: howcompact profile best --calibration 256 --out profile
    """
    from search.networks.network import trained
    from search.networks.profile import compactness

    if out is not None:
        refuse_out(out)
    opened = trained(network, "profile", Trust(trust))
    found = compactness(opened, granularity, criterion or _usual_criterion(granularity), calibration, compensate)
    written: list[Path] = []
    if out is not None:
        from search.networks.curves import write_profile

        with writing(out):
            written = write_profile(found, out)
    if as_json:
        return print(to_json(found))
    from search.cli.network_tables import print_compactness

    print_compactness(found)
    for path in written:
        print(path)
    return None


@networks.command()
def probe(
    network: Checkpoint,
    threshold: Annotated[float, typer.Option(help="Gain of accuracy that a block must add to be kept.")] = 0.013,
    granularity: Annotated[str, typer.Option(help="block or projected-block.")] = "block",
    samples: Annotated[int, typer.Option(help="Training samples that the probes learn from.")] = 5000,
    out: Out = None,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Show how much each block adds to the accuracy of a linear probe, and which blocks a threshold keeps.

    Example: howcompact probe best --threshold 0.01
    """
    from search.networks.network import trained
    from search.networks.probe import probing

    if out is not None:
        refuse_out(out)
    found = probing(trained(network, "probe", Trust(trust)), threshold, granularity, samples)
    written: list[Path] = []
    if out is not None:
        from search.networks.curves import write_probes

        with writing(out):
            written = write_probes(found, out)
    if as_json:
        return print(to_json(found))
    from search.cli.network_tables import print_probes

    print_probes(found)
    for path in written:
        print(path)
    return None


def _usual_criterion(granularity: str) -> str:
    return "magnitude" if granularity == "weight" else "l1"

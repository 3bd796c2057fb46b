"""Find the models, weights, images and packages that are missing on this machine."""

from collections.abc import Iterable
from functools import partial

from trainables.checkpoints import pretrained
from trainables.data import sources
from trainables.exports import export
from trainables.models import hub
from trainables.spec import DenseSpec, Quantise


def missing(networks: Iterable[DenseSpec]) -> list[str]:
    """List the models, weights and data sets of some networks that cannot be used here.

    No image is read. The files of each data set are listed once, which takes time if there are many.
    """
    networks = list(networks)
    problems = []
    for check in (
        *(partial(hub.check, network.model, network.width) for network in networks),
        *(partial(pretrained.check, network) for network in networks),
        *(partial(sources.check, data) for data in dict.fromkeys(network.data for network in networks)),
    ):
        try:
            check()
        except ValueError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def missing_packages(quantise: Quantise) -> list[str]:
    """Say which packages quantisation needs and this Python lacks."""
    if quantise == "off":
        return []
    try:
        export.check(quantise, "quantise")
    except ValueError as error:
        return [str(error)]
    return []

"""Which models, weights and images are missing on this machine."""

from collections.abc import Iterable
from functools import partial

from trainables.checkpoints import pretrained
from trainables.data import sources
from trainables.models import hub
from trainables.spec import DenseSpec


def missing(networks: Iterable[DenseSpec]) -> list[str]:
    """Say which models, weights and data sets of some networks cannot be used here.

    The images are not read. Each data set is listed once, which takes time for a large one.
    """
    networks = list(networks)
    found = []
    for check in (
        *(partial(hub.check, network.model, network.width) for network in networks),
        *(partial(pretrained.check, network) for network in networks),
        *(partial(sources.check, data) for data in dict.fromkeys(network.data for network in networks)),
    ):
        try:
            check()
        except ValueError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))

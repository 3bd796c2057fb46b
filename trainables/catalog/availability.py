"""Find the models, weights, images and packages that are missing on this machine."""

from collections.abc import Iterable
from functools import partial

from trainables.checkpoints import pretrained
from trainables.data import sources
from trainables.device_spec import DeviceSpec
from trainables.exports import export
from trainables.exports.latency import check_device
from trainables.latency.table import LatencyTable
from trainables.models import hub
from trainables.spec import DenseSpec, Quantise


def missing(networks: Iterable[DenseSpec], device: DeviceSpec) -> list[str]:
    """List the models, weights and data sets of some networks that cannot be used here, and what the device lacks here.

    No image is read. The files of each data set are listed once, which takes time if there are many. Whether there is
    a GPU is not asked: a cluster may have one.
    """
    networks = list(networks)
    problems = []
    for check in (
        *(partial(hub.check, network.model, network.width) for network in networks),
        *(partial(pretrained.check, network) for network in networks),
        *(partial(sources.check, data) for data in dict.fromkeys(network.data for network in networks)),
        partial(_check_device, device),
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


def _check_device(device: DeviceSpec) -> None:
    """Raise ValueError for a runtime whose packages are missing, and for a file that is no latency table."""
    if device.table:
        LatencyTable.at(device.table)
    elif device.name == "onnxruntime-cpu":
        check_device(device.name)

"""A latency table of a network on this machine, and how well a table predicts."""

from collections.abc import Callable

import numpy as np

from search.networks.network import by_name
from trainables.catalog import feasibility
from trainables.frozen import Frozen
from trainables.latency.measuring import measure
from trainables.latency.table import FIT, NOISY, LatencyTable, TableHeader
from trainables.models import known
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Prunable
from trainables.spec import LatencySpec


class LatencyReport(Frozen):
    """What a latency table holds, and how well it predicts the networks that it holds out."""

    header: TableHeader
    dense_ms: float
    least_ms: float  # of the fastest network
    networks: int
    held_out: int  # of these, not used by the prediction
    median_error: float  # of the predictions of these, as a fraction of the measured time
    largest_error: float
    warnings: list[str]  # why the table may mislead

    @property
    def line(self) -> str:
        """Say it in one line."""
        return (
            f"latency of {self.header.model} on {self.header.setting}: {self.dense_ms:.4g} ms dense, down to "
            f"{self.least_ms:.4g} ms over {self.networks} networks; for the {self.held_out} that the fit left out, "
            f"the prediction is off by {self.median_error:.1%} in the median and {self.largest_error:.1%} at most"
        )


def report(table: LatencyTable, prunable: Prunable) -> LatencyReport:
    """Report on a table. prunable: the network that it is of."""
    errors = table.errors(prunable)
    return LatencyReport(
        header=table.header,
        dense_ms=table.dense_ms,
        least_ms=float(table.ms.min()),
        networks=len(table.ms),
        held_out=len(errors),
        median_error=float(np.median(errors)),
        largest_error=float(errors.max()),
        warnings=_warnings(table.header, float(np.median(errors))),
    )


def _warnings(header: TableHeader, missed: float) -> list[str]:
    noisy = header.spread > NOISY or header.drift > NOISY
    found = []
    if noisy:
        found.append(
            f"the latency of {header.model} was measured beside other work: runs of one network spread by "
            f"{header.spread:.0%}, and the dense network's time changed by {header.drift:.0%}; measure again when the "
            "machine is quiet"
        )
    if missed > FIT:
        why = (
            "of the other work"
            if noisy
            else "the time on this device does not follow the widths; a larger round_to may help"
        )
        found.append(
            f"the latency table of {header.model} is unfit: its predictions miss by {missed:.1%} in the median, more "
            f"than {FIT:.0%}, because {why}"
        )
    return found


def measured(
    spec: LatencySpec, image: str | None, tensor: str | None, classes: int, say: Callable[[str], None]
) -> tuple[LatencyTable, LatencyReport]:
    """Measure a network with fresh weights. image, tensor: what --image or --input says. say: gets the progress.

    Raises ValueError for settings that do not fit, and as `measuring.measure` does.
    """
    if spec.granularity == "weight":
        raise ValueError(
            "--granularity must be of units that are removed, as masked weights save no time, but got "
            "'weight'; use channel, block or projected-block"
        )
    known.check(spec.model, spec.width)
    model, example = by_name(spec.model, image, tensor, classes, spec.width)
    if spec.granularity == "channel":
        feasibility.prove_cuts(spec.model, model, example)
    table = measure(model, example, spec.model, spec.granularity, spec.round_to, spec.device, say)
    return table, report(table, view(model, spec.granularity, example, spec.round_to))

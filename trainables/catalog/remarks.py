"""What a run says of networks at its start: frozen layers, and weights that no budget counts."""

from collections.abc import Iterable

import torch

from trainables.checkpoints.checkpoint import Architecture
from trainables.data import sources
from trainables.models.layers import uncounted
from trainables.names import NAMES
from trainables.pruning.held import some
from trainables.spec import DenseSpec


def remarks(networks: Iterable[DenseSpec]) -> list[str]:
    """List, for each network, its frozen layers and the share of its weights that are neither pruned nor counted.

    A weight is a parameter of two or more dimensions. The project's own networks have neither.
    """
    lines: list[str] = []
    for spec in {network.model: network for network in networks if network.model not in NAMES["model"]}.values():
        shape = sources.peek(spec.data)
        built = Architecture.of(spec, shape.image, shape.classes)
        with torch.random.fork_rng(devices=[]):
            model = built.build()
        if frozen := [name for name, parameter in model.named_parameters() if not parameter.requires_grad]:
            lines.append(f"{spec.model}: frozen, so never trained: {some(frozen)}")
        if left := uncounted(model, built.example()):
            size = sum(left.values())
            weights = sum(parameter.numel() for parameter in model.parameters() if parameter.dim() > 1)
            lines.append(
                f"{spec.model}: {size:,} of {weights:,} weights ({100 * size / weights:.1f} %) are neither pruned nor "
                f"counted by the budget: {some(sorted(left, key=lambda name: -left[name]))}"
            )
    return lines

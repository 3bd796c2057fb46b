"""The granularities by name."""

from collections.abc import Sequence

from torch import nn

from trainables.arguments import Arguments
from trainables.names import GranularityName
from trainables.pruning.blocks import Blocks, ProjectedBlocks
from trainables.pruning.channels import Channels
from trainables.pruning.granularity import Prunable
from trainables.pruning.masks import Weights
from trainables.pruning.rules import bounded
from trainables.pruning_spec import LayerRule


def view(
    model: nn.Module,
    granularity: GranularityName,
    example: Arguments,
    round_to: int = 1,
    rules: Sequence[LayerRule] = (),
) -> Prunable:
    """View a network at a granularity.

    Args:
        model: the network.
        granularity: a key of `GRANULARITIES`.
        example: (1, ...) on the network's device.
        round_to: each layer keeps a multiple of this number of channels, or all; only for granularity "channel".
        rules: give parts their bounds.

    Raises:
        ValueError: nothing in the network can be removed at this granularity.
    """
    if granularity == "channel":
        return bounded(Channels(model, example, round_to), rules)
    return bounded(GRANULARITIES[granularity](model, example), rules)


GRANULARITIES: dict[str, type[Weights] | type[Channels] | type[Blocks]] = {
    "weight": Weights,
    "channel": Channels,
    "block": Blocks,
    "projected-block": ProjectedBlocks,
}

"""The granularities by name."""

from torch import Tensor, nn

from trainables.names import GranularityName
from trainables.pruning.blocks import Blocks, ProjectedBlocks
from trainables.pruning.channels import Channels
from trainables.pruning.granularity import Prunable
from trainables.pruning.masks import Weights


def view(model: nn.Module, granularity: GranularityName, example: Tensor, round_to: int = 1) -> Prunable:
    """View a network at a granularity.

    Args:
        model: the network.
        granularity: a key of `GRANULARITIES`.
        example: (1, C, H, W) on the network's device.
        round_to: each layer keeps a multiple of this number of channels, or all; only for granularity "channel".

    Raises:
        ValueError: nothing in the network can be removed at this granularity.
    """
    if granularity == "channel":
        return Channels(model, example, round_to)
    return GRANULARITIES[granularity](model, example)


GRANULARITIES: dict[str, type[Weights] | type[Channels] | type[Blocks]] = {
    "weight": Weights,
    "channel": Channels,
    "block": Blocks,
    "projected-block": ProjectedBlocks,
}

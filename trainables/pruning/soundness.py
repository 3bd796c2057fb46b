"""Checks before any trial runs: channels can be removed from a network, and closed gates silence them."""

import copy

import torch
from torch import Tensor, nn

from trainables.models.layers import count
from trainables.pruning.channels import Channels
from trainables.pruning.gates import ChannelGates
from trainables.pruning_spec import Gates

TOLERANCE = 1e-3  # of the largest logit; a correct cut differs by at most 1e-6 in float32


def refuse_unsound_gates(model: nn.Module, example: Tensor) -> None:
    """Close half the gates of each group, and compare the network with one that has these channels removed.

    example: (1, C, H, W). The model is not changed. Call `refuse_unsound_cuts` first. Raises ValueError where a
    closed channel still has an effect, for example behind a sigmoid.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = _randomised(copy.deepcopy(model).eval())
        images = torch.randn(2, *example.shape[1:])
        channels = Channels(network, example)
        kept_units = _random_half(channels)
        gates = ChannelGates(channels, Gates(), "macs", 0.5)
        for name, values in gates.by_part.items():
            values.zero_()[kept_units[name]] = 1.0
        with gates.attached():
            gated = network(images)
        channels.remove(kept_units)
        cut = network(images)
    if _differ(gated, cut):
        raise ValueError(
            f"closed gates must silence their channels, but later layers of a {type(model).__name__} still receive "
            "them; leave out the criterion and the policies that use gates"
        )


def refuse_unsound_cuts(model: nn.Module, example: Tensor) -> None:
    """Remove half the channels of each group, and compare with the whole network whose layers ignore the same channels.

    example: (1, C, H, W). The model is not changed. Torch-Pruning treats an unknown operation as element-wise. Raises
    ValueError where this is wrong, for example for a normalisation over channels or a channel shuffle.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = _randomised(copy.deepcopy(model).eval())
        images = torch.randn(2, *example.shape[1:])
        cut = copy.deepcopy(whole)
        from_whole, from_cut = Channels(whole, example), Channels(cut, example)
        kept_units = _random_half(from_cut)
    from_whole.mask(kept_units)
    try:
        from_cut.remove(kept_units)
        with torch.no_grad():
            expected, actual = whole(images), cut(images)
    except Exception as error:
        raise _unsound(model, f"the cut network failed with: {error}") from error
    if _differ(actual, expected):
        raise _unsound(model, "the cut network has another output")
    widths = torch.tensor([len(kept_units[part.name]) for part in from_cut.parts]).numpy()
    if from_cut.cost(widths, "params") != count(cut, {}, example).params_kept:
        raise _unsound(model, "its layers lose another number of weights than was counted")


def _random_half(channels: Channels) -> dict[str, Tensor]:
    return {p.name: torch.randperm(p.units)[: (p.units + 1) // 2].sort().values for p in channels.parts}


def _differ(actual: Tensor, expected: Tensor) -> bool:
    return actual.shape != expected.shape or not (actual - expected).abs().max() <= TOLERANCE * expected.abs().max()


def _unsound(model: nn.Module, reason: str) -> ValueError:
    return ValueError(
        f"granularity 'channel' must remove channels of a {type(model).__name__} as if its layers ignored them, "
        f"but {reason}; use granularity 'weight'"
    )


@torch.no_grad()
def _randomised(model: nn.Module) -> nn.Module:
    """Draw scales, biases, statistics and all-zero tensors at random in place, so that every channel has an effect."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and (tensor.numel() == max(tensor.shape, default=1) or not tensor.any()):
            tensor.uniform_(0.5, 1.5)
    return model

"""Proof, before any trial is paid for, that a network can lose channels, and that gates can close them."""

import copy

import torch
from torch import Tensor, nn

from trainables.models.layers import count
from trainables.pruning.channels import Channels
from trainables.pruning.gates import ChannelGates
from trainables.pruning_spec import Gates

TOLERANCE = 1e-3  # of the largest logit; a right cut differs by 1e-6 at most, in float32


def refuse_unsound_gates(model: nn.Module, example: Tensor) -> None:
    """Close half the gates of each group and compare with the network cut to the others, which is sound itself.

    Raises ValueError where a closed channel is heard of, as behind a sigmoid. example: (1, C, H, W); the model stays
    as it is.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        whole = _told_apart(copy.deepcopy(model).eval())
        images = torch.randn(2, *example.shape[1:])
        channels = Channels(whole, example)
        kept_units = _half(channels)
        gates = ChannelGates(channels, Gates(), "macs", 0.5)
        for name, values in gates.by_part.items():
            values.zero_()[kept_units[name]] = 1.0
        with gates.attached():
            got = whole(images)
        channels.remove(kept_units)
        expected = whole(images)
    if _differ(got, expected):
        raise ValueError(
            f"gates must silence the channels that they close, but those of a {type(model).__name__} still reach what "
            "reads them; use neither criterion nor policies that go by gates"
        )


def refuse_unsound_cuts(model: nn.Module, example: Tensor) -> None:
    """Cut half of each group and compare with the whole network whose layers ignore the same channels.

    Torch-Pruning takes what it does not know for an element-wise operation. Raises ValueError where that is wrong, as
    for a normalisation over channels or a shuffle of them. example: (1, C, H, W); the model stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = _told_apart(copy.deepcopy(model).eval())
        images = torch.randn(2, *example.shape[1:])
        cut = copy.deepcopy(whole)
        from_whole, from_cut = Channels(whole, example), Channels(cut, example)
        kept_units = _half(from_cut)
    from_whole.mask(kept_units)
    try:
        from_cut.remove(kept_units)
        with torch.no_grad():
            expected, got = whole(images), cut(images)
    except Exception as error:
        raise _unsound(model, f"the cut network failed with: {error}") from error
    if _differ(got, expected):
        raise _unsound(model, "the cut network computes something else")
    widths = torch.tensor([len(kept_units[part.name]) for part in from_cut.parts]).numpy()
    if from_cut.cost(widths, "params") != count(cut, {}, example).params_kept:
        raise _unsound(model, "its layers lose other weights than were counted")


def _half(channels: Channels) -> dict[str, Tensor]:
    return {p.name: torch.randperm(p.units)[: (p.units + 1) // 2].sort().values for p in channels.parts}


def _differ(got: Tensor, expected: Tensor) -> bool:
    return got.shape != expected.shape or not (got - expected).abs().max() <= TOLERANCE * expected.abs().max()


def _unsound(model: nn.Module, why: str) -> ValueError:
    return ValueError(
        f"granularity 'channel' must leave a {type(model).__name__} that computes the same without the channels, "
        f"but {why}; use granularity 'weight'"
    )


@torch.no_grad()
def _told_apart(model: nn.Module) -> nn.Module:
    """Give each channel its own scale, bias and statistics, and fill what starts as zeros, so that mistakes show."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and (tensor.numel() == max(tensor.shape, default=1) or not tensor.any()):
            tensor.uniform_(0.5, 1.5)
    return model

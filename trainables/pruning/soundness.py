"""Checks before any trial runs: channels can be removed from a network, and closed gates silence them."""

import copy
from collections.abc import Collection, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from trainables.arguments import Arguments, each
from trainables.models.layers import count
from trainables.models.modes import run_with_hooks, tensors
from trainables.pruning.channels import Channels
from trainables.pruning.gates import ChannelGates
from trainables.pruning.held import some
from trainables.pruning_spec import Gates

TOLERANCE = 1e-4  # of the largest logit; a correct cut differs by at most 1e-6 in float32
Outputs = dict[str | int, Tensor]  # of layers by name, and of the network by position


def refuse_unsound_gates(model: nn.Module, example: Arguments) -> None:
    """Close half the gates of each group, and compare the network with one that has these channels removed.

    example: (1, ...). The model is not changed. Call `refuse_unsound_cuts` first. Raises ValueError where a
    closed channel still has an effect, for example behind a sigmoid.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = _randomised(copy.deepcopy(model).eval())
        inputs = each(_drawn, example)
        cut = copy.deepcopy(network)
        channels, from_cut = Channels(network, example), Channels(cut, example)
        kept_units = _random_half(channels)
        gates = ChannelGates(channels, Gates(), "macs", 0.5)
        for name, values in gates.by_part.items():
            values.zero_()[kept_units[name]] = 1.0
        kept_outputs = from_cut.remove(kept_units).outputs
        with gates.attached():
            gated = _outputs(network, inputs, kept_outputs)
        expected = _outputs(cut, inputs, {})
    both = gated.keys() & expected.keys()  # `nn.MultiheadAttention` calls its output projection only once it is cut
    if any(_differ(gated[name], expected[name]) for name in both):
        raise ValueError(
            f"closed gates must silence their channels, but later layers of a {type(model).__name__} still receive "
            "them; leave out the criterion and the policies that use gates"
        )


def refuse_unsound_cuts(model: nn.Module, example: Arguments) -> None:
    """Remove half the channels of each group, and compare with the whole network whose layers ignore the same channels.

    example: (1, ...). The model is not changed. Raises ValueError where the cut network fails or computes
    something else, for example where a view has a fixed number of channels, or where it costs another amount than
    counted. The error names a group that cannot be cut, and the operations that may be the cause.
    """
    if reason := _fault(model, example):
        raise ValueError(
            f"granularity 'channel' must remove channels of a {type(model).__name__} as if its layers ignored them, "
            f"but {reason}{_cause(model, example)}; use granularity 'weight'"
        )


def _fault(model: nn.Module, example: Arguments, parts: Collection[str] | None = None) -> str:
    """Cut half the channels of these parts (default: of all). Say what is wrong then; empty if nothing is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = _randomised(copy.deepcopy(model).eval())
        inputs = each(_drawn, example)
        cut = copy.deepcopy(whole)
        from_whole, from_cut = Channels(whole, example), Channels(cut, example)
        kept_units = _random_half(from_cut)
    if parts is not None:
        kept_units = {name: kept for name, kept in kept_units.items() if name in parts}
    from_whole.mask(kept_units)
    try:
        kept_outputs = from_cut.remove(kept_units).outputs
        expected, actual = _outputs(whole, inputs, kept_outputs), _outputs(cut, inputs, {})
    except Exception as error:
        return f"the cut network failed with: {error}"
    for name, output in expected.items():
        is_layer = isinstance(name, str)
        if is_layer and actual[name].shape != output.shape:
            continue  # a layer that mixes tokens has channels along another dimension
        if _differ(actual[name], output):
            return f"the cut network has another output{f' of {name}' if is_layer else ''}"
    widths = torch.tensor([len(kept_units.get(p.name, range(p.units))) for p in from_cut.parts]).numpy()
    counted = count(cut, {}, example)
    if from_whole.cost(widths, "params") != counted.params_kept:
        return "its layers lose another number of weights than was counted"
    if from_whole.cost(widths, "macs") != counted.macs_kept:
        return "it saves another number of multiply-accumulates than was counted"
    return ""


def _cause(model: nn.Module, example: Arguments) -> str:
    """Name a part that cannot be cut alone, found by halving, and the operations that may be the cause."""
    channels = Channels(model, example)
    parts = [part.name for part in channels.parts]
    while len(parts) > 1:
        half = parts[: len(parts) // 2]
        parts = half if _fault(model, example, half) else parts[len(half) :]
    if not _fault(model, example, parts):
        return ""  # only several parts together cannot be cut
    suspects = some(channels.suspects(parts[0]))
    return f" without half the channels of {parts[0]}{f', which pass {suspects}' if suspects else ''}"


def _outputs(model: nn.Module, inputs: Arguments, kept_outputs: Mapping[str, Tensor]) -> Outputs:
    """Return the outputs of a network's convolutions and linear layers, in the order of the run, and its own.

    A fault shows best right behind its cause: the layers after it may make it small.
    kept_outputs: layer -> the output channels to return. Other layers return all.
    """
    outputs = Outputs()

    def keep(name: str, module: nn.Module, _: object, output: Tensor) -> None:
        channels = -1 if isinstance(module, nn.Linear) else 1
        kept = kept_outputs.get(name)
        # copies, as an activation may overwrite the output
        outputs[name] = output.clone() if kept is None else output.index_select(channels, kept)

    hooks = [
        module.register_forward_hook(partial(keep, name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    own = tensors(run_with_hooks(model, inputs, hooks))
    return outputs | {n: tensor for n, tensor in enumerate(own) if tensor.is_floating_point()}


def _drawn(example: Tensor) -> Tensor:
    """Draw two inputs; those that are no images, such as tokens, come from the example."""
    if example.is_floating_point():
        return torch.randn(2, *example.shape[1:])
    return torch.stack([example[0].flatten()[torch.randperm(example[0].numel())].view_as(example[0]) for _ in range(2)])


def _random_half(channels: Channels) -> dict[str, Tensor]:
    return {p.name: torch.randperm(p.units)[: (p.units + 1) // 2].sort().values for p in channels.parts}


def _differ(actual: Tensor, expected: Tensor) -> bool:
    return actual.shape != expected.shape or not (actual - expected).abs().max() <= TOLERANCE * expected.abs().max()


@torch.no_grad()
def _randomised(model: nn.Module) -> nn.Module:
    """Draw all parameters and statistics at random in place, so that every channel has an effect on the output.

    Offsets are small beside what the weights add, and weights keep the variance (He et al., arXiv 1502.01852): else
    the offsets of later layers drown the effect of an early one.
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not tensor.is_floating_point():
            continue
        if name.endswith(("bias", "running_mean")):
            tensor.uniform_(-0.5, 0.5)
        elif tensor.numel() == max(tensor.shape, default=1) or not tensor.any():
            tensor.uniform_(0.5, 1.5)
        elif isinstance(tensor, nn.Parameter):
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    return model

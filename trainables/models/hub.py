"""Builds a network by its name: the project's own, a torchvision classifier, one of timm or transformers, or a user's.

A name that the project and torchvision share (vgg16) means the project's network.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainables.models import known, libraries
from trainables.models.cifar import CIFAR
from trainables.models.module_kinds import refuse_kinds
from trainables.own_function import is_external, load_function

MOST_WEIGHTS = 1 << 30


def torchvision_weights(name: str) -> tuple[str, ...]:
    """Return the names of torchvision's weights for one of its classifiers; none for any other model."""
    if name in CIFAR or is_external(name) or name not in known.torchvision_names():
        return ()
    import torchvision.models

    return tuple(torchvision.models.get_model_weights(name).__members__)


def download(name: str, weights: str) -> Mapping[str, Tensor]:
    """Read torchvision's weights of a classifier, and download them to torch.hub's folder if they are not there.

    Returns the state dict. Raises ValueError where the weights are neither there nor can be downloaded.
    """
    import torchvision.models

    try:
        state: Mapping[str, Tensor] = torchvision.models.get_model_weights(name)[weights].get_state_dict(
            progress=False, check_hash=True
        )
    except (OSError, RuntimeError) as error:  # RuntimeError: the file has another checksum
        raise ValueError(
            f"torchvision's {weights} of {name} must be in {torch.hub.get_dir()} or downloadable, but are not "
            f"({error}); connect to the network, or set weights to a file"
        ) from error
    return state


def check(name: str, width: float = 1.0) -> None:
    """Refuse a name or width that `build` refuses, without building a network.

    Raises:
        ValueError: the name is unknown, the user's function cannot be found or called, or the width cannot be scaled.
    """
    known.check(name, width)
    if libraries.package_of(name):
        libraries.check(name)
    elif is_external(name):
        _load(name)


def build(name: str, num_classes: int, in_channels: int, width: float = 1.0) -> nn.Module:
    """Build a network with fresh weights that maps images (B, in_channels, H, W) to logits (B, num_classes).

    Args:
        name: one of `known.OWN` or `known.torchvision_names()`, "timm:NAME", "hf:CLASS", or "package.module:function",
            called as `function(num_classes=..., in_channels=...)`.
        num_classes: logits for each image.
        in_channels: channels of an image; unless it is 3, the first convolution of a torchvision network is replaced.
        width: factor on the numbers of channels; only for the project's own networks.

    Raises:
        ValueError: `check` refuses the name or width, the network has more than 2^30 weights, or the user's function
            does not return an nn.Module, or `refuse_kinds` refuses it.
    """
    check(name, width)
    if name in CIFAR:
        refuse_too_large(name, num_classes, in_channels, width)
        return CIFAR[name](num_classes, in_channels, width)
    if not is_external(name):
        return _torchvision(name, num_classes, in_channels)
    if libraries.package_of(name):
        return _plain(name, libraries.build(name, num_classes, in_channels))
    return _plain(name, _load(name)(num_classes=num_classes, in_channels=in_channels))


def build_any(name: str, num_classes: int, in_channels: int) -> nn.Module:
    """As `build`, for a network that may read and return anything: "hf:CLASS" may be any class of transformers.

    Raises ValueError as `build`, and for a class of transformers whose network has more than 2^30 weights.
    """
    if libraries.package_of(name) != "transformers":
        return build(name, num_classes, in_channels)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        weights = sum(p.numel() for p in libraries.build_any(name, num_classes, in_channels).parameters())
    if weights > MOST_WEIGHTS:
        raise ValueError(
            f"{name} must have at most {MOST_WEIGHTS:,} weights, but has {weights:,} with its usual configuration; "
            "write a function that builds a smaller one, and name it package.module:function"
        )
    return _plain(name, libraries.build_any(name, num_classes, in_channels))


def _plain(name: str, model: object) -> nn.Module:
    """Return a network of others as it can be pruned. Raises ValueError as `build`."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} must return an nn.Module, but returned a {type(model).__name__}; change the function")
    refuse_kinds(name, model)
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # layers that have lost heads or a branch cannot read nested tensors
    return model


def refuse_too_large(name: str, num_classes: int, in_channels: int, width: float) -> None:
    """Refuse a width that gives more than `MOST_WEIGHTS` weights, before memory is allocated."""
    with torch.device("meta"), _NoRandomNumbers():
        weights = sum(parameter.numel() for parameter in CIFAR[name](num_classes, in_channels, width).parameters())
    if weights > MOST_WEIGHTS:
        raise ValueError(
            f"{name} must have at most {MOST_WEIGHTS:,} weights, but has {weights:,} at width {width:g} for "
            f"{num_classes} classes and {in_channels} channels; lower the width"
        )


class _NoRandomNumbers(TorchFunctionMode):
    """Leaves tensors as they are instead of filling them with random numbers, which the meta device has no use for.

    There, torch fills by code that imports torch._dynamo, which takes seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, unless it fills its first argument with random numbers."""
        return args[0] if func in (Tensor.normal_, Tensor.uniform_) else func(*args, **kwargs or {})


def _torchvision(name: str, num_classes: int, in_channels: int) -> nn.Module:
    import torchvision.models

    one_head = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **one_head)
    if in_channels != 3:
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        first.in_channels = in_channels
        first.weight = nn.Parameter(torch.empty(first.out_channels, in_channels, *first.kernel_size))
        first.reset_parameters()
    return model


def build_blank(name: str, num_classes: int, in_channels: int) -> nn.Module:
    """As `build`, on the meta device, where tensors have shapes and no values. With values if a constructor reads some.

    A constructor that reads values raises errors of many classes there. One that loads weights makes torch warn that
    nothing is copied, which is meant here.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return build(name, num_classes, in_channels)
        except Exception:
            return build(name, num_classes, in_channels)


def _load(name: str) -> Callable[..., object]:
    return load_function("model", name, num_classes=2, in_channels=3)

"""What a network is called with: one tensor, several tensors in order, or several by name. All calls go through here.

The first axis of each tensor holds the samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn

Arguments = Tensor | Sequence[Tensor] | Mapping[str, Tensor]  # network(x), network(*x), network(**x)


def spread(arguments: Arguments) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return the positional and the named arguments of a call."""
    if isinstance(arguments, Tensor):
        return (arguments,), {}
    return ((), dict(arguments)) if isinstance(arguments, Mapping) else (tuple(arguments), {})


def is_arguments(value: Any) -> bool:
    """Tell whether a network can be called with a value: a tensor, or a list, tuple or dictionary of tensors."""
    if isinstance(value, Mapping):
        named = all(isinstance(name, str) and name.isidentifier() for name in value)
        return named and is_arguments(list(value.values()))
    tensors = value if isinstance(value, list | tuple) else [value]
    return bool(tensors) and all(isinstance(tensor, Tensor) for tensor in tensors)


def call(network: nn.Module, arguments: Arguments) -> Any:
    """Run a network. Return what it returns."""
    positional, named = spread(arguments)
    return network(*positional, **named)


def outputs_of(network: nn.Module, arguments: Arguments) -> Tensor:
    """Run a network. Return its outputs (B, ...). Raises TypeError as `one_tensor`."""
    return one_tensor(call(network, arguments))


def one_tensor(returned: Any) -> Tensor:
    """Return the outputs in what a network has returned: a tensor, or an output object as those of transformers.

    Such an object is a dataclass that is also a mapping, and its first value counts: logits, or hidden states. Raises
    TypeError for anything else.
    """
    if is_dataclass(returned) and isinstance(returned, Mapping):
        returned = next(iter(returned.values()), None)
    if not isinstance(returned, Tensor):
        raise TypeError(f"a network must return one tensor, but returned a {type(returned).__name__}")
    return returned


def flat(arguments: Arguments) -> list[Tensor]:
    """List the tensors in the order of the call."""
    positional, named = spread(arguments)
    return [*positional, *named.values()]


def named_tensors(arguments: Arguments) -> list[tuple[str, Tensor]]:
    """List the tensors with the names of their arguments; empty ones for arguments by position."""
    positional, named = spread(arguments)
    return [*(("", tensor) for tensor in positional), *named.items()]


def dtype_name(tensor: Tensor) -> str:
    """Return the name of a tensor's type without the package: float32."""
    return str(tensor.dtype).removeprefix("torch.")


def each(function: Callable[[Tensor], Tensor], content: Any) -> Any:
    """Apply a function to each tensor of arguments or of a batch: a tensor, or tuples, lists and dictionaries of them.

    Lists become tuples.
    """
    if isinstance(content, Tensor):
        return function(content)
    if isinstance(content, Mapping):
        return {name: each(function, value) for name, value in content.items()}
    return tuple(each(function, value) for value in content)


def take(content: Any, of_samples: Any) -> Any:
    """Take some samples of arguments or of a batch, by a slice or by indices."""
    return each(itemgetter(of_samples), content)


def samples_in(arguments: Arguments) -> int:
    """Count the samples."""
    return len(flat(arguments)[0])


def device_of(arguments: Arguments) -> torch.device:
    """Return the device of the first tensor."""
    return flat(arguments)[0].device


def blank(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return one sample (1, ...): zeros, or whole numbers 1 and 0 in turn, as ids, masks and lengths may be."""
    sample = torch.zeros(1, *shape, dtype=dtype)
    if not dtype.is_floating_point:
        sample.view(-1)[::2] = 1
    return sample

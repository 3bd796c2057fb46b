"""The residual branches of a network: f in a sum x + f(x), of any modules that only this sum needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainables.arguments import Arguments, call, each
from trainables.models.layers import is_inside
from trainables.models.modes import eval_mode, tensors
from trainables.models.removed_blocks import AddsNothing, mask_module, unmask_module
from trainables.models.usage import unfused
from trainables.pruning.additions import Additions, Stream
from trainables.pruning.dataflow import Call, Dataflow

CLOSE = 1e-4  # of the largest output: two outputs that differ by less are the same
_FAILS = "the network fails, or computes something else, where its modules return 0"


@dataclass(frozen=True)
class Branch:
    """What one sum adds to a residual stream."""

    name: str  # of the module with the most parameters
    modules: tuple[tuple[str, int], ...]  # name -> `returned` of `AddsNothing`; the largest that only this sum needs
    before: Stream  # the stream that the sum adds to
    behind: Stream  # the sum
    shape: tuple[int, ...]  # (channels, ...) of the stream of one image
    stays: str = ""  # why it cannot be removed; empty if it can


def find_branches(model: nn.Module, flow: Dataflow) -> dict[int, Branch]:
    """Find the residual branches in the order of the run: operation of the sum -> branch.

    A branch is all that the output needs for one operand of a sum only. It reads the other operand. Of several parallel
    branches, it reads an operand of the sum that the other operand is. A branch around other branches is left out.
    """
    found = dict[int, Branch]()
    needed = flow.needed()
    for at in sorted(needed):
        operation = flow.operations[at]
        if operation.addition is None or any(flow.operations[n].shape != operation.shape for n in operation.sources):
            continue
        for operand, (trunk, end) in enumerate((operation.sources, operation.sources[::-1])):
            if not _reads(flow, end, trunk):
                continue
            left = flow.needed(without=(at, end))
            if found.keys().isdisjoint(needed - left) and (branch := _branch(model, flow, at, operand, needed, left)):
                found[at] = branch
            break
    return found


def _reads(flow: Dataflow, end: int, trunk: int) -> bool:
    """Tell whether a branch reads the stream that it is added to."""
    read, stream = flow.needed_by(end), [trunk]
    while stream:
        if (at := stream.pop()) in read:
            return True
        if flow.operations[at].addition is not None:
            stream += flow.operations[at].sources
    return False


def _branch(model: nn.Module, flow: Dataflow, at: int, operand: int, needed: set[int], left: set[int]) -> Branch | None:
    """Describe the branch of a sum, given what the output needs with and without it. None if it has no parameters."""
    gone, kept = flow.calls_with(needed - left), flow.calls_with(left)
    dead = gone - kept
    calls = {call.name: call for call in flow.calls if call in dead and call.parent not in dead}
    again = {call.name for call in kept} & calls.keys()
    calls = {name: call for name, call in calls.items() if name not in again or _size(call)}  # such as a shared ReLU
    if not any(_size(call) for call in calls.values()):
        return None
    number, shape = flow.operations[at].addition, flow.operations[at].shape
    assert number is not None
    images = shape.index(1) if 1 in shape else 0
    channels = channels_of(shape, images, [call.module for call in calls.values()])
    rest = (extent for dim, extent in enumerate(shape) if dim not in (images, channels))
    parameters = {name for n in needed - left if (name := flow.operations[n].parameter)}
    return Branch(
        name=max(calls, key=lambda name: _size(calls[name])),
        modules=tuple((name, call.returned or 0) for name, call in calls.items()),
        before=Stream(number, operand, images, channels),
        behind=Stream(number, None, images, channels),
        shape=(shape[channels], *rest),
        stays=_why_it_stays(calls, kept, [name for name in parameters if _is_matrix(model.get_parameter(name))]),
    )


def _why_it_stays(calls: Mapping[str, Call], kept: set[Call], matrices: Sequence[str]) -> str:
    if shared := [call.name for call in kept if is_inside(call.name, calls)]:
        return f"{min(shared)} runs elsewhere, too"
    if other := [name for name, call in calls.items() if call.returned is None]:
        return f"{other[0]} returns neither a tensor nor a tuple"
    if outside := [name for name in matrices if not is_inside(name, calls)]:
        return f"{min(outside)} is in none of its modules"
    return ""


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.numel() > max(parameter.shape, default=1)


def _size(call: Call) -> int:
    return sum(parameter.numel() for parameter in call.module.parameters())


def channels_of(shape: Sequence[int], images: int, modules: Sequence[nn.Module], usual: int | None = None) -> int:
    """Find the dimension of the channels of a tensor that these modules have computed.

    They are as many as the last module with a weight has outputs. If several dimensions are so long, they are the usual
    one. By default this is the second one behind a convolution, and the last one behind other modules.
    """
    layers = [m for each in modules for m in each.modules() if isinstance(getattr(m, "weight", None), Tensor)]
    if usual is None:
        usual = 1 if layers and isinstance(layers[-1], nn.modules.conv._ConvNd) else len(shape) - 1
    outputs = len(layers[-1].get_parameter("weight")) if layers else shape[usual]
    fits = (dim for dim in (usual, *range(len(shape))) if dim != images and shape[dim] == outputs)
    return next(fits, usual)


def proven(model: nn.Module, example: Arguments, branches: Sequence[Branch]) -> tuple[Branch, ...]:
    """Mark the branches as staying without which the network computes something else than without their sums."""
    draw = torch.Generator().manual_seed(0)

    def two(tensor: Tensor) -> Tensor:  # so that the additions are seen to be the same for all batches
        both = torch.cat([tensor, tensor])
        return torch.randn(both.shape, generator=draw).to(tensor) if tensor.is_floating_point() else both

    inputs = each(two, example)
    removable = [branch for branch in branches if not branch.stays]
    if not removable or _is_proven(model, inputs, removable):
        return tuple(branches)
    return tuple(
        branch if branch.stays or _is_proven(model, inputs, [branch]) else replace(branch, stays=_FAILS)
        for branch in branches
    )


def _is_proven(model: nn.Module, inputs: Arguments, branches: Sequence[Branch]) -> bool:
    kept = {branch.before.addition: branch.before.operand or 0 for branch in branches}
    with eval_mode(model), torch.no_grad(), unfused(model):
        with Additions(kept=kept):
            expected = tensors(call(model, inputs))
        try:
            for branch in branches:
                mask_branch(model, branch)
            actual = tensors(call(model, inputs))
        except Exception:
            return False
        finally:
            for name in (name for branch in branches for name, _ in branch.modules):
                unmask_module(model.get_submodule(name))
    return len(actual) == len(expected) and all(map(_is_close, actual, expected))


def mask_branch(model: nn.Module, branch: Branch) -> None:
    """Make the modules of a branch return 0, until `unmask_module`."""
    for name, returned in branch.modules:
        module = model.get_submodule(name)
        mask_module(module, AddsNothing(module, returned))


def _is_close(actual: Tensor, expected: Tensor) -> bool:
    if actual.shape != expected.shape:
        return False
    return not actual.is_floating_point() or bool((actual - expected).abs().max() <= CLOSE * expected.abs().max())

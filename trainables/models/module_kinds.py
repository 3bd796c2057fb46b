"""Modules that are no plain networks: wrapped, compiled, quantised and the like. Each kind is refused by its name."""

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize, prune

from trainables.models.parameters import computes_weight

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")
_QUANTISED = ("torch.ao.nn.", "torch.ao.quantization.", "torchao.", "bitsandbytes.")


def refuse_kinds(name: str, model: nn.Module) -> None:
    """Refuse a network with a module or a parameter that cannot be pruned, trained and built again as it is.

    This looks at classes and tensors, and runs nothing. name: of the network, which begins the message.

    Raises:
        ValueError: a module is scripted, compiled, exported, wrapped, quantised or computes its weight; a parameter is
            lazy, of another type than float32, sparse, of a class of its own, an inference tensor, or not on the CPU;
            or the state dict has something else than dense tensors.
    """
    for path, module in model.named_modules():
        if fault := _of_module(module):
            found, remedy = fault
            raise ValueError(
                f"{name} must be a plain nn.Module in float32, but {f'{path} is' if path else 'is'} {found}; {remedy}"
            )
    for key, parameter in model.named_parameters():
        if fault := _of_parameter(parameter):
            found, remedy = fault
            raise ValueError(f"{name} must be a plain nn.Module in float32, but {key} is {found}; {remedy}")
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor) or value.is_quantized or value.layout != torch.strided:
            raise ValueError(
                f"{name} must keep its state in tensors, but {key} of its state dict is a {type(value).__name__}; "
                "keep it as a tensor by register_buffer, or out of get_extra_state"
            )


def _of_module(module: nn.Module) -> tuple[str, str] | None:
    """Say what is wrong with a module, and the remedy."""
    kind = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted", "return the module before torch.jit"
    if type(module).__module__.startswith("torch._dynamo") or getattr(module, "_compiled_call_impl", None):
        return "compiled", "return the module before torch.compile"
    if isinstance(module, fx.GraphModule) and "train" in vars(module):  # torch.export replaces this method
        return "exported", "return the module before torch.export"
    if kind in _WRAPPERS:
        return f"wrapped in {kind}", "return the module inside; resources.workers shares a training"
    if type(module).__module__.startswith(_QUANTISED):
        return f"quantised ({kind})", "return the module before its quantisation; quantise the pruned network"
    if any(isinstance(hook, prune.BasePruningMethod) for hook in module._forward_pre_hooks.values()):
        return "pruned by torch.nn.utils.prune", "call prune.remove for it first"
    if parametrize.is_parametrized(module):
        key = next(iter(module.parametrizations))  # type: ignore[arg-type]
        return f"parametrized ({key})", "call torch.nn.utils.parametrize.remove_parametrizations for it"
    if computes_weight(module):
        return "a layer that computes its weight", "store the weight, as by remove_weight_norm or remove_spectral_norm"
    return None


def _of_parameter(parameter: nn.Parameter) -> tuple[str, str] | None:
    """Say what is wrong with a parameter, and the remedy."""
    if nn.parameter.is_lazy(parameter):
        return "lazy", "give the layer its sizes, or run the network once before it is returned"
    if parameter.layout != torch.strided:
        return f"{parameter.layout}", "use a dense tensor"
    if type(parameter.data) is not Tensor:
        return f"a {type(parameter.data).__name__}", "use a plain tensor"
    if parameter.dtype != torch.float32:
        return (
            f"{parameter.dtype}",
            "return the module before .half() or .double(), and set resources.precision for another precision",
        )
    if parameter.is_inference():
        return "an inference tensor", "build the network outside of torch.inference_mode"
    if parameter.device.type != "cpu" and parameter.device.type != torch.get_default_device().type:
        return f"on device {parameter.device}", "build the network on the CPU, with values"
    return None

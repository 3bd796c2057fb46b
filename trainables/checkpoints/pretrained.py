"""Weights that were trained elsewhere: torchvision's, by their names, or a file with a state dict."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from trainables.models import hub
from trainables.spec import DenseSpec

WRAPPERS = ("state_dict", "model")  # under which training scripts keep the state dict
PARALLEL = "module."  # what torch's parallel wrappers put before each name


def check(spec: DenseSpec) -> None:
    """Raise ValueError where neither torchvision nor this machine has the weights; nothing is read."""
    if not spec.weights or spec.weights in hub.torchvision_weights(spec.model):
        return
    if not Path(spec.weights).expanduser().is_file():
        known = hub.torchvision_weights(spec.model)
        names = f"one of torchvision's: {', '.join(known)}" if known else "for which torchvision has none"
        raise ValueError(
            f"weights of {spec.model} must be a file with a state dict, or {names}, but got {spec.weights!r}; "
            "correct it"
        )


def fill(model: nn.Module, spec: DenseSpec) -> None:
    """Fill the weights that `spec` names into its model, in place; where it names none, nothing changes.

    A head for other classes is left fresh where training follows. Raises ValueError for a file that cannot be read, for
    weights of another network, and for such a head that nothing would train.
    """
    if not spec.weights:
        return
    found, own = _read(spec), model.state_dict()
    head = [name for name in own if name in found and found[name].shape != own[name].shape]
    last = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    if head and all(name.rpartition(".")[0] == last for name in head):
        if spec.recipe.epochs == 0:
            raise ValueError(
                f"weights of {spec.model} must have a head for the {len(own[head[0]])} classes of the data, but "
                f"{spec.weights} has one for {len(found[head[0]])}; set dense.epochs to train a new one"
            )
        found = {**found, **{name: own[name] for name in head}}
    try:
        model.load_state_dict(found)
    except RuntimeError as error:
        raise ValueError(f"{spec.weights} must hold the weights of {spec.model}, but: {error}") from None


def _read(spec: DenseSpec) -> Mapping[str, Tensor]:
    if spec.weights in hub.torchvision_weights(spec.model):
        return hub.download(spec.model, spec.weights)
    path = Path(spec.weights).expanduser()
    try:
        if path.suffix == ".safetensors":
            return safetensors.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)  # which runs no code
    except Exception as error:  # torch's reader raises errors of many kinds, AssertionError among them
        told = str(error).partition("\n")[0]
        raise ValueError(f"{path} must be a file that safetensors or torch.load can read, but: {told}") from None
    for wrapper in WRAPPERS:
        found = found.get(wrapper, found) if isinstance(found, Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ValueError(
            f"{path} must hold a state dict, names and their tensors, but does not; save model.state_dict()"
        )
    return {name.removeprefix(PARALLEL): tensor for name, tensor in found.items()}

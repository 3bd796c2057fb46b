"""Pretrained weights: torchvision's, by name, or a file with a state dict."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from trainables.mistakes import LONGEST
from trainables.models import hub
from trainables.spec import DenseSpec

WRAPPERS = ("model_state_dict", "state_dict", "model")  # keys under which training scripts save the state dict
WRAPPING = {"module", "_orig_mod"}  # parts of names that torch's parallel wrappers and torch.compile add


def check(spec: DenseSpec) -> None:
    """Raise ValueError if neither torchvision nor this machine has the weights. Reads no file."""
    if not spec.weights or spec.weights in hub.torchvision_weights(spec.model):
        return
    if not Path(spec.weights).expanduser().is_file():
        known = hub.torchvision_weights(spec.model)
        names = f"one of {', '.join(known)}" if known else "none for this model"
        raise ValueError(
            f"weights of {spec.model} must be a file with a state dict, or a name that torchvision knows ({names}), "
            f"but got {spec.weights!r}; correct it"
        )


def try_file(model: nn.Module, spec: DenseSpec) -> None:
    """Fill a model from the file that `spec` names, if it is here; torchvision's weights are not downloaded.

    Raises ValueError as `fill`.
    """
    if spec.weights not in hub.torchvision_weights(spec.model) and Path(spec.weights).expanduser().is_file():
        fill(model, spec)


def checksum(spec: DenseSpec) -> str:
    """Return 16 hexadecimal digits of the bytes of a weights file; "" for torchvision's weights, and without weights.

    Raises ValueError for a file that cannot be read.
    """
    if not spec.weights or spec.weights in hub.torchvision_weights(spec.model):
        return ""
    path = Path(spec.weights).expanduser()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ValueError(f"weights of {spec.model} must be a file that can be read, but: {error}; correct it") from None


def fill(model: nn.Module, spec: DenseSpec) -> None:
    """Load the weights that `spec` names into its model, in place. Does nothing if it names none.

    A head for another number of classes keeps its fresh weights if training follows. Raises ValueError for a file that
    cannot be read, for weights of another network, and for such a head without training.
    """
    if not spec.weights:
        return
    pretrained, fresh = _read(spec), model.state_dict()
    head = [name for name in fresh if name in pretrained and pretrained[name].shape != fresh[name].shape]
    last = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    if head and all(name.rpartition(".")[0] == last for name in head):
        if spec.recipe.epochs == 0:
            raise ValueError(
                f"weights of {spec.model} must have a head for the {len(fresh[head[0]])} classes of the data, but "
                f"{spec.weights} has one for {len(pretrained[head[0]])}; set dense.epochs to train a new one"
            )
        pretrained = {**pretrained, **{name: fresh[name] for name in head}}
    try:
        model.load_state_dict(pretrained)
    except RuntimeError as error:
        reason = shorten(str(error), LONGEST, placeholder=" ...")  # of many lines, one for each parameter
        raise ValueError(f"{spec.weights} must hold the weights of {spec.model}, but: {reason}; correct it") from None


def _read(spec: DenseSpec) -> Mapping[str, Tensor]:
    if spec.weights in hub.torchvision_weights(spec.model):
        return hub.download(spec.model, spec.weights)
    path = Path(spec.weights).expanduser()
    try:
        if path.suffix == ".safetensors":
            return safetensors.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)  # runs no code of the file
    except Exception as error:  # torch's reader raises errors of many kinds, such as AssertionError
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} must be a file that safetensors or torch.load can read, but: {reason}; correct it"
        ) from None
    for wrapper in WRAPPERS:
        content = content.get(wrapper, content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise ValueError(
            f"{path} must hold a state dict (names and their tensors), but does not; save model.state_dict()"
        )
    while content and all(name.partition(".")[0] in WRAPPING for name in content):
        content = {name.partition(".")[2]: tensor for name, tensor in content.items()}
    return dict(content)

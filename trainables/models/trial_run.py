"""Tries a network before any trial. A fault becomes one error that names its cause and its remedy.

External networks are built on the CPU and run there with real tensors. Other networks run on shapes only.
"""

import copy
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables.models import hub
from trainables.models.cifar import CIFAR
from trainables.models.modes import run_with_hooks, tensors
from trainables.own_function import is_external

NARROW = 0.02  # width of the project's own networks where only shapes matter
SAME = 1e-4  # of the largest logit: two outputs that differ by less are the same
_SIZES = (8, 16, 32, 64, 128, 224, 256, 299, 512)  # side lengths in pixels, suggested where an image does not fit
_NOT_OWN = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))  # folders of code that is not the user's


def check_images(name: str, num_classes: int, image: tuple[int, int, int], width: float = 1.0) -> None:
    """Refuse a network that no trial can train, and images that do not fit it.

    Args:
        name: as for `hub.build`.
        num_classes: logits for each image.
        image: (channels, height, width) in pixels.
        width: as for `hub.build`.

    Raises:
        ValueError: `hub.build` refuses, the image does not fit the network, the output is not logits (B, num_classes),
            or an external network is not a plain module in float32 that gives the same logits each time.
    """
    hub.check(name, width)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an error says all in its line; later builds repeat the warnings of others
        if is_external(name):
            _try(name, num_classes, image)
        else:
            _logits(name, _for_shapes(name, num_classes, image[0], width), num_classes, image)


def built_for(name: str, num_classes: int, example: Tensor) -> nn.Module:
    """Build a network for one tensor of any kind, and run it on a batch of two. It may return anything with tensors.

    Args:
        name: as for `hub.build_any`.
        num_classes: logits for each input, where the network has any.
        example: (1, channels, ...).

    Raises:
        ValueError: `hub.build_any` refuses, or the network fails on the example, or returns no tensors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _built(name, num_classes, example.shape[1], hub.build_any)
    shape, dtype = "x".join(map(str, example.shape[1:])), str(example.dtype).removeprefix("torch.")
    try:
        output = run_with_hooks(model, torch.cat([example, example]), [])
    except Exception as error:
        raise ValueError(
            f"{name} must run on a batch of {shape}:{dtype}, but failed with: {first_line(error)}; give an input that "
            "fits, such as 16:int64 for token ids"
        ) from error
    if not tensors(output):
        raise ValueError(
            f"{name} must return tensors, alone or in lists, tuples and dictionaries, but returned a "
            f"{type(output).__name__}; correct the model"
        )
    return model


def first_line(error: Exception) -> str:
    """Word an error of any class in one line, with the place in the user's code where it happened."""
    text = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_NOT_OWN)]
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else text


def _try(name: str, num_classes: int, image: tuple[int, int, int]) -> None:
    """Build and run an external network: twice in eval mode, as a copy of its state, and in a step of training."""
    torch.manual_seed(0)
    model, twin = _built(name, num_classes, image[0]), _built(name, num_classes, image[0])
    try:
        copy.deepcopy(model)
        twin.load_state_dict(model.state_dict())
    except Exception as error:
        raise ValueError(
            f"{name} must be a network that can be copied and built again, but failed with: {first_line(error)}; build "
            "the same layers each time, and keep tensors only in parameters and buffers"
        ) from error
    images = torch.randn(2, *image)
    with torch.no_grad():
        first = _logits(name, model.eval(), num_classes, image, images)
        again, copied = model(images), twin.eval()(images)
    _refuse_values(name, first)
    if not _same(first, again):
        raise ValueError(
            f"{name} must give the same logits for the same images in eval mode, but two passes differ; draw random "
            "numbers only where self.training is true"
        )
    if not _same(first, copied):
        raise ValueError(
            f"{name} must keep all that its logits depend on in its state dict, but a network built anew with the same "
            "state dict has other logits; keep each tensor as a parameter or by register_buffer"
        )
    _refuse_training(name, model.train(), num_classes, images)


def _built(
    name: str, num_classes: int, in_channels: int, build: Callable[[str, int, int], nn.Module] = hub.build
) -> nn.Module:
    """Build an external network. Its class is checked by `build`, whose ValueErrors name the network."""
    try:
        return build(name, num_classes, in_channels)
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith((name, f"model {name!r}")):
            raise
        raise ValueError(
            f"{name} must build on a CPU, but failed with: {first_line(error)}; correct the function"
        ) from error


def _refuse_values(name: str, logits: Tensor) -> None:
    if not logits.is_floating_point() or not logits.isfinite().all():
        raise ValueError(
            f"{name} must return finite logits in floating point, but returned {logits.dtype} with the largest value "
            f"{logits.float().abs().max():g}; correct the model"
        )
    if logits.min() >= 0 and (logits.sum(1) - 1).abs().max() < SAME:
        raise ValueError(
            f"{name} must return logits, but returned probabilities (each row adds up to 1); leave out the softmax"
        )


def _refuse_training(name: str, model: nn.Module, num_classes: int, images: Tensor) -> None:
    """Take one step of training without an optimizer, unless all parameters are frozen."""
    try:
        logits = model(images)
    except Exception as error:
        raise ValueError(
            f"{name} must run in training mode, but failed with: {first_line(error)}; correct the model"
        ) from error
    _refuse_shape(name, logits, num_classes, " in training mode")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return
    try:
        nn.functional.cross_entropy(logits, torch.zeros(2, dtype=torch.int64)).backward()
    except Exception as error:
        raise ValueError(
            f"{name} must be trainable, but the backward pass failed with: {first_line(error)}; correct the model"
        ) from error


def _logits(
    name: str, model: nn.Module, num_classes: int, image: tuple[int, int, int], images: Tensor | None = None
) -> Tensor:
    """Run a network on two images, blank ones by default. Raises ValueError, with a size that fits if there is one."""
    try:
        logits = _forward(model, image) if images is None else model(images)
    except Exception as error:
        height_by_width = f"{image[1]} x {image[2]}"
        size = next((size for size in _SIZES if _fits(model, (image[0], size, size))), None)
        if size is None:
            raise ValueError(
                f"{name} must run on images, but failed on {height_by_width} pixels: {first_line(error)}; "
                "correct the model"
            ) from error
        raise ValueError(
            f"{name} must get images that fit its layers, such as {size} x {size} pixels, but got {height_by_width}; "
            f"set data.size to {size}"
        ) from error
    _refuse_shape(name, logits, num_classes)
    return logits  # type: ignore[no-any-return]


def _refuse_shape(name: str, logits: Any, num_classes: int, mode: str = "") -> None:
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    if shape != (2, num_classes):
        raise ValueError(
            f"{name} must map 2 images to logits {(2, num_classes)}, but returned {shape}{mode}; correct the model"
        )


def _for_shapes(name: str, num_classes: int, in_channels: int, width: float) -> nn.Module:
    """Build a network that runs on the same images: without values on the meta device, or with few channels."""
    if name in CIFAR:  # its width does not matter, and batch norms on the meta device import torch._dynamo: seconds
        hub.refuse_too_large(name, num_classes, in_channels, width)
        return CIFAR[name](num_classes, in_channels, NARROW)
    return hub.build_blank(name, num_classes, in_channels)


def _forward(model: nn.Module, image: tuple[int, int, int]) -> Any:
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    with device:
        return model(torch.zeros(2, *image))


def _fits(model: nn.Module, image: tuple[int, int, int]) -> bool:
    try:
        _forward(model, image)
    except Exception:
        return False
    return True


def _same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= SAME * one.abs().max())

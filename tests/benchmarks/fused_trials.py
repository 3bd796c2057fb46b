"""Seconds a step of K trials on one core: one after the other, as one `vmap`, and as one network of K groups.

    python -m tests.benchmarks.fused_trials [--device cuda] [--steps N] [--counts 1 2 4 8]

The trials differ in their masks only, so all of them see the same batch of 128 images: `small_cnn` on 1 x 8 x 8, and
ResNet-20 at a quarter of its width on 3 x 32 x 32. A step is forward, backward, SGD with momentum, and the masks. On a
CPU the seconds are processor seconds of one thread; the fastest of the steps counts. The three ways take turns. `vmap`
keeps no running statistics of batch norms, which favours it.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from trainables.models.cifar import CIFAR, PadShortcut
from trainables.models.layers import prunable_layers
from trainables.recipe import Recipe
from trainables.training.train import to_device
from trainables.training.updates import Updates

BATCH, CLASSES = 128, 10
CASES = (("small_cnn", 1.0, (1, 8, 8)), ("resnet20", 0.25, (3, 32, 32)))
RECIPE = Recipe(lr=0.05)
Step = Callable[[], Tensor]  # returns the losses (K,)
Masks = dict[str, Tensor]


def main() -> None:
    """Print a line for each network and number of trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, width, image in CASES:
        for count in options.counts:
            print(json.dumps(compared(name, width, image, count, torch.device(options.device), options.steps)))


def compared(
    name: str, width: float, image: tuple[int, ...], count: int, device: torch.device, steps: int
) -> dict[str, Any]:
    """Time the three ways, which must have the same losses."""
    torch.manual_seed(0)
    images = torch.randn(BATCH, *image, device=device)
    labels = torch.randint(CLASSES, (BATCH,), device=device)
    models = [to_device(CIFAR[name](CLASSES, image[0], width), device) for _ in range(count)]
    masks = [random_masks(model, images[:1]) for model in models]
    ways: dict[str, Step] = {
        "single": single_step(copy.deepcopy(models), masks, images, labels),
        "vmap": vmap_step(models, masks, images, labels),
        "grouped": grouped_step(models, masks, images, labels),
    }
    losses = {way: torch.stack([step() for _ in range(3)]) for way, step in ways.items()}
    for way in ("vmap", "grouped"):
        torch.testing.assert_close(losses[way], losses["single"], rtol=1e-2, atol=1e-3)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(steps):
        for way, step in ways.items():
            best[way] = min(best[way], seconds(step, device))
    row = {f"{way}_ms": round(1e3 * best[way], 2) for way in ways}
    faster = {f"{way}_times_as_fast": round(best["single"] / best[way], 2) for way in ("vmap", "grouped")}
    return {"network": f"{name} x {width:g}", "trials": count, **row, **faster}


def seconds(step: Step, device: torch.device) -> float:
    """Time a step: processor seconds, or the time on a GPU."""
    if device.type == "cpu":
        started = time.process_time()
        step()
        return time.process_time() - started
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    step()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


def random_masks(model: nn.Module, example: Tensor) -> Masks:
    """Draw masks that keep a fifth of the weights of each layer, and apply them."""
    masks = {}
    for layer in prunable_layers(model, example):
        weight = model.get_parameter(layer.parameter)
        masks[layer.parameter] = torch.rand_like(weight) < 0.2
        weight.data.mul_(masks[layer.parameter])
    return masks


def single_step(models: Sequence[nn.Module], masks: Sequence[Masks], images: Tensor, labels: Tensor) -> Step:
    """Train the networks one after the other, as trials do."""
    updates = [Updates(model, RECIPE, own) for model, own in zip(models, masks, strict=True)]

    def step() -> Tensor:
        losses = []
        for model, update in zip(models, updates, strict=True):
            loss = F.cross_entropy(model(images), labels)
            update.step(loss)
            losses.append(loss.detach())
        return torch.stack(losses)

    return step


class Stacked(nn.Module):
    """The parameters of several networks, (K, ...) each."""

    def __init__(self, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self.names = list(parameters)
        self.stacked = nn.ParameterList([nn.Parameter(tensor.detach().clone()) for tensor in parameters.values()])

    def of(self) -> dict[str, Tensor]:
        """Name the parameters as the networks do."""
        return dict(zip(self.names, self.stacked, strict=True))


def vmap_step(models: Sequence[nn.Module], masks: Sequence[Masks], images: Tensor, labels: Tensor) -> Step:
    """Train the networks by `vmap` over their stacked parameters."""
    plain = [without_statistics(copy.deepcopy(model)) for model in models]
    parameters, buffers = stack_module_state(plain)
    holder = Stacked(parameters)
    skeleton = copy.deepcopy(plain[0]).to("meta")
    update = Updates(holder, RECIPE, stacked_masks(holder, masks))

    def forward(own: dict[str, Tensor], fixed: dict[str, Tensor]) -> Tensor:
        return cast(Tensor, functional_call(skeleton, (own, fixed), (images,)))

    def step() -> Tensor:
        outputs = vmap(forward)(holder.of(), buffers)  # (K, B, classes)
        losses = F.cross_entropy(outputs.flatten(0, 1), labels.repeat(len(models)), reduction="none")
        each = losses.view(len(models), -1).mean(1)
        update.step(each.sum())
        return each.detach()

    return step


def without_statistics(model: nn.Module) -> nn.Module:
    """Let batch norms keep no running statistics, which `vmap` cannot update."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return model


def stacked_masks(holder: Stacked, masks: Sequence[Masks]) -> Masks:
    """Stack the masks of the networks under the names of the stacked parameters."""
    position = {name: index for index, name in enumerate(holder.names)}
    return {f"stacked.{position[name]}": torch.stack([own[name] for own in masks]) for name in masks[0]}


class GroupedLinear(nn.Module):
    """K linear layers side by side: (B, K * inputs) to (B, K * outputs)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))  # (K, inputs, outputs)
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers])[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """Multiply each group of inputs by its own weights."""
        count = len(self.weight)
        return (
            torch.baddbmm(self.bias, x.view(len(x), count, -1).transpose(0, 1), self.weight).transpose(0, 1).flatten(1)
        )


def grouped_shortcut(one: PadShortcut, count: int) -> PadShortcut:
    """Copy the channels of each of K groups as one shortcut copies its own."""
    grouped = PadShortcut(count * one.in_channels, count * len(one.source), one.stride)
    parts = [torch.where(one.source < 0, -1, one.source + group * one.in_channels) for group in range(count)]
    grouped.source = torch.cat(parts)
    return grouped


def grouped_step(models: Sequence[nn.Module], masks: Sequence[Masks], images: Tensor, labels: Tensor) -> Step:
    """Train the networks as one network, whose layers have a group of channels for each of them."""
    count = len(models)
    one = copy.deepcopy(models[0])
    whole: Masks = {}
    for name, module in list(one.named_modules()):
        layers: list[Any] = [model.get_submodule(name) for model in models]
        if isinstance(module, nn.Conv2d):
            channels, options = (module.in_channels, module.out_channels), (module.stride, module.padding)
            wide = nn.Conv2d(count * channels[0], count * channels[1], 3, *options, groups=count, bias=False)  # type: ignore[arg-type]
            wide.weight.data = torch.cat([layer.weight.detach() for layer in layers])
            grouped: nn.Module = wide
            whole[f"{name}.weight"] = torch.cat([own[f"{name}.weight"] for own in masks])
        elif isinstance(module, nn.BatchNorm2d):
            grouped = nn.BatchNorm2d(count * module.num_features)
        elif isinstance(module, nn.Linear):
            grouped = GroupedLinear(layers)
            whole[f"{name}.weight"] = torch.stack([own[f"{name}.weight"].T for own in masks])
        elif isinstance(module, PadShortcut):
            grouped = grouped_shortcut(module, count)
        else:
            continue
        parent, _, last = name.rpartition(".")
        setattr(one.get_submodule(parent), last, grouped)
    to_device(one, images.device)
    update = Updates(one, RECIPE, whole)
    repeated = images.repeat(1, count, 1, 1)

    def step() -> Tensor:
        outputs = one(repeated).view(BATCH, count, CLASSES)
        losses = F.cross_entropy(outputs.flatten(0, 1), labels.repeat_interleave(count), reduction="none")
        each = losses.view(BATCH, count).mean(0)
        update.step(each.sum())
        return each.detach()

    return step


if __name__ == "__main__":
    main()

"""One update of a network: the steps of its optimizers, their learning rates, and the average of its weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainables.models.layers import NO_MASKS, Masks
from trainables.pruning.gates import ChannelGates
from trainables.recipe import Recipe
from trainables.training.average import TRAINED, Average
from trainables.training.learning_rate import factor
from trainables.training.optimizers import SGD, build_optimizer

Memory = Mapping[str, Tensor]  # what updates need of earlier ones: "exp_avg:conv1.weight" and the like
MOMENTUM = "momentum_buffer"  # the entry of SGD's state


class Updates:
    """Updates the weights of a network by a recipe, and its gates, if any. Masked weights stay zero.

    Gates have an optimizer and a learning rate of their own. They have no weight decay, as it would close them, and no
    momentum, as it would take them past their budget (ours). If the recipe averages weights, the network has the
    averaged weights outside `training`.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, masks: Masks = NO_MASKS, gates: ChannelGates | None = None
    ) -> None:
        """masks: name of a parameter -> bool, True where a weight stays."""
        self._model, self._recipe, self._gates = model, recipe, gates
        self._masked: list[Tensor] = [model.get_parameter(name) for name in masks]
        # of the dtype and layout of the weights, which multiplies five times as fast as bool
        self._masks = [_like(mask, weight) for mask, weight in zip(masks.values(), self._masked, strict=True)]
        self._weights = build_optimizer(model, recipe)
        self._rates: list[float] = [group["lr"] for group in self._weights.param_groups]  # at their highest
        self._optimizers = [self._weights, *([SGD(gates.parameters(), gates.lr, foreach=True)] if gates else [])]
        self._average = Average(model, recipe.ema) if recipe.ema else None
        self._gates_done = 0.0  # fraction of the gates' training

    @property
    def learning(self) -> list[Tensor]:
        """All tensors that learn, those of gates included."""
        groups = (group for optimizer in self._optimizers for group in optimizer.param_groups)
        return [tensor for group in groups for tensor in group["params"]]

    def set_progress(self, done: float) -> None:
        """Set the learning rates. done: fraction of the recipe's training that is done."""
        for group, rate in zip(self._weights.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor(self._recipe, done)
        if self._gates:  # they no longer change after their own number of epochs
            self._gates_done = min(1.0, done * self._recipe.epochs / self._gates.settings.epochs)
            for group in self._optimizers[-1].param_groups:
                group["lr"] = self._gates.lr * factor(self._recipe, self._gates_done)

    def step(self, loss: Tensor) -> None:
        """Make one step down the gradient of a loss."""
        for tensor in self.learning:
            tensor.grad = None  # `zero_grad` does the same, and takes a twentieth of a small network's step
        loss.backward()
        if self._recipe.grad_clip:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.grad_clip)
        for optimizer in self._optimizers:
            optimizer.step()
        if self._gates:
            self._gates.step_to_target(self._gates_done)
        if self._masked:
            with torch.no_grad():
                torch._foreach_mul_(self._masked, self._masks)
        if self._average:
            self._average.update()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Let the network have the weights that train, not their average."""
        if self._average:
            self._average.swap()
        yield
        if self._average:
            self._average.swap()

    @property
    def state(self) -> Mapping[Tensor, Mapping[str, Any]]:
        """The state of the optimizer of the weights: parameter -> entry -> value."""
        return self._weights.state

    def memory(self) -> dict[str, Tensor]:
        """Return what the next updates need of the ones so far, outside `training`."""
        memory = {
            _key(entry, name): value
            for name, parameter in self._model.named_parameters()
            for entry, value in self._weights.state.get(parameter, {}).items()
            if value is not None
        }
        return memory | (self._average.memory() if self._average else {})

    def remember(self, memory: Memory) -> None:
        """Go on after the updates that left this memory. An empty memory is that of no updates."""
        of_state = (key for key in memory if not key.startswith(TRAINED))
        entries = {MOMENTUM, *(entry for entry, colon, _ in (key.partition(":") for key in of_state) if colon)}
        for name, parameter in self._model.named_parameters():
            for entry in sorted(entries):
                if (saved := memory.get(_key(entry, name))) is not None:
                    self._weights.state[parameter][entry] = _like(saved, parameter)
        if self._average:
            self._average.remember(memory)


def _key(entry: str, name: str) -> str:
    """Name an entry of a parameter's state. Checkpoints of older versions have SGD's by the parameter's name alone."""
    return name if entry == MOMENTUM else f"{entry}:{name}"


def _like(saved: Tensor, parameter: Tensor) -> Tensor:
    """Copy an entry into the layout of the weights; the number of steps stays on the CPU, as torch has it."""
    if saved.dim() == 0:
        return saved.clone()
    if saved.shape != parameter.shape:  # of an optimizer of the user's own
        return saved.to(parameter.device, copy=True)
    return torch.empty_like(parameter, requires_grad=False).copy_(saved)

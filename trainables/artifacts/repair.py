"""Compensate a network in which one part alone is pruned, for many numbers of its units at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from torch import nn

from trainables.compensation.compensation import Fitted, Targets, can_be_fitted, compensate, put
from trainables.models.layers import Masks, weight_name
from trainables.pruning.context import Calibration
from trainables.pruning.granularity import Cut

Fits = Mapping[str, Fitted]  # layer name -> its parameters


class Repair:
    """Fits layers of a pruned network to the outputs that they have in the dense network."""

    def __init__(self, dense: nn.Module, calibration: Calibration, seed: int) -> None:
        """seed: of the draw of the outputs that are fitted. The network is in eval mode whenever it is fitted."""
        self._model, self._calibration = dense, calibration
        training = dense.training
        self._targets = Targets.read(dense.eval(), calibration.all_inputs(), seed)
        dense.train(training)
        names = (name for name in self._targets.outputs if can_be_fitted(dense.get_submodule(name)))
        self.layers = {name: dense.get_submodule(name) for name in names}
        self._stored = {weight_name(name): name for name in self.layers}

    def after_masks(self, masks: Sequence[Masks]) -> Sequence[Fits]:
        """Fit layers of the dense network with each of these masks of their weights.

        The network stays dense. A later layer is fitted to what it reads after the earlier ones are fitted.
        """
        names = {self._stored[name] for each in masks for name in each}
        if len(names) == 1:  # so that one pass fits it for all masks
            before = self._parameters(names)
            fits = self._compensate(names, Cut(), masks)
            self._put(before)
            return fits
        return [self._fits(Cut(each)) for each in masks]

    def _fits(self, cut: Cut) -> Fits:
        names = [self._stored[name] for name in cut.masks]
        before = self._parameters(names)
        self._compensate(names, cut)
        fits = self._parameters(names)
        self._put(before)
        return fits

    def after_skips(self) -> Fits:
        """Fit all layers of the network, which skips some modules now, in place. Return their parameters."""
        self._compensate(self.layers, Cut())
        return self._parameters(self.layers)

    def _compensate(self, names: Collection[str], cut: Cut, others: Sequence[Masks] = ()) -> Sequence[Fits]:
        targets = replace(self._targets, outputs={name: self._targets.outputs[name] for name in names})
        inputs = self._calibration.all_inputs()
        _, fitted = compensate(self._model, targets, cut, inputs, batch_statistics=False, others=others)
        return fitted

    def _parameters(self, names: Collection[str]) -> Fits:
        return {name: Fitted.of(self.layers[name]) for name in names}

    def _put(self, fits: Fits) -> None:
        for name, parameters in fits.items():
            put(self.layers[name], parameters)

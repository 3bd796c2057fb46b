"""What the whole network loses under an allocation once least squares have repaired it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trainables.allocation.measured_loss import MeasuredLoss
from trainables.allocation.problem import Problem
from trainables.arguments import outputs_of
from trainables.compensation.compensation import Fitted, Targets, can_be_fitted, compensate, put
from trainables.models.layers import Masks, weight_name
from trainables.pruning.granularity import Counts, Cut


class CompensatedLoss(MeasuredLoss):
    """The loss of allocations whose networks are compensated, as the trial will compensate them.

    One pass through a network repairs it and measures it. All samples pass at once.
    """

    def __init__(self, problem: Problem) -> None:
        """The network is in eval mode."""
        model, context = problem.prunable.model, problem.context
        self._targets = Targets.read(model, context.samples.all_inputs(), context.seed)
        self._layers = [name for name in self._targets.outputs if can_be_fitted(model.get_submodule(name))]
        self._repaired = dict[bytes, dict[str, Fitted]]()  # allocation -> fitted layers; about ten allocations
        super().__init__(problem)

    def around(self, keep: Counts, others: Sequence[Counts]) -> list[float]:
        """Measure allocations that differ little from `keep`, each in the repaired network of `keep`.

        Only the layers that keep other weights are fitted again, to the inputs that they have there. The layers behind
        them stay as they are: a pass through the network takes a fraction of the time of a repair (ours).
        """
        base = self._prepare(keep)
        differing = [_differing(base, self._prepare(other)) for other in others]
        self._prepare(keep)
        _, fitted = self._compensate(base, differing)
        repaired = self._fitted()
        losses = []
        for other, of_other in zip(others, fitted, strict=True):
            self._put(other, {**repaired, **of_other})
            losses.append(self._lost(self._run()))
        return losses

    def _prune_to(self, keep: Counts) -> None:
        if (key := keep.tobytes()) not in self._repaired:
            self._outputs(keep)
        self._put(keep, self._repaired[key])

    def _dense_outputs(self) -> Tensor:
        return self._targets.final

    def _outputs(self, keep: Counts) -> Tensor:
        outputs, _ = self._compensate(self._prepare(keep))
        self._repaired[keep.tobytes()] = self._fitted()
        return outputs

    def _fitted(self) -> dict[str, Fitted]:
        return {name: Fitted.of(self._model.get_submodule(name)) for name in self._layers}

    def _put(self, keep: Counts, fitted: Mapping[str, Fitted]) -> None:
        self._prepare(keep)  # skips modules, and masks layers that cannot be fitted
        for name, parameters in fitted.items():
            put(self._model.get_submodule(name), parameters)

    def _compensate(self, masks: Masks, others: Sequence[Masks] = ()) -> tuple[Tensor, list[dict[str, Fitted]]]:
        inputs, fresh = self._problem.context.samples.all_inputs(), self._problem.recalibrated
        return compensate(self._model, self._targets, Cut(masks), inputs, fresh, others=others)

    @torch.no_grad()
    def _run(self) -> Tensor:
        return outputs_of(self._model, self._problem.context.samples.all_inputs())

    @torch.no_grad()
    def _prepare(self, keep: Counts) -> dict[str, Tensor]:
        """Mask units, but leave the layers that are about to be fitted their dense weights, and return their masks.

        A fit takes the masks and pulls towards the weights that it finds.
        """
        self._mask(keep)
        masks = {}
        for name in self._layers:
            key = weight_name(name)
            gone = (self._state[key] == 0) & (self._saved[key] != 0)
            if bool(gone.any()):
                masks[key] = ~gone
                self._state[key].copy_(self._saved[key])
        return masks


def _differing(base: Masks, other: Masks) -> dict[str, Tensor]:
    """Find the masks of the parameters that keep other weights than in `base`."""
    whole = {name: torch.ones_like(mask) for name, mask in base.items() if name not in other}
    return {n: mask for n, mask in {**whole, **other}.items() if n not in base or not torch.equal(mask, base[n])}

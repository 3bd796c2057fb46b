"""Functions of the user's own, sound and unsound ones, in a module that settings can name."""

import sys
from pathlib import Path

import pytest

RULES = """
import numpy as np
import torch
from trainables.allocation.from_shapes import erk
from trainables.data.batches import Drawn
from trainables.plugins import needs
from trainables.pruning.criteria import l1
from trainables.training.recovery import finetune


@needs(granularities=("weight", "channel"))
def halves(problem):
    parts = problem.prunable.parts
    density = np.where(np.arange(len(parts)) < len(parts) / 2, 1.0, 2.0)
    return lambda scale: scale * density * np.array([part.units for part in parts])


@needs("samples", "profile", granularities=("weight",))
def reads_all(problem):
    assert len(problem.measured.levels) > 1 and len(problem.context.samples.inputs) > 1
    return erk(problem)


def magnitudes(context):
    return l1(context)


def twice(pruned):
    return finetune(pruned)


def falls(problem):
    units = np.array([part.units for part in problem.prunable.parts])
    return lambda scale: units / scale


def too_few(problem):
    return lambda scale: np.ones(1)


def nothing(problem):
    return lambda scale: np.full(len(problem.prunable.parts), np.nan)


def breaks(problem):
    raise KeyError("layer7")


def changes(problem):
    with torch.no_grad():
        next(problem.prunable.model.parameters()).add_(1.0)
    return erk(problem)


def dices(problem):
    densities = np.random.default_rng().uniform(0.1, 1.0, len(problem.prunable.parts))
    return lambda scale: scale * densities * np.array([part.units for part in problem.prunable.parts])


def scores_parts(context):
    return {part.name: torch.ones(1) for part in context.prunable.parts}


def not_finite(context):
    return {part.name: torch.full((part.units,), torch.inf) for part in context.prunable.parts}


def no_plan(pruned):
    return pruned.spec.finetune


def two(first, second):
    pass


def few_scores(records):
    return records.hits


def no_number(records):
    return records.margins.mean(axis=0)


def chance(records):
    return np.random.default_rng().random(len(records.ids))


def no_draw(context):
    return context.order


def too_few_samples(context):
    return lambda epoch: Drawn(torch.from_numpy(context.order[:300]))


def weightless(context):
    return lambda epoch: Drawn(torch.from_numpy(context.order), torch.full((600,), -1.0))


def gambles(context):
    return lambda epoch: Drawn(torch.randperm(len(context.order)))


def easiest(context):
    first = torch.from_numpy(context.order[:100])
    return lambda epoch: Drawn(first.repeat(len(context.order))[: len(context.order)])


def adam(parameters, recipe):
    return torch.optim.Adam(parameters, lr=recipe.lr)


def factors(parameters, recipe):
    return torch.optim.Adafactor(parameters, lr=recipe.lr)  # its state has other shapes than the weights


def no_optimizer(parameters, recipe):
    return [parameter for _, parameter in parameters]


def closes(parameters, recipe):
    return torch.optim.LBFGS(parameters, lr=recipe.lr)


def nothing_learns(parameters, recipe):
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=recipe.lr)


class Counting(torch.optim.SGD):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.count = 0

    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            group["lr"] /= self.count
        return super().step(closure)


def forgets(parameters, recipe):
    return Counting(parameters, recipe.lr)


class Replacing(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data = parameter.data - group["lr"] * parameter.grad


def replaces(parameters, recipe):
    return Replacing(parameters, recipe.lr)


class Naming(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["count"] = 1
        return super().step(closure)


def names(parameters, recipe):
    return Naming(parameters, recipe.lr)
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "tried_rules", raising=False)  # of another test's folder
    file = tmp_path / "tried_rules.py"
    file.write_text(RULES)
    monkeypatch.syspath_prepend(tmp_path)
    return file

"""What every policy must do, whatever its rule."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.cli.catalog import listing
from tests.trainables.problems import LEVELS, linears, problem, profile, quotas, random_profile
from trainables.allocation import capacity, random_draws, synflow
from trainables.allocation.budget import dense_counts, total
from trainables.allocation.policies import POLICIES
from trainables.allocation.problem import Problem
from trainables.catalog import checks, feasibility
from trainables.models import hub
from trainables.names import OF_DENSITIES, POLICY_NEEDS, GranularityName
from trainables.pruning.context import Calibration
from trainables.pruning.criteria import l1
from trainables.pruning.gates import TrainedGates
from trainables.pruning.granularities import GRANULARITIES, view
from trainables.pruning.granularity import Counts, Prunable
from trainables.pruning.masks import Weights
from trainables.spec import BudgetKind, DenseSpec, TrialSpec

SEARCHING = {"capacity", "random-best"}  # they measure candidates, some of them random
MONOTONE = sorted(
    set(POLICIES) - {"rdp", "rdp-worst", "synflow"} - SEARCHING
)  # optima and changing scores are not monotone
SYMMETRIC = sorted(
    set(POLICIES) - {"random", "uniform-plus", *OF_DENSITIES} - SEARCHING
)  # random draws and named layers are not symmetric


class Awkward(nn.Module):
    """A network with biases, without batch norm, with a grouped and a depthwise convolution and a sum."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3)
        self.grouped, self.depthwise = nn.Conv2d(16, 16, 1, groups=2), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.hidden, self.head = nn.Linear(16, 24), nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(self.stem(x).relu()).relu()
        x = x + self.depthwise(self.grouped(x).relu()).relu()
        logits: Tensor = self.head(self.hidden(x.mean((2, 3))).relu())
        return logits


def dense_networks() -> Iterator[tuple[str, GranularityName, Prunable]]:
    assert set(get_args(GranularityName)) == set(GRANULARITIES)
    builders = {name: partial(hub.build, name, 10, 1, 0.5) for name in ("small_cnn", "resnet20")}
    for granularity in get_args(GranularityName):
        for name, build in (builders | {"awkward": partial(Awkward, 10)}).items():
            torch.manual_seed(0)
            yield name, granularity, view(build(), granularity, torch.zeros(1, 1, 8, 8))


NETWORKS = {f"{name}-{granularity}": (granularity, prunable) for name, granularity, prunable in dense_networks()}
PAIRS = [(p, n) for p in sorted(POLICIES) for n, (g, _) in NETWORKS.items() if g in POLICY_NEEDS[p].granularities]
SAMPLES = Calibration((torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8)))


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synflow, "ROUNDS", 3)
    monkeypatch.setattr(capacity, "EXCHANGES", 3)
    monkeypatch.setattr(random_draws, "DRAWS", 3)


def known_to(policy: str, prunable: Prunable, calibration: Calibration, sparsity: float, kind: BudgetKind) -> Problem:
    """Make a problem with only the inputs that the policy names. A policy that reads another input fails."""
    inputs, random = POLICY_NEEDS[policy].inputs, np.random.default_rng(0)
    asked = problem(
        prunable,
        sparsity,
        kind,
        calibration=calibration if "samples" in inputs else None,
        profile=random_profile(prunable) if "profile" in inputs else None,
        densities={p.name: random.uniform(0.1, 1.0) for p in prunable.parts} if policy in OF_DENSITIES else None,
    )
    scores = l1(asked.context)
    if "gates" in inputs:
        asked = replace(asked, context=replace(asked.context, shared={"gates": TrainedGates(scores, {})}))
    return replace(asked, scores=scores)


@pytest.mark.parametrize("kind", ["params", "macs"])
@pytest.mark.parametrize(("policy", "network"), PAIRS)
def test_every_policy_spends_the_budget(policy: str, network: str, kind: BudgetKind) -> None:
    _, prunable = NETWORKS[network]
    units, least = dense_counts(prunable), POLICIES[policy].least(prunable)
    reach = 1.0 - prunable.cost(least, kind) / prunable.cost(units, kind)
    little, much = (0.3, 0.7) if reach > 0.7 else (0.3 * reach, 0.7 * reach)

    def ask(sparsity: float) -> Counts:
        return quotas(policy, known_to(policy, prunable, SAMPLES, sparsity, kind))

    answers = [ask(sparsity) for sparsity in (little, much)]
    for sparsity, keep in zip((little, much), answers, strict=True):
        assert (least <= keep).all()
        assert (keep <= units).all()
        budget, spent = total(prunable, sparsity, kind), prunable.cost(keep, kind)
        assert spent == budget if isinstance(prunable, Weights) and kind == "params" else spent <= budget
        for p in np.flatnonzero(keep < units):
            more = keep + np.eye(len(keep), dtype=int)[p]
            assert prunable.cost(more, kind) > budget
    assert (answers[1] == ask(much)).all()
    assert (ask(0.0) == units).all()


@pytest.mark.parametrize("policy", MONOTONE)
def test_a_part_keeps_no_less_of_a_larger_budget(policy: str) -> None:
    _, prunable = NETWORKS["small_cnn-weight"]
    problems = [known_to(policy, prunable, SAMPLES, sparsity, "params") for sparsity in (0.0, 0.2, 0.5, 0.8, 0.9)]
    kept = np.stack([quotas(policy, asked) for asked in problems])
    assert (np.diff(kept, axis=0) <= 1).all()  # the last units of the budget may go to another part


@pytest.mark.parametrize("policy", SYMMETRIC)
def test_order_of_the_layers_does_not_matter(policy: str) -> None:
    random = np.random.default_rng(0)
    matrices = [random.normal(0, scale, shape) for scale, shape in ((0.1, (4, 30)), (1.0, (8, 20)), (0.3, (2, 50)))]
    images = torch.randn(6, 1, generator=torch.Generator().manual_seed(0))
    answers = []
    for order in ([0, 1, 2], [2, 0, 1]):
        outputs = [len(matrices[i]) for i in order]
        offset = sum(outputs[: order.index(1)])  # all labels are outputs of the second matrix
        samples = Calibration((images, torch.arange(6) + offset))
        prunable = linears(*(matrices[i] for i in order))
        asked = known_to(policy, prunable, samples, 0.6, "params")
        if "profile" in POLICY_NEEDS[policy].inputs:
            curves = profile(LEVELS, [np.power(LEVELS, 2.0 + i) for i in order], prunable)
            asked = replace(asked, context=replace(asked.context, shared={"profile": curves}))
        answers.append(quotas(policy, asked)[[order.index(i) for i in range(3)]])
    np.testing.assert_allclose(answers[0], answers[1], atol=1)


def test_policy_that_means_nothing_at_a_granularity_is_refused() -> None:
    spec = TrialSpec(policy="uniform-plus", granularity="channel", criterion="l1")
    (complaint,) = checks.mismatches(spec)
    assert complaint.startswith(
        "policy 'uniform-plus' must go with granularity weight, but got 'channel'; for that use"
    )
    assert "igq" in complaint
    assert "uniform-plus" not in complaint.partition(";")[2]


def test_budget_below_what_a_policy_leaves_is_refused_before_any_trial() -> None:
    deep = TrialSpec(dense=DenseSpec(model="small_cnn"), sparsity=0.995)
    assert feasibility.unreachable([deep]) == []
    (complaint,) = feasibility.unreachable([deep, deep.model_copy(update={"policy": "uniform-plus"})])
    assert complaint.startswith("small_cnn, policy 'uniform-plus': budget must leave at least")


def test_the_catalog_names_the_inputs_of_a_policy() -> None:
    descriptions = listing("policies")["policies"]
    assert descriptions["uniform-plus"].endswith("(weight)")
    assert descriptions["snip"].endswith("(weight, channel, block, projected-block; reads calibration samples)")
    assert descriptions["rdp"].endswith("block; reads a profile of calibration samples)")

"""What a network keeps is known before the trial runs: the same as the plan of the trained network."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.allocation.plan import plan
from trainables.catalog.planned_parts import planned_parts
from trainables.data_spec import DataSpec
from trainables.models import hub
from trainables.names import SEARCHED
from trainables.pruning_spec import Pruning
from trainables.spec import DenseSpec, TrialSpec


@pytest.mark.parametrize(
    ("model", "granularity", "criterion", "budget", "round_to"),
    [
        ("small_cnn", "weight", "magnitude", "params", 1),
        ("small_cnn", "channel", "l1", "macs", 8),
        ("resnet20", "channel", "l2", "params", 4),
        ("mobilenet", "channel", "l1", "macs", 1),
        ("resnet20", "block", "l1", "params", 1),
    ],
)
@settings(max_examples=8, deadline=None)
@given(draw=st.randoms(use_true_random=False), sparsity=st.floats(0.1, 0.4), steps=st.integers(1, 3))
def test_planned_parts_are_those_of_the_plan(
    model: str, granularity: str, criterion: str, budget: str, round_to: int, draw: object, sparsity: float, steps: int
) -> None:
    dense = DenseSpec(model=model, width=0.5, data=DataSpec(name="digits"))
    schedule = {"name": "iterative", "steps": steps, "step_epochs": 1} if steps > 1 else {}
    given_settings = {"granularity": granularity, "criterion": criterion, "budget": budget, "round_to": round_to}
    cell = TrialSpec.model_validate({**given_settings, "dense": dense, "sparsity": sparsity, "schedule": schedule})
    network = hub.build(model, 10, 1, 0.5)  # fresh weights, which differ from example to example
    names = plan(network, torch.zeros(1, 1, 8, 8), cell).parts
    densities = {name: draw.uniform(0.01, 1.0) for name in names}  # type: ignore[attr-defined]
    spec = cell.model_copy(update={"policy": SEARCHED, "densities": densities})
    chosen = plan(network, torch.zeros(1, 1, 8, 8), spec)
    planned = planned_parts(spec)
    assert planned is not None
    assert planned[-1] == chosen.parts
    units = {part.name: part.units for part in chosen.prunable.parts}
    assert [{name: share * units[name] for name, share in step.items()} for step in planned] == [
        pytest.approx(dict(quota)) for quota in chosen.steps
    ]


def test_nothing_is_known_of_a_network_that_is_pruned_before() -> None:
    before = (Pruning(granularity="channel", criterion="l1", policy="uniform", sparsity=0.3),)
    assert planned_parts(TrialSpec(policy=SEARCHED, before=before, densities={"a": 1.0})) is None

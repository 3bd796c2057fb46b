"""What channels of a user's networks can go, and what a run says of these networks before any trial."""

import pytest
import torch

from search.networks.allocation import allocation
from search.networks.network import fresh
from tests.trainables.tried_nets import EXAMPLE
from trainables.catalog import feasibility
from trainables.catalog.remarks import remarks
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.pruning.channels import Channels
from trainables.pruning.soundness import refuse_unsound_cuts
from trainables.spec import DenseSpec, TrialSpec

pytestmark = pytest.mark.usefixtures("tried_nets")


def test_gates_by_expand_leave_channels_prunable() -> None:
    built = Architecture(model="tried_nets:gated", width=1.0, classes=10, image=(1, 8, 8))
    model = built.build()
    assert {"0.0", "2.0"} <= {layer.name for part in Channels(model, EXAMPLE).parts for layer in part.layers}
    refuse_unsound_cuts(model, EXAMPLE)


def test_frozen_layers_stay_frozen_when_they_are_cut_and_read_back() -> None:
    built = Architecture(model="tried_nets:frozen", width=1.0, classes=10, image=(1, 8, 8))
    model = built.build()
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert set(flags.values()) == {True, False}
    channels = Channels(model, EXAMPLE)
    channels.remove({part.name: torch.arange(part.units // 2) for part in channels.parts})
    again = checkpoint.rebuild(built, model.state_dict())
    for cut in (model, again):
        assert len(cut.get_parameter("body.0.weight")) == 4
        assert {name: parameter.requires_grad for name, parameter in cut.named_parameters()} == flags


@pytest.mark.parametrize(("name", "layer"), [("upwards", "up"), ("volume", "v")])
def test_transposed_convolutions_and_those_of_three_dimensions_are_cut(name: str, layer: str) -> None:
    network = fresh(f"tried_nets:{name}", "1x8x8", 10, 0)
    feasibility.prove_cuts(network.name, network.model, network.architecture.example())
    channels = Channels(network.model, network.architecture.example())
    assert layer not in channels.held
    assert "b.0" in [part.name for part in channels.parts]
    before = network.model.get_submodule(layer).get_parameter("weight").numel()
    channels.remove({part.name: torch.arange(part.units // 2) for part in channels.parts})
    assert network.model.get_submodule(layer).get_parameter("weight").numel() < before


@pytest.mark.parametrize("name", ["shuffled"])
def test_an_allocation_is_refused_as_a_run_is(name: str) -> None:
    settings = {"granularity": "channel", "criterion": "l1", "policy": "uniform", "sparsity": 0.5}
    spec = TrialSpec(dense=DenseSpec(model=f"tried_nets:{name}"), granularity="channel", criterion="l1")
    (of_run,) = feasibility.unreachable([spec])
    with pytest.raises(ValueError, match=f"^tried_nets:{name}: .*") as caught:
        allocation(fresh(f"tried_nets:{name}", "1x8x8", 10, 0), settings, 0)
    assert str(caught.value) == of_run
    assert len(of_run.splitlines()) == 1
    assert of_run.count(f"tried_nets:{name}") == 1


def test_a_run_says_which_layers_are_frozen_and_whether_much_is_fixed() -> None:
    networks = [DenseSpec(model=f"tried_nets:{name}") for name in ("plain", "upwards", "frozen")]
    fixed, frozen, _ = remarks([*networks, DenseSpec()])
    assert frozen == (
        "tried_nets:frozen: frozen, so never trained: body.0.weight, body.0.bias, body.1.weight and 1 more"
    )
    assert fixed == (  # of 8 * 9 + 10 * 8 weights, 8 + 10 biases, and 2 * 8 of the batch norm
        "tried_nets:plain: 34 of 186 parameters (18.3 %) are fixed: never pruned, and in no budget: "
        "head.2.bias (a bias), body.0.bias (a bias), body.1.weight (the scale of a norm) and 1 more"
    )

"""An inspection lists every parameter and multiply-accumulate of a network, and why some of it cannot be pruned."""

import pytest

from search.cli.inspection_tables import print_inspection
from search.networks.inspection import GRANULARITIES, Inspection, inspection
from search.networks.network import fresh
from trainables.models.layers import count


def inspected(name: str) -> Inspection:
    network = fresh(name, "3x8x8", 10, 0)
    return inspection(name, network.model, network.architecture.example())


@pytest.mark.parametrize("name", ["resnet20", "tests.search.networks.nets:attentive"])
def test_the_parts_add_up_to_the_network(name: str) -> None:
    network = fresh(name, "3x8x8", 10, 0)
    found = inspected(name)
    parameters = {name: parameter.numel() for name, parameter in network.model.named_parameters()}
    counted = count(network.model, {}, network.architecture.example())
    assert found.params == sum(parameters.values()) == sum(part.weights for part in found.parts)
    assert (found.params_prunable, found.params_fixed) == (counted.params_kept, counted.params_fixed)
    assert found.macs == counted.macs_kept == sum(part.macs for part in found.parts)
    prunable = [part for part in found.parts if part.prunable["weight"] is True]
    assert found.params_prunable == sum(part.weights for part in prunable)
    assert all(list(part.prunable) == list(GRANULARITIES) for part in found.parts)
    assert all(reason for part in found.parts for reason in part.prunable.values())


def test_a_resnet_says_what_goes_together_and_what_stays() -> None:
    parts = {part.name: part for part in inspected("resnet20").parts}
    assert parts["stem.conv"].coupled == ["block1_1.conv2", "block1_2.conv2", "block1_3.conv2"]
    assert parts["stem.conv"].prunable == {
        "weight": True,
        "channel": True,
        "block": "the first block",
        "projected-block": "the first block",
    }
    assert parts["block2_1.conv1"].prunable["block"] == "changes the shape"
    assert parts["block2_1.conv1"].prunable["projected-block"] is True
    assert parts["head"].prunable["channel"] == "the network's output"
    assert (parts["head"].kind, parts["head"].units, parts["head"].weights, parts["head"].macs) == (
        "Linear",
        10,
        640,
        640,
    )


def test_attention_says_what_masks_do_not_save(capsys: pytest.CaptureFixture[str]) -> None:
    found = inspected("tests.search.networks.nets:attentive")
    parts = {(part.name, part.kind): part for part in found.parts}
    products = parts["attend", "products"]
    assert (products.weights, products.macs) == (0, 2 * 4 * 4 * 16)
    assert parts["attend.q_proj", "MultiheadAttention"].macs == 4 * 16 * 16
    assert parts["attend.q_proj", "MultiheadAttention"].prunable["channel"] is True
    assert parts["place", "Attentive"].prunable["weight"] == "no product has it as its matrix"
    assert parts["hidden", "Linear"].prunable["channel"] is True
    print_inspection(found)
    printed = capsys.readouterr().out
    assert "products without weights: 512 multiply-accumulates, in attend; masked weights do not save them" in printed
    assert f"fixed: {found.params_fixed:,} parameters" in printed
    assert "64 of Attentive: no product has it as its matrix" in printed

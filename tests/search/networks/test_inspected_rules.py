"""An inspection shows which rule for layers takes which layer, and what it lets the layer's part keep."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.search.conftest import howcompact

RULES = "[{match: head, keep: 1.0}, {match: 'block*', at_least: 0.3, at_most: 0.8}, {type: Linear, density: 0.5}]"


def bounds_of(part: dict[str, Any]) -> dict[str, tuple[str, str, int, int, int]]:
    return {granularity: tuple(bound.values()) for granularity, bound in part["rules"].items()}


def test_rules_say_which_layer_they_take_and_what_they_let_it_keep(tmp_path: Path) -> None:
    arguments = ("inspect", "small_cnn", "--image", "1x8x8", "--layers", RULES)
    found = json.loads(howcompact(*arguments, "--json", cwd=tmp_path).stdout)
    parts = {part["name"]: part for part in found["parts"]}
    blocks = "block* 0.3 to 0.8"
    assert bounds_of(parts["block2.conv"]) == {  # 4,608 weights, 32 channels, one block that changes the shape
        "weight": (blocks, "block2.conv", 4608, 1383, 3686),
        "channel": (blocks, "block2.conv", 32, 10, 25),
        "projected-block": (blocks, "block2", 1, 1, 1),
    }
    assert bounds_of(parts["hidden"]) == {  # head reads its channels
        "weight": ("Linear 0.5", "hidden", 8192, 4096, 4096),
        "channel": ("head keep 1", "hidden", 128, 128, 128),
    }
    assert bounds_of(parts["head"]) == {"weight": ("head keep 1", "head", 1280, 1280, 1280)}
    assert found["idle_rules"]["channel"] == {
        "Linear 0.5": "earlier rules hold for all that it matches, as 'head keep 1' for hidden; put it before them"
    }
    assert "weight" not in found["idle_rules"]
    assert found["trial_rules"] == ""
    printed = " ".join(howcompact(*arguments, cwd=tmp_path).stdout.split())
    assert f"block2.conv {blocks} 1,383 to 3,686 of 4,608 10 to 25 of 32 all 1" in printed
    assert "hidden Linear 0.5 4,096 of 8,192 hidden head keep 1 all 128" in printed
    assert "no effect by block: Linear 0.5: all units of hidden, head stay (in no block); leave it out" in printed


def test_rules_for_a_network_without_units_to_prune_are_shown(tmp_path: Path) -> None:
    rules = ("--layers", "[{type: Linear, density: 0.5}]")
    done = howcompact("inspect", "tests.search.networks.nets:linear", "--input", "1", *rules, "--json", cwd=tmp_path)
    (layer, _) = json.loads(done.stdout)["parts"]
    assert layer["prunable"]["weight"] == "a weight for each output"
    assert layer["rules"]["weight"] == {"rule": "Linear 0.5", "part": "", "units": 10, "least": 10, "most": 10}


def test_an_allocation_keeps_within_the_bounds_that_the_inspection_shows(tmp_path: Path) -> None:
    settings = ("--image", "1x8x8", "--layers", RULES.replace(", {type: Linear, density: 0.5}", ""))
    inspected = json.loads(howcompact("inspect", "small_cnn", *settings, "--json", cwd=tmp_path).stdout)["parts"]
    asked = ("--policy", "lamp", "--sparsity", "0.6", "--granularity", "channel", "--json")
    allocated = json.loads(howcompact("allocate", "small_cnn", *settings, *asked, cwd=tmp_path).stdout)
    for part in inspected:
        if bound := part["rules"].get("channel"):
            kept = round(allocated["parts"][bound["part"]] * bound["units"])
            assert bound["least"] <= kept <= bound["most"]
    rules = {layer["name"]: layer["rule"] for layer in allocated["layers"] if layer["name"] != "head"}
    assert rules == {part["name"]: part["rules"]["channel"]["rule"] for part in inspected if "channel" in part["rules"]}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("[{match: hed, keep: 1.0}]", "no layer matches 'hed'; the nearest names are head"),
        ("[{match: head, keep: 0.5}]", "keep must be 1.0, which keeps all units, but got 0.5"),
        ("rules.yaml", "--layers must be a YAML file with rules, but 'rules.yaml' does not exist"),
    ],
)
def test_rules_that_change_nothing_or_are_wrong_are_refused(rules: str, message: str, tmp_path: Path) -> None:
    done = howcompact("inspect", "small_cnn", "--image", "1x8x8", "--layers", rules, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""

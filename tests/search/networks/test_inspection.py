"""An inspection lists every parameter and multiply-accumulate of a network, and why some of it cannot be pruned."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from search.cli.inspection_tables import print_inspection
from search.networks.inspection import GRANULARITIES, Inspection, inspection
from search.networks.network import any_fresh, fresh
from tests.search.conftest import howcompact
from tests.trainables.models.test_every_network import torchs_count
from trainables.models.layers import count

NETS = """
import torch
from torch import nn


class Attentive(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.patches = nn.Conv2d(channels, 16, 4, 4)
        self.place = nn.Parameter(torch.randn(1, 4, 16))
        self.attend, self.norm = nn.MultiheadAttention(16, 2, batch_first=True), nn.LayerNorm(16)
        self.hidden, self.head = nn.Linear(16, 24), nn.Linear(24, classes)

    def forward(self, x):
        x = self.norm(self.patches(x).flatten(2).mT + self.place)
        return self.head(self.hidden(x + self.attend(x, x, x, need_weights=False)[0]).relu().mean(1))


def attentive(num_classes, in_channels):
    return Attentive(num_classes, in_channels)


def bert(num_classes, in_channels):
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return BertModel(BertConfig(vocab_size=20, **sizes))


def llama(num_classes, in_channels):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes))


def signal(num_classes, in_channels):
    from tests.trainables.models.networks import Signal

    return Signal()


def recurrent(num_classes, in_channels):
    from tests.trainables.models.networks import Recurrent

    return Recurrent()


def features(num_classes, in_channels):
    return nn.Sequential(nn.Linear(in_channels, 8), nn.ReLU(), nn.Linear(8, num_classes))


def linear(num_classes, in_channels):
    return nn.Linear(in_channels, num_classes)


class Single(nn.Linear):
    def forward(self, x):
        return super().forward(x.view(1, -1))


def single(num_classes, in_channels):
    return Single(in_channels, num_classes)


class Wordy(nn.Linear):
    def forward(self, x):
        return str(super().forward(x))


def wordy(num_classes, in_channels):
    return Wordy(in_channels, num_classes)
"""


@pytest.fixture(autouse=True)
def _nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inspected_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)


def inspected(name: str) -> Inspection:
    network = fresh(name, "3x8x8", 10, 0)
    return inspection(name, network.model, network.architecture.example())


@pytest.mark.parametrize("name", ["resnet20", "inspected_nets:attentive"])
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
    found = inspected("inspected_nets:attentive")
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


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("bert", "16:int64"),
        ("llama", "9:int64"),
        ("signal", "2x64"),
        ("recurrent", "9:int32"),
        ("features", "12"),
        ("attentive", "3x8x8:float32"),
    ],
)
def test_a_network_may_read_any_tensor(name: str, tensor: str) -> None:
    model, example = any_fresh(f"inspected_nets:{name}", tensor, 4, 0)
    found = inspection(name, model, example)
    assert found.params == sum(part.weights for part in found.parts) == sum(p.numel() for p in model.parameters())
    assert found.macs == sum(part.macs for part in found.parts) == torchs_count(model, example)


def test_the_example_has_the_shape_and_ids_that_every_table_has() -> None:
    _, example = any_fresh("inspected_nets:bert", "5:int64", 4, 0)
    assert example.tolist() == [[0, 1, 0, 1, 0]]
    _, example = any_fresh("inspected_nets:signal", "2x64", 4, 0)
    assert (example.shape, example.dtype) == ((1, 2, 64), torch.float32)


def test_a_network_whose_output_is_an_object_says_what_is_pruned_how() -> None:
    model, example = any_fresh("inspected_nets:bert", "16:int64", 4, 0)
    parts = {part.name: part for part in inspection("bert", model, example).parts}
    query = parts["encoder.layer.1.attention.self.query"]
    assert query.coupled == [f"encoder.layer.1.attention.self.{name}" for name in ("key", "value")]
    assert all(by is True for by in query.prunable.values())
    assert parts["encoder.layer.0.intermediate.dense"].prunable["channel"] is True
    assert parts["encoder.layer.0.output.dense"].prunable["channel"] == "the network's output"
    assert parts["pooler.dense"].prunable == {
        "weight": True,
        "channel": "the network's output",
        "block": "in no block",
        "projected-block": "in no block",
    }


def test_a_class_of_transformers_is_built_by_its_name(tmp_path: Path) -> None:
    printed = json.loads(howcompact("inspect", "hf:PatchTSTModel", "--input", "32x1", "--json", cwd=tmp_path).stdout)
    config = transformers.PatchTSTConfig()
    model = transformers.PatchTSTModel(config)
    assert printed["params"] == sum(parameter.numel() for parameter in model.parameters())
    assert printed["macs"] == torchs_count(model.eval(), torch.zeros(1, 32, 1))
    layers = [part for part in printed["parts"] if part["prunable"]["channel"] is True]
    assert len(layers) == 4 * config.num_hidden_layers  # queries, keys, values, and the hidden layer of the MLP


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
    done = howcompact("inspect", "inspected_nets:linear", "--input", "1", *rules, "--json", cwd=tmp_path)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["hf:BertModel", "--input", "16"],
            "hf:BertModel must run on a batch of 16:float32, but failed with: RuntimeError: Expected tensor for",
        ),
        (
            ["hf:LlamaModel", "--input", "16:int64"],
            "hf:LlamaModel must have at most 1,073,741,824 weights, but has 6,607,343,616 with its usual configuration",
        ),
        (
            ["hf:BertModl", "--input", "16:int64"],
            "model 'hf:BertModl' must name a model class of transformers, but there is none of this name; did you mean "
            "hf:BertModel",
        ),
        (
            ["hf:BertModel"],
            "for image classification, but there is none of this name; howcompact inspect --input takes",
        ),
        (["resnet20", "--input", "16:int8"], "--input must be the extents of one input and its type, float32, int64"),
        (["resnet20", "--input", "3x0x8"], "but got '3x0x8'"),
        (
            ["resnet20", "--input", "3x8x8", "--image", "3x8x8"],
            "--input must go with a model's name alone, but got also --image; leave one out",
        ),
        (
            ["inspected_nets:single", "--input", "8"],
            "inspected_nets:single must run on a batch of 8:float32, but failed",
        ),
        (
            ["inspected_nets:wordy", "--input", "8"],
            "inspected_nets:wordy must return tensors, alone or in lists, tuples and dictionaries, but returned a str",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_one_sentence(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = howcompact("inspect", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1

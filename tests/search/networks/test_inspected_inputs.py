"""A network that reads no images is inspected by the shape and type of its input."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from search.networks.inspection import inspection
from search.networks.network import any_fresh
from tests.search.conftest import howcompact
from tests.trainables.models.test_every_network import torchs_count


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
    model, example = any_fresh(f"tests.search.networks.nets:{name}", tensor, 4, 0)
    found = inspection(name, model, example)
    assert found.params == sum(part.weights for part in found.parts) == sum(p.numel() for p in model.parameters())
    assert found.macs == sum(part.macs for part in found.parts) == torchs_count(model, example)


def test_the_example_has_the_shape_and_ids_that_every_table_has() -> None:
    _, example = any_fresh("tests.search.networks.nets:bert", "5:int64", 4, 0)
    assert example.tolist() == [[1, 0, 1, 0, 1]]
    _, example = any_fresh("tests.search.networks.nets:signal", "2x64", 4, 0)
    assert (example.shape, example.dtype) == ((1, 2, 64), torch.float32)


def test_a_network_whose_output_is_an_object_says_what_is_pruned_how() -> None:
    model, example = any_fresh("tests.search.networks.nets:bert", "16:int64", 4, 0)
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
            ["tests.search.networks.nets:single", "--input", "8"],
            "tests.search.networks.nets:single must run on a batch of 8:float32, but failed",
        ),
        (
            ["tests.search.networks.nets:wordy", "--input", "8"],
            "nets:wordy must return tensors, alone or in lists, tuples and dictionaries, but returned a str",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_one_sentence(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = howcompact("inspect", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1

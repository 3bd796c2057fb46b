"""int8 files: what they compute follows from the scales in them, zeros stay zero, and every kind of network has one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.numpy_helper import to_array
from torch import Tensor, nn

from tests.trainables.conftest import as_if_trained
from tests.trainables.several_inputs import KINDS_OF_INPUTS, batch_of
from tests.trainables.several_inputs import network as network_of
from trainables.arguments import outputs_of, take
from trainables.exports.export import export
from trainables.exports.onnx_file import OnnxNetwork
from trainables.exports.quantise import quantise, try_to_quantise
from trainables.models.cifar import small_cnn
from trainables.models.vit import vit


def int8_of(model: nn.Module, samples: Any, folder: Path) -> Path:
    exported = export(model, take(samples, slice(1)), folder / "network.onnx", "onnx")
    path = folder / "int8.onnx"
    quantise(exported.path, [samples], path)
    return path


def values_in(path: Path) -> dict[str, Any]:
    return {each.name: to_array(each) for each in onnx.load(path).graph.initializer}


def test_a_linear_network_computes_what_its_scales_say(tmp_path: Path) -> None:
    """Inputs, weights and biases are multiples of their scales, so that only the outputs are rounded."""
    layer = nn.Linear(3, 2)
    with torch.no_grad():  # the largest weight of an output is 127 steps: 0.01 for the first, 0.02 for the second
        layer.weight.copy_(torch.tensor([[1.27, -0.5, 0.0], [0.0, 0.02, -2.54]]))
        layer.bias.copy_(torch.tensor([0.3, -0.1]))
    samples = torch.tensor([[-1.28, 1.27, -1.28], [1.27, -1.28, 1.27]])  # 255 steps of 0.01
    path = int8_of(layer.eval(), samples, tmp_path)
    outputs = np.array([[-1.9606, 3.1766], [2.5529, -3.3514]])  # by hand
    assert np.allclose(outputs_of(layer, samples).detach(), outputs, atol=1e-6)
    step = (outputs.max() - outputs.min()) / 255
    expected = step * np.round(outputs / step)
    found = OnnxNetwork(path)(samples).numpy()
    assert np.allclose(found, expected, atol=1e-6)
    assert np.abs(found - outputs).max() <= step / 2
    values = values_in(path)
    (weights,) = (value for value in values.values() if value.ndim == 2)
    assert weights.tolist() == [[127, -50, 0], [0, 1, -127]]
    scales = sorted(float(value) for value in values.values() if value.dtype == np.float32 for value in value.flat)
    assert np.allclose(scales, sorted([0.01, 0.01, 0.02, 0.01 * 0.01, 0.01 * 0.02, step]), rtol=1e-5)


def test_a_weight_that_is_zero_stays_zero(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = as_if_trained(small_cnn(10, 1, 0.5))
    with torch.no_grad():
        for weight in (each for each in model.parameters() if each.dim() > 1):
            weight[torch.rand_like(weight) < 0.9] = 0.0
            weight[0] = 0.0  # a whole filter
    path = int8_of(model, torch.randn(20, 1, 8, 8), tmp_path)
    floats, values = values_in(tmp_path / "network.onnx"), values_in(path)
    matrices = {name: value for name, value in floats.items() if value.ndim > 1}
    assert len(matrices) == 6
    for name, matrix in matrices.items():
        quantised = values[f"{name}_quantized"]
        assert quantised.dtype == np.int8
        assert not quantised[matrix == 0].any()
        assert not values[f"{name}_zero_point"].any()
        assert values[f"{name}_scale"].shape == (len(matrix),)  # one for each output channel
        assert (quantised == 0).mean() < (matrix == 0).mean() + 0.01


def test_a_file_is_the_same_whenever_and_wherever_it_is_made(tmp_path: Path) -> None:
    make = (
        "import sys, torch; from pathlib import Path; from trainables.models.cifar import small_cnn\n"
        "from tests.trainables.exports.test_quantise import int8_of\n"
        "torch.manual_seed(0); torch.set_num_threads(2)\n"
        "int8_of(small_cnn(10, 1, 0.5).eval(), torch.randn(40, 1, 8, 8), Path(sys.argv[1]))"
    )
    (tmp_path / "other").mkdir()
    subprocess.run([sys.executable, "-c", make, tmp_path / "other"], check=True)
    torch.manual_seed(0)
    own = int8_of(small_cnn(10, 1, 0.5).eval(), torch.randn(40, 1, 8, 8), tmp_path)
    assert own.read_bytes() == (tmp_path / "other" / "int8.onnx").read_bytes()


@KINDS_OF_INPUTS
def test_networks_of_several_inputs_are_quantised(name: str, tmp_path: Path) -> None:
    model, _ = network_of(name)
    samples = batch_of(name, 40)
    path = int8_of(model, samples, tmp_path)
    expected = outputs_of(model, samples).detach()
    assert_close(outputs_of(OnnxNetwork(path), samples), expected)
    assert path.stat().st_size < 0.7 * (tmp_path / "network.onnx").stat().st_size


def test_layers_of_a_transformer_are_quantised_and_norms_are_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = as_if_trained(vit(10, 3, 0.5))
    images = torch.randn(40, 3, 32, 32)
    path = int8_of(model, images, tmp_path)
    assert_close(OnnxNetwork(path)(images), model(images).detach())
    graph = onnx.load(path).graph
    made_by = {name: node for node in graph.node for name in node.output}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    assert {made_by[name].op_type for node in products for name in node.input} == {"DequantizeLinear"}
    values = values_in(path)
    weights = [made_by[node.input[1]].input for node in products if made_by[node.input[1]].input[0] in values]
    assert weights
    for weight, scale, _ in weights:
        assert values[weight].dtype == np.int8
        assert values[scale].shape == values[weight].shape[1:]  # one for each output channel
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    assert norms
    assert all(values[name].dtype == np.float32 for node in norms for name in node.input[1:])


def assert_close(found: Tensor, expected: Tensor) -> None:
    """int8 has 255 steps in a tensor, and errors of layers add up."""
    assert (found - expected).abs().max() <= 0.15 * (expected.max() - expected.min())


def test_a_network_that_cannot_be_exported_is_refused() -> None:
    class Impatient(nn.Flatten):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else x.mean((2, 3))

    with pytest.raises(ValueError, match="export must get a network that torch can trace, but tracing failed: "):
        try_to_quantise(Impatient(), torch.zeros(1, 3, 8, 8))


def test_samples_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = export(nn.Linear(3, 2).eval(), torch.zeros(1, 3), tmp_path / "network.onnx", "onnx").path
    with pytest.raises(ValueError, match="quantise must get a network that onnxruntime can quantise, but failed: "):
        quantise(path, [torch.zeros(2, 4)], tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()

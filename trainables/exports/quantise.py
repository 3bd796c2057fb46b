"""Quantises an ONNX file to int8: its weights and activations become whole numbers of 8 bits, each with a scale.

onnxruntime's own quantiser writes the file in the QDQ format: QuantizeLinear and DequantizeLinear stand around what
runs in int8.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from torch import nn

from trainables.arguments import Arguments
from trainables.exports.export import export
from trainables.exports.onnx_file import feed

if TYPE_CHECKING:
    from onnx import GraphProto

NORMS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization")  # onnxruntime has no int8 ones for CPUs
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
Inputs = dict[str, NDArray[Any]]  # name of an input -> (B, ...)


def quantise(source: Path, samples: Iterable[Arguments], path: Path) -> None:
    """Write the int8 version of a float32 ONNX file to `path`. The file takes and returns what `source` does.

    Weights are symmetric int8 with a scale for each output channel, so a weight that is zero stays zero. Activations
    are uint8 with a scale and a zero point for each tensor, from the smallest and the largest value that the tensor has
    on the samples. Biases are int32. Norms that the export has not folded into a layer stay in float32, and so do masks
    and the softmax of attention. samples: batches (B, ...) on the CPU, as the network takes them. Raises ValueError if
    the quantiser fails.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)  # the file has the shapes of all tensors
            graph = onnx.load(prepared).graph
            names = [each.name for each in graph.input]
            quantize_static(
                prepared,
                path,
                _Reader(feed(names, batch) for batch in samples),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=_in_float(graph),
            )
        except Exception as error:
            raise ValueError(
                f"quantise must get a network that onnxruntime can quantise, but failed: {error}"
            ) from error


def _in_float(graph: "GraphProto") -> list[str]:
    """Name the nodes that stay in float32: norms, each softmax, and what stands between products and a softmax.

    There, attention adds a mask of minus infinity to the scores, and no scale covers that.
    """
    made_by = {output: node for node in graph.node for output in node.output}
    ahead = [node for node in graph.node if node.op_type == "Softmax"]
    masking = [node.name for node in ahead]
    while ahead:
        before = (made_by[name] for name in ahead.pop().input if name in made_by)
        new = [node for node in before if node.op_type not in PRODUCTS and node.name not in masking]
        masking += [node.name for node in new]
        ahead += new
    return [*masking, *(node.name for node in graph.node if node.op_type in NORMS)]


def try_to_quantise(network: nn.Module, example: Arguments) -> None:
    """Export and quantise a network, whatever its weights, and keep nothing. Raises ValueError if that fails.

    example: (1, ...).
    """
    with tempfile.TemporaryDirectory() as folder:
        exported = export(network, example, Path(folder) / "network.onnx", "onnx").path
        quantise(exported, [example], Path(folder) / "int8.onnx")


class _Reader:
    """Hands the samples to the quantiser, which asks for batch after batch."""

    def __init__(self, batches: Iterator[Inputs]) -> None:
        self._batches = batches

    def get_next(self) -> Inputs | None:
        """Return the inputs of the next batch; None after the last."""
        return next(self._batches, None)

"""ONNX files: how they are written, and run in onnxruntime."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from trainables.arguments import Arguments, flat

T = TypeVar("T")


def of_each(axes: T, positional: Sequence[Tensor], named: Mapping[str, Tensor]) -> tuple[T, ...] | dict[str, T]:
    """Repeat the axes that vary for each argument, in the form that torch asks for."""
    return dict.fromkeys(named, axes) if named else (axes,) * len(positional)


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write an exported network, which takes batches of any size."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass  # comes with onnxscript

    assert program.example_inputs is not None
    positional, named = program.example_inputs
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*since it shares the same shape constraints")  # all have one batch
        written = torch.onnx.export(
            program,
            input_names=["images"] if len(positional) == 1 else None,  # None: the names of the arguments
            output_names=["logits"],
            dynamic_shapes=of_each({0: "batch"}, positional, named),
            verbose=False,
        )
    assert written is not None
    ClearMetadataAndDocStringPass()(written.model)  # a kilobyte for each node
    written.save(path, external_data=False)  # weights in the same file


def feed(names: Sequence[str], arguments: Arguments) -> dict[str, NDArray[Any]]:
    """Give the inputs of an ONNX file, by their names in its order, what a network is called with."""
    given = arguments if isinstance(arguments, Mapping) else dict(zip(names, flat(arguments), strict=True))
    return {name: given[name].numpy() for name in names}


def open_onnx(path: Path, threads: int = 1) -> Callable[[Arguments], Tensor]:
    """Open an ONNX file in onnxruntime on `threads` CPU threads: arguments (B, ...) -> outputs (B, ...)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads free their cores
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(arguments: Arguments) -> Tensor:
        return torch.from_numpy(session.run(None, feed(names, arguments))[0])

    return run


class OnnxNetwork(nn.Module):
    """An ONNX file as a network, which runs in onnxruntime on `threads` CPU threads."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        super().__init__()
        self._run = open_onnx(path, threads)

    def forward(self, *positional: Tensor, **named: Tensor) -> Tensor:
        """Compute the outputs (B, ...) of arguments (B, ...)."""
        return self._run(named or positional)


def run_onnx(path: Path, batches: Sequence[Arguments]) -> list[Tensor]:
    """Compute the outputs of some batches."""
    return list(map(open_onnx(path), batches))

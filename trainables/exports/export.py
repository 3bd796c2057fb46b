"""Writes a network as a file that other programs run. The file appears only after its logits match the network's."""

import copy
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from trainables.arguments import Arguments, each, named_tensors, one_tensor, outputs_of, spread
from trainables.exports.onnx_file import of_each, run_onnx, write_onnx
from trainables.lookup import pick

Run = Callable[[Path, Sequence[Arguments]], list[Tensor]]  # file, batches on the CPU -> outputs (B, ...)

T = TypeVar("T")

TOLERANCE = 1e-4  # largest difference of logits, as a fraction of the largest logit
TRACED, CHECKED = 2, (1, 5)  # images in a batch: for the export, and to compare logits


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked."""

    path: Path
    kind: str
    bytes: int
    difference: float  # largest difference from the network's logits, as a fraction of the largest logit


@dataclass(frozen=True)
class Kind:
    """A file format."""

    suffix: str  # of the file's name
    write: Callable[[ExportedProgram, Path], object]
    run: Run


def missing(kind: str) -> list[str]:
    """List the packages that a kind needs and this Python lacks. Raises ValueError for an unknown kind."""
    return [name for name in pick("export", kind, PACKAGES) if importlib.util.find_spec(name) is None]


def check(kind: str, setting: str = "export") -> None:
    """Raise ValueError for a kind that is not in `PACKAGES` and for one whose packages are not installed.

    setting: where the user named the kind.
    """
    if lacking := missing(kind):
        raise ValueError(
            f"{setting} {kind!r} must find {', '.join(lacking)}, but it is not here; pip install 'howcompact[export]'"
        )


def export(model: nn.Module, example: Arguments, path: Path, kind: str) -> Exported:
    """Write a network in eval mode to `path`; the file takes what the network takes, in batches of any size.

    Before the file appears at `path`, its logits are compared with the network's on random inputs in batches of 1 and
    5. example: (1, ...); only shapes and types count. A file of a network that returns an output object returns its
    first tensor. kind: one of `KINDS`; `path` should have its suffix. The model does not change. Raises ValueError as
    `check` does, if torch cannot export the network, and if logits differ by more than 1e-4 of the largest logit.
    """
    check(kind)
    file_format = KINDS[kind]
    network = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()
    positional, named = spread(_drawn(example, TRACED, torch.Generator().manual_seed(0)))
    _return_one_tensor(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unchecked = Path(folder) / f"network{file_format.suffix}"
        try:
            shapes = of_each({0: Dim("batch", min=1)}, positional, named)
            program = torch.export.export(network, positional, named, dynamic_shapes=shapes)
            _forget_code(program)
            file_format.write(program, unchecked)
        except Exception as error:
            raise ValueError(f"export must get a network that torch can trace, but tracing failed: {error}") from error
        difference = _difference(network, file_format.run, unchecked, example)
        if not difference <= TOLERANCE:
            raise ValueError(
                f"logits of the {kind} file must differ from the network's by at most {TOLERANCE} of the largest "
                f"logit, but differ by {difference:.1e}; nothing was exported"
            )
        os.replace(unchecked, path)
    return Exported(path, kind, path.stat().st_size, difference)


def _drawn(example: Arguments, samples: int, random: torch.Generator) -> Arguments:
    """Draw a batch like an example: normal numbers, and whole ones that are 0 or 1.

    The first whole number of a sample is 1. Otherwise a mask may hide all that the first token of a causal model reads,
    and runtimes differ in what attention to nothing is.
    """

    def draw(tensor: Tensor) -> Tensor:
        shape = (samples, *tensor.shape[1:])
        if tensor.is_floating_point():
            return torch.randn(*shape, generator=random)
        whole = torch.randint(2, shape, generator=random)
        whole.view(samples, -1)[:, 0] = 1
        return whole.to(tensor.dtype)

    drawn: Arguments = each(draw, example)
    return drawn


def _return_one_tensor(network: nn.Module) -> None:
    """Let a network return one tensor and no output object, whose class a reader of the file may not know."""
    forward = network.forward

    @wraps(forward)  # torch reads the names of the arguments
    def one(*positional: Tensor, **named: Tensor) -> Tensor:
        return one_tensor(forward(*positional, **named))

    network.forward = one


def _forget_code(program: ExportedProgram) -> None:
    """Drop the lines of code that each operation comes from, with the paths of their files on this machine."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)


@torch.no_grad()
def _difference(network: nn.Module, run: Run, path: Path, example: Arguments) -> float:
    random = torch.Generator().manual_seed(1)
    batches = [_drawn(example, size, random) for size in CHECKED]
    expected, actual = torch.cat([outputs_of(network, each) for each in batches]), torch.cat(run(path, batches))
    largest = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)  # a fresh head may give zeros only
    return float((actual - expected).abs().max() / largest)


_IN_A_CLEAN_PROCESS = """
import sys
import numpy as np
import torch
program, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
network = torch.export.load(program).module()
batches = {}
for key, values in np.load("inputs.npz").items():
    batch, name = key.split("/")
    positional, named = batches.setdefault(batch, ([], {}))
    if name.isdigit():
        positional.append(torch.from_numpy(values))
    else:
        named[name] = torch.from_numpy(values)
with torch.no_grad():
    np.savez("logits.npz", *[network(*positional, **named).numpy() for positional, named in batches.values()])
"""


def _run_torch(path: Path, batches: Sequence[Arguments]) -> list[Tensor]:
    """Run the program in a process that does not import this project."""
    folder = path.parent
    inputs = {
        f"{number}/{name or position}": tensor.numpy()  # an argument without a name has its position
        for number, batch in enumerate(batches)
        for position, (name, tensor) in enumerate(named_tensors(batch))
    }
    np.savez(folder / "inputs.npz", allow_pickle=False, **inputs)
    command = [sys.executable, "-c", _IN_A_CLEAN_PROCESS, path.name, str(torch.get_num_threads())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"the torch file must run in a clean process, but failed there: {done.stderr.strip()[-500:]}")
    return [torch.from_numpy(logits) for logits in np.load(folder / "logits.npz").values()]


KINDS: dict[str, Kind] = {
    "onnx": Kind(".onnx", write_onnx, run_onnx),
    "torch": Kind(".pt2", torch.export.save, _run_torch),
}
INT8 = "int8"  # what `trainables.exports.quantise` makes of an ONNX file
_OF_ONNX = ("onnx", "onnxscript", "onnxruntime")
PACKAGES: dict[str, tuple[str, ...]] = {"onnx": _OF_ONNX, "torch": (), INT8: _OF_ONNX}  # of the extra `export`

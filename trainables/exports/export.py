"""Writes a network as a file that other programs run. The file appears only after its logits match the network's."""

import copy
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from trainables.lookup import pick

Batches = list[Tensor]  # images (B, C, H, W) or logits (B, classes), on the CPU
Run = Callable[[Path, Batches], Batches]

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
    packages: tuple[str, ...] = ()  # of the extra `export` that the format needs


def missing(kind: str) -> list[str]:
    """List the packages that a kind needs and this Python lacks. Raises ValueError for an unknown kind."""
    return [name for name in pick("export", kind, KINDS).packages if importlib.util.find_spec(name) is None]


def check(kind: str) -> None:
    """Raise ValueError for a kind that is not one of `KINDS` and for one whose packages are not installed."""
    if lacking := missing(kind):
        raise ValueError(
            f"export {kind!r} must find {', '.join(lacking)}, but it is not here; pip install 'howcompact[export]'"
        )


def export(model: nn.Module, example: Tensor, path: Path, kind: str) -> Exported:
    """Write a network in eval mode to `path`; the file takes float32 images (B, C, H, W) in batches of any size.

    Before the file appears at `path`, its logits are compared with the network's on random images in batches of 1 and
    5. example: images (1, C, H, W); only their shape counts. kind: one of `KINDS`; `path` should have its suffix. The
    model does not change. Raises ValueError as `check` does, if torch cannot export the network, and if logits differ
    by more than 1e-4 of the largest logit.
    """
    check(kind)
    if not example.is_floating_point():
        raise ValueError(
            f"export must get a network that reads float32, but it reads {example.dtype}; leave --export out"
        )
    file_format = KINDS[kind]
    network = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()
    images = torch.randn(TRACED, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unchecked = Path(folder) / f"network{file_format.suffix}"
        try:
            program = torch.export.export(network, (images,), dynamic_shapes=({0: Dim("batch", min=1)},))
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


@torch.no_grad()
def _difference(network: nn.Module, run: Run, path: Path, example: Tensor) -> float:
    random = torch.Generator().manual_seed(1)
    batches = [torch.randn(size, *example.shape[1:], generator=random) for size in CHECKED]
    expected, actual = torch.cat([network(images) for images in batches]), torch.cat(run(path, batches))
    largest = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)  # a fresh head may give zeros only
    return float((actual - expected).abs().max() / largest)


def _write_onnx(program: ExportedProgram, path: Path) -> None:
    torch.onnx.export(
        program,
        f=path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch"},),
        external_data=False,  # weights in the same file
        verbose=False,
    )


def open_onnx(path: Path, threads: int = 1) -> Callable[[Tensor], Tensor]:
    """Open an ONNX file in onnxruntime on `threads` CPU threads: images (B, C, H, W) -> logits (B, classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads free their cores
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _run_onnx(path: Path, batches: Batches) -> Batches:
    run = open_onnx(path)
    return [run(images) for images in batches]


_IN_A_CLEAN_PROCESS = """
import sys
import numpy as np
import torch
program, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
network = torch.export.load(program).module()
with torch.no_grad():
    np.savez("logits.npz", *[network(torch.from_numpy(images)).numpy() for images in np.load("images.npz").values()])
"""


def _run_torch(path: Path, batches: Batches) -> Batches:
    """Run the program in a process that does not import this project."""
    folder = path.parent
    np.savez(folder / "images.npz", *[images.numpy() for images in batches])
    command = [sys.executable, "-c", _IN_A_CLEAN_PROCESS, path.name, str(torch.get_num_threads())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"the torch file must run in a clean process, but failed there: {done.stderr.strip()[-500:]}")
    return [torch.from_numpy(logits) for logits in np.load(folder / "logits.npz").values()]


KINDS: dict[str, Kind] = {
    "onnx": Kind(".onnx", _write_onnx, _run_onnx, ("onnx", "onnxscript", "onnxruntime")),
    "torch": Kind(".pt2", torch.export.save, _run_torch),
}

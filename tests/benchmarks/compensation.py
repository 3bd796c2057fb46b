"""Sets compensation beside the public code of SparseGPT: the same networks, masks and calibration images.

python -m tests.benchmarks.compensation STORAGE SPARSEGPT --sparsity 0.9

STORAGE: has dense networks, under artifacts/dense. SPARSEGPT: a clone of github.com/IST-DASLab/sparsegpt. Its solver
runs as it is, on the inputs of each layer in the network whose earlier layers it has pruned already. It picks its own
masks at the densities of ERK. Then the same masks are compensated here, and masks by magnitude.
"""

import argparse
import importlib
import sys
import time
import types
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.artifacts.record import DenseRecord
from trainables.compensation.compensation import Targets, _inputs_of, compensate
from trainables.data import sources
from trainables.models.layers import Masks, weight_of
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Cut
from trainables.pruning.masks import apply
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples
from trainables.training.fit import residents
from trainables.training.recalibration import recalibrate
from trainables.training.train import evaluate


def sparsegpt(folder: str) -> Any:
    """Import the public class; the modules for language models that its file imports are not needed."""
    sys.path.insert(0, folder)
    sys.modules["transformers"] = types.SimpleNamespace(Conv1D=type("Conv1D", (), {}))  # type: ignore[assignment]
    torch.cuda.synchronize = lambda device=None: None
    return importlib.import_module("sparsegpt").SparseGPT


@torch.no_grad()
def prune_by_sparsegpt(solver: Any, network: nn.Module, images: Tensor, density: dict[str, float]) -> float:
    """Prune a network in place, layer by layer in the order in which they run; return the solver's seconds."""
    rows = Targets.read(network, images, 0).rows
    seconds = 0.0

    def prune(name: str) -> Callable[..., None]:
        def hook(module: nn.Conv2d | nn.Linear, inputs: tuple[Tensor, ...]) -> None:
            nonlocal seconds
            read = _inputs_of(module, inputs[0], rows[name])[0]  # (samples, width)
            layer = solver(module)
            started = time.process_time()
            layer.H = 2 / len(read) * read.T @ read
            layer.fasterprune(1.0 - density[name])
            seconds += time.process_time() - started

        return hook

    network.train()
    hooks = [network.get_submodule(name).register_forward_pre_hook(prune(name)) for name in density]
    network(images)  # batch norms use the statistics of these images; they are recalibrated afterwards
    for each in hooks:
        each.remove()
    return seconds


def main() -> None:
    """Print one line for each network: accuracies recalibrated, and CPU seconds."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("storage")
    arguments.add_argument("sparsegpt")
    arguments.add_argument("--sparsity", type=float, default=0.9)
    arguments.add_argument("--calibration", type=int, default=512)
    arguments.add_argument("--models", nargs="+")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    solver, storage, cpu = sparsegpt(asked.sparsegpt), Folder.at(asked.storage), torch.device("cpu")
    print("accuracy in % at", asked.sparsity, "recalibrated; CPU seconds of fitting in brackets")
    for file in sorted(Path(asked.storage).glob("artifacts/dense/*/record.json")):
        spec = DenseRecord.model_validate_json(file.read_text()).spec
        if asked.models and spec.model not in asked.models:
            continue
        splits = sources.load(spec.data)
        train, val = residents(splits, cpu)
        images = calibration_samples(splits, asked.calibration, cpu).images
        dense = load_dense(saved_dense(storage, spec), cpu).eval()
        context = PruningContext(view(dense, "weight", images[:1]))
        scores = CRITERIA["magnitude"](context)
        quota = allocate(POLICIES["erk"], Problem(context, scores, asked.sparsity, "params"))
        density = {part.name: quota[part.name] / part.units for part in context.prunable.parts}

        def accuracy(network: nn.Module) -> float:
            recalibrate(network, train, 20, 128, 0)  # noqa: B023
            return 100 * evaluate(network, val).accuracy  # noqa: B023

        def ours(masks: Masks) -> tuple[float, float]:
            network = deepcopy(dense)  # noqa: B023
            apply(network, masks)
            started = time.process_time()
            compensate(network, dense, Cut(masks), images, 0)  # noqa: B023
            seconds = time.process_time() - started
            return accuracy(network), seconds

        theirs = deepcopy(dense)
        seconds = prune_by_sparsegpt(solver, theirs, images, density)
        theirs.eval()
        masks = {name: weight_of(theirs.get_submodule(name)) != 0 for name in density}
        magnitude = {
            name: (score >= score.kthvalue(len(score) - quota[name] + 1).values).view_as(masks[name])
            for name, score in scores.items()
        }
        broken = deepcopy(dense)
        apply(broken, masks)
        same, same_seconds = ours(masks)
        own, own_seconds = ours(magnitude)
        print(
            f"{spec.model} x {spec.width}, seed {spec.seed}: dense {100 * evaluate(dense, val).accuracy:.1f}, "
            f"SparseGPT's masks alone {accuracy(broken):.1f}, SparseGPT {accuracy(theirs):.1f} [{seconds:.1f}], "
            f"its masks compensated here {same:.1f} [{same_seconds:.1f}], "
            f"masks by magnitude compensated here {own:.1f} [{own_seconds:.1f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()

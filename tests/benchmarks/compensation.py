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
from trainables.pruning.granularity import Cut, top_units
from trainables.pruning.masks import apply
from trainables.spec import DenseSpec
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples
from trainables.training.fit import residents
from trainables.training.recalibration import recalibrate
from trainables.training.train import evaluate

CPU = torch.device("cpu")


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
    network.eval()
    return seconds


class Beside:
    """One dense network: the accuracy of its copies that are pruned and compensated in different ways."""

    def __init__(self, storage: Folder, spec: DenseSpec, calibration: int) -> None:
        splits = sources.load(spec.data)
        self._train, self.val = residents(splits, CPU)
        self.images = calibration_samples(splits, calibration, CPU).images
        self.dense = load_dense(saved_dense(storage, spec), CPU).eval()

    def erk(self, sparsity: float) -> tuple[dict[str, float], Masks]:
        """Share a budget by ERK: the density of each layer, and its masks by magnitude."""
        context = PruningContext(view(self.dense, "weight", self.images[:1]))
        scores = CRITERIA["magnitude"](context)
        quota = allocate(POLICIES["erk"], Problem(context, scores, sparsity, "params"))
        masks = {}
        for name, score in scores.items():
            weight = weight_of(self.dense.get_submodule(name))
            mask = torch.zeros(weight.numel(), dtype=torch.bool)
            mask[top_units(score, quota[name])] = True
            masks[f"{name}.weight"] = mask.view_as(weight)
        return {name: quota[name] / len(score) for name, score in scores.items()}, masks

    def accuracy(self, network: nn.Module) -> float:
        """Recalibrate a network and evaluate it, in %."""
        recalibrate(network, self._train, 20, 128, 0)
        return 100 * evaluate(network, self.val).metric

    def masked(self, masks: Masks) -> float:
        """Prune a copy and leave it so."""
        network = deepcopy(self.dense)
        apply(network, masks)
        return self.accuracy(network)

    def compensated(self, masks: Masks) -> str:
        """Prune a copy and compensate it; return accuracy and seconds."""
        network = deepcopy(self.dense)
        apply(network, masks)
        started = time.process_time()
        compensate(network, Targets.read(self.dense, self.images, 0), Cut(masks), self.images)
        seconds = time.process_time() - started
        return f"{self.accuracy(network):.1f} [{seconds:.1f}]"


def main() -> None:
    """Print one line for each network: accuracies recalibrated, and CPU seconds."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("storage")
    arguments.add_argument("sparsegpt")
    arguments.add_argument("--sparsity", type=float, default=0.9)
    arguments.add_argument("--calibration", type=int, default=512)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    solver, storage = sparsegpt(asked.sparsegpt), Folder.at(asked.storage)
    print("accuracy in % at", asked.sparsity, "recalibrated; CPU seconds of fitting in brackets")
    for file in sorted(Path(asked.storage).glob("artifacts/dense/*/record.json")):
        spec = DenseRecord.model_validate_json(file.read_text()).spec
        beside = Beside(storage, spec, asked.calibration)
        density, by_magnitude = beside.erk(asked.sparsity)
        pruned = deepcopy(beside.dense)
        seconds = prune_by_sparsegpt(solver, pruned, beside.images, density)
        masks = {f"{name}.weight": weight_of(pruned.get_submodule(name)) != 0 for name in density}
        print(
            f"{spec.model} x {spec.width}, seed {spec.seed}: "
            f"dense {100 * evaluate(beside.dense, beside.val).metric:.1f}, "
            f"SparseGPT's masks alone {beside.masked(masks):.1f}, "
            f"SparseGPT {beside.accuracy(pruned):.1f} [{seconds:.1f}], "
            f"its masks compensated here {beside.compensated(masks)}, "
            f"masks by magnitude compensated here {beside.compensated(by_magnitude)}",
            flush=True,
        )


if __name__ == "__main__":
    main()

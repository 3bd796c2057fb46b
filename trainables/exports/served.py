"""Serves a saved network in MLflow: `mlflow.pyfunc` calls `_load_pyfunc` of this module."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainables.arguments import Arguments, outputs_of
from trainables.checkpoints import checkpoint, manifest
from trainables.models.libraries import package_of
from trainables.models.trust import Trust
from trainables.storage.folder import Folder

REQUIREMENTS = (
    "numpy",
    "pyarrow",
    "pydantic",
    "safetensors",
    "tenacity",
    "torch",
    "torchvision",
)  # what loading imports


def requirements(model: str) -> tuple[str, ...]:
    """Name the packages that loading a network imports, given the name of the network."""
    package = package_of(model)
    return (*REQUIREMENTS, package) if package else REQUIREMENTS


class Served:
    """A network whose inputs and output are NumPy arrays."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model, self._device = model.to(device).eval(), device

    @torch.inference_mode()
    def predict(self, inputs: NDArray[Any] | Mapping[str, NDArray[Any]], params: object = None) -> NDArray[np.float32]:
        """Compute the outputs (B, ...) of inputs (B, ...), such as logits (B, classes) of normalised images.

        inputs: an array, or several by the names of the network's arguments or by their positions, "0", "1" and so on.
        params: MLflow passes it; it is not used.
        """
        arguments: Arguments
        if isinstance(inputs, Mapping):
            tensors = {name: torch.tensor(array, device=self._device) for name, array in inputs.items()}
            in_order = [tensors[name] for name in sorted(filter(str.isdigit, tensors), key=int)]
            arguments = in_order or tensors
        else:
            arguments = torch.tensor(inputs, device=self._device)
        outputs: NDArray[np.float32] = outputs_of(self._model, arguments).cpu().numpy()
        return outputs


def _load_pyfunc(path: str) -> Served:
    folder = Folder.at(path)
    record, _ = manifest.read_record(folder)
    # A model of MLflow's registry can bring any code. Who loads it already trusts the model that it names.
    saved = checkpoint.load(folder, Trust([record["architecture"]["model"]]))
    return Served(saved.network(), torch.device("cuda" if torch.cuda.is_available() else "cpu"))

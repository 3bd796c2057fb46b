"""Checkpoints: safetensors and JSON with checksums; the manifest is written last. No code, no pickle.

Tensors that are mostly zeros are packed, as `sparse_tensors` describes. A checkpoint may come from an untrusted source.
Reading it takes memory in proportion to its bytes, and wrong content raises ValueError. One thing in it can run code:
the name of a user's own model. This model is imported only if it is trusted.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

import torch
from pydantic import Field, model_validator
from safetensors import torch as safetensors
from torch import Tensor, nn

from trainables.arguments import Arguments, blank
from trainables.checkpoints.manifest import RECORD, TENSORS, read_files, write_files
from trainables.checkpoints.record import Record
from trainables.checkpoints.sparse_tensors import pack, unpack
from trainables.frozen import Frozen
from trainables.mistakes import checked
from trainables.models import hub
from trainables.models.inputs import Dtype, Extent, Inputs, TensorSpec
from trainables.models.removed_blocks import (
    ProjectionSpec,
    projections,
    remove_blocks,
    removed_branches,
    removed_modules,
)
from trainables.models.trust import NO_TRUST, Trust
from trainables.models.widths import cut_sizes, fit_widths, set_sizes
from trainables.spec import DenseSpec, Width
from trainables.storage.folder import Folder
from trainables.storage.strict_json import from_json

MOST_VALUES = MOST_PROJECTED = 1 << 26  # values of an input; weights in all projections
CPU = torch.device("cpu")
Tensors = Mapping[str, Tensor]
R = TypeVar("R", bound=Record)


class Architecture(Frozen):
    """How to build a network. The tensors of its checkpoint then give each layer its width."""

    model: str
    width: Width
    classes: int = Field(ge=1, le=1 << 20)
    image: Annotated[tuple[Extent, ...], Field(min_length=1, max_length=8)]  # of one input; channels, height, width
    dtype: Dtype = "float32"  # of the input
    tensors: Annotated[tuple[TensorSpec, ...], Field(max_length=64)] = ()  # of an input of several; `image`: the first
    removed: tuple[str, ...] = ()  # modules of removed blocks
    projections: Mapping[str, ProjectionSpec] = {}  # what replaces removed blocks that changed shapes
    branches: Mapping[str, Annotated[int, Field(ge=0, le=16)]] = {}  # modules of removed branches -> as `AddsNothing`
    sizes: Mapping[str, int] = {}  # "module.attribute" -> numbers of heads that no tensor's shape shows

    @model_validator(mode="after")
    def _refuse_giants(self) -> Self:
        shapes = [each.shape for each in self.tensors] or [self.image]
        if sum(map(math.prod, shapes)) > MOST_VALUES:
            found = " and ".join(map(str, shapes))
            raise ValueError(f"an input must have at most {MOST_VALUES:,} values, but got {found}")
        if sum(inputs * outputs for inputs, outputs, _ in self.projections.values()) > MOST_PROJECTED:
            raise ValueError(f"projections must have at most {MOST_PROJECTED:,} weights in all, but have more")
        return self

    @classmethod
    def of(cls, spec: DenseSpec, inputs: Inputs) -> Self:
        """Describe the dense network of `spec`."""
        return cls.model_validate({"model": spec.model, "width": spec.width, **inputs._asdict()})

    def build(self) -> nn.Module:
        """Build the dense network with fresh weights and without the removed blocks."""
        model = hub.build(self.model, self.classes, self.image[0], self.width)
        remove_blocks(model, self.removed, self.projections, self.branches)
        set_sizes(model, self.sizes)
        return model

    @property
    def whole(self) -> "Architecture":
        """The same network with all its blocks and heads."""
        return self.model_copy(update={"removed": (), "projections": {}, "branches": {}, "sizes": {}})

    def cut_as(self, model: nn.Module) -> "Architecture":
        """Describe `model`, which this architecture built and which has lost blocks or heads since."""
        update = {
            "removed": removed_modules(model),
            "projections": projections(model),
            "branches": removed_branches(model),
            "sizes": cut_sizes(model),
        }
        return self.model_copy(update=update)

    def example(self, device: torch.device = CPU) -> Arguments:
        """A batch (1, ...) of one input: a blank image, or what else the network is called with, as `blank`."""
        if not self.tensors:
            return blank(self.image, getattr(torch, self.dtype)).to(device)
        values = [blank(each.shape, getattr(torch, each.dtype)).to(device) for each in self.tensors]
        names = [each.name for each in self.tensors]
        return dict(zip(names, values, strict=True)) if all(names) else values


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: groups of tensors by name, and one JSON record."""

    tensors: Mapping[str, Tensors]
    record: dict[str, Any]  # as it was read; `read` gives its fields
    trust: Trust = NO_TRUST  # the user's own models that the record may name

    def read(self, kind: type[R]) -> R:
        """Read the record as a model. Raises ValueError that names each field that is missing or wrong."""
        return checked(kind, self.record, "the record of a checkpoint must be valid")

    @property
    def architecture(self) -> Architecture:
        """How to build the network. Raises ValueError for a wrong record and for a model that is not trusted."""
        rule = "the record of a checkpoint must say how to build its network"
        architecture = checked(Architecture, self.record.get("architecture"), rule)
        self.trust.check(architecture.model)
        return architecture

    def network(self) -> nn.Module:
        """Rebuild the network. Raises ValueError as `architecture` and `rebuild` do."""
        return rebuild(self.architecture, self.tensors.get("network", {}))


def save(folder: Folder, tensors: Mapping[str, Tensors], record: Mapping[str, Any]) -> None:
    """Write each group of tensors and the record."""
    files = {f"{name}{TENSORS}": _to_bytes(group) for name, group in tensors.items()}
    files[RECORD] = json.dumps(record, indent=1, allow_nan=False).encode()
    write_files(folder, files)


def _to_bytes(group: Tensors) -> bytes:
    stored, metadata = pack({name: _own_memory(tensor) for name, tensor in group.items()})
    return safetensors.save(stored, metadata)


def _from_bytes(content: bytes) -> dict[str, Tensor]:
    tensors = safetensors.load(content)
    length = int.from_bytes(content[:8], "little")  # of the header; safetensors.load drops its metadata
    return unpack(tensors, from_json(content[8 : 8 + length].decode()).get("__metadata__", {}))


def _own_memory(tensor: Tensor) -> Tensor:
    """Copy a tensor: safetensors refuses tensors that share memory."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def load(folder: Folder, trust: Trust = NO_TRUST) -> Checkpoint:
    """Read a checkpoint. trust: the user's own models that it may build.

    Raises ValueError that names the file that is missing, does not match its checksum, or has wrong content.
    """
    files = read_files(folder)
    tensors: dict[str, Tensors] = {}
    try:
        record = from_json(files[RECORD].decode())
        assert isinstance(record, dict)
        for name, content in files.items():
            if name.endswith(TENSORS):
                tensors[name.removesuffix(TENSORS)] = _from_bytes(content)
    except Exception as error:  # safetensors raises its own error, KeyError and others
        raise ValueError(
            f"checkpoint {folder.uri} must hold a record and tensors, but: {type(error).__name__}: {error}"
        ) from None
    return Checkpoint(tensors, record, trust)


def rebuild(architecture: Architecture, weights: Tensors) -> nn.Module:
    """Build the network with the widths of the saved weights, and load them.

    Raises ValueError if the weights belong to another network, for example after a change to a user's own model.
    """
    model = architecture.build()
    resize(model, weights)
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ValueError(f"the weights must be those of {architecture.model}, but: {error}") from None
    return model


def resize(model: nn.Module, weights: Tensors) -> None:
    """Give each layer the shapes of its saved tensors."""
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        for key, tensor in tensors.items():
            saved = weights.get(prefix + key)
            if saved is not None and (saved.dim() != tensor.dim() or 0 in saved.shape):
                raise ValueError(f"the weights must be a network's, but {prefix + key} is {tuple(saved.shape)}")
            if saved is not None and saved.shape != tensor.shape:
                empty = torch.empty(saved.shape, dtype=tensor.dtype)
                is_parameter = isinstance(tensor, nn.Parameter)
                setattr(module, key, nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty)
    for module in model.modules():
        fit_widths(module)

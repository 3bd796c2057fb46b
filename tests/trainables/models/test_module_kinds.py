"""Modules that are no plain networks are refused by their kind, in one line, whatever asks for the network."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, prune

from search.networks import network
from tests.trainables.trials import DENSE
from tests.trainables.tried_nets import EXAMPLE
from trainables.catalog import feasibility
from trainables.models import hub, own_code, trial_run
from trainables.models.module_kinds import refuse_kinds
from trainables.pruning.channels import Channels
from trainables.pruning.soundness import refuse_unsound_cuts
from trainables.spec import TrialSpec


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


def silently(change: Callable[[], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit, old weight_norm and old quantisation are deprecated
        return change()


def changed(**layers: nn.Module) -> nn.Module:
    model = plain()
    for name, layer in layers.items():
        model._modules[name.removeprefix("_")] = layer
    return model


def pruned() -> nn.Module:
    model = plain()
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


class Noted(nn.Linear):
    """A layer with state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        """Return something else than a tensor."""
        return {"epoch": 1}


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return plain()


def sparse() -> nn.Module:
    model = plain()
    model.extra = nn.Parameter(torch.eye(4).to_sparse())
    return model


class Doubled(Tensor):
    """A class of tensors."""


def own_tensor() -> nn.Module:
    model = plain()
    model.extra = nn.Parameter(torch.ones(3).as_subclass(Doubled))
    return model


def compiled_inside() -> nn.Module:
    model = plain()
    model[0].compile()
    return model


def quantised() -> Any:
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear})


KINDS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "scripted": (lambda: torch.jit.script(plain()), "is scripted; return the module before torch.jit"),
    "traced": (lambda: torch.jit.trace(plain(), EXAMPLE), "is scripted; return the module before torch.jit"),
    "compiled": (lambda: torch.compile(plain()), "is compiled; return the module before torch.compile"),  # type: ignore[dict-item,return-value]
    "compiled inside": (compiled_inside, "0 is compiled; return the module before torch.compile"),
    "exported": (
        lambda: torch.export.export(plain(), (EXAMPLE,)).module(),
        "is exported; return the module before torch.export",
    ),
    "DataParallel": (lambda: nn.DataParallel(plain()), "is wrapped in DataParallel; return the module inside"),
    "wrapped inside": (lambda: changed(_0=nn.DataParallel(nn.Conv2d(1, 4, 3))), "0 is wrapped in DataParallel; return"),
    "half": (lambda: plain().half(), r"0.weight is torch.float16; return the module before .half\(\)"),
    "bfloat16": (lambda: plain().bfloat16(), "0.weight is torch.bfloat16; return the module before"),
    "double": (lambda: plain().double(), "0.weight is torch.float64; return the module before"),
    "complex": (lambda: changed(_3=nn.Linear(144, 10, dtype=torch.complex64)), "3.weight is torch.complex64; return"),
    "lazy": (lambda: changed(_3=nn.LazyLinear(10)), "3.weight is lazy; give the layer its sizes, or run the network"),
    "meta": (lambda: plain().to("meta"), "0.weight is on device meta; build the network on the CPU, with values"),
    "quantised": (quantised, r"3 is quantised \(Linear\); return the module before its quantisation"),
    "weight_norm": (
        lambda: changed(_3=parametrizations.weight_norm(nn.Linear(144, 10))),
        r"3 is parametrized \(weight\); call torch.nn.utils.parametrize.remove_parametrizations",
    ),
    "spectral_norm": (
        lambda: changed(_0=parametrizations.spectral_norm(nn.Conv2d(1, 4, 3))),
        r"0 is parametrized \(weight\); call torch.nn.utils.parametrize.remove_parametrizations",
    ),
    "old weight_norm": (
        lambda: changed(_3=nn.utils.weight_norm(nn.Linear(144, 10))),
        "3 is a layer that computes its weight; store the weight, as by remove_weight_norm",
    ),
    "pruned by torch": (pruned, "0 is pruned by torch.nn.utils.prune; call prune.remove for it first"),
    "sparse": (sparse, "extra is torch.sparse_coo; use a dense tensor"),
    "class of tensors": (own_tensor, "extra is a Doubled; use a plain tensor"),
    "inference": (in_inference_mode, "0.weight is an inference tensor; build the network outside"),
    "extra state": (
        lambda: changed(_3=Noted(144, 10)),
        "3._extra_state of its state dict is a dict; keep it as a tensor by register_buffer",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_refused_by_its_name(kind: str) -> None:
    build, message = KINDS[kind]
    model = silently(build)
    with pytest.raises(ValueError, match=f"^mine must .*, but {message}") as found:
        refuse_kinds("mine", model)
    assert len(str(found.value).splitlines()) == 1


def test_plain_networks_pass_also_those_with_shared_or_frozen_layers_and_those_of_fx() -> None:
    shared, frozen, graph = plain(), plain(), fx.symbolic_trace(plain())
    shared.add_module("again", shared[3])
    frozen.requires_grad_(False)
    for model in (plain(), shared, frozen, graph):
        refuse_kinds("mine", model)
    refuse_unsound_cuts(graph, EXAMPLE)
    whole = graph(EXAMPLE)
    channels = Channels(graph, EXAMPLE)
    channels.remove({part.name: torch.arange(part.units // 2) for part in channels.parts})
    assert graph(EXAMPLE).shape == whole.shape
    assert len(graph.get_parameter("0.weight")) == 2


NAME = "tried_nets:wrapped"
ENTRIES: dict[str, Callable[[], Any]] = {
    "build": lambda: hub.build(NAME, 10, 1),
    "trial run": lambda: trial_run.check_images(NAME, 10, (1, 8, 8)),
    "fingerprint": lambda: own_code.fingerprint(NAME, 10, 1),
    "inspect and allocate": lambda: network.fresh(NAME, "1x8x8", 10, 0),
}
COMPLAINT = f"{NAME} must be a plain nn.Module in float32, but is wrapped in DataParallel; return the module inside"


@pytest.mark.usefixtures("tried_nets")
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_refuses_with_the_same_words(entry: str) -> None:
    with pytest.raises(ValueError, match=f"^{COMPLAINT}"):
        ENTRIES[entry]()


@pytest.mark.usefixtures("tried_nets")
def test_so_does_a_study() -> None:
    (problem,) = feasibility.unreachable([TrialSpec(dense=DENSE.model_copy(update={"model": NAME, "width": 1.0}))])
    assert problem.startswith(COMPLAINT)

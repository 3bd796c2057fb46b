"""The catalog: every name that a setting can have, with one line about it."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from search.methods.samplers import SAMPLERS
from search.methods.schedulers import SCHEDULERS
from search.methods.spaces import SPACES
from search.study.reading import shipped
from trainables.allocation.policies import POLICIES
from trainables.allocation.schedules import SCHEDULES
from trainables.curriculum_spec import Curriculum
from trainables.data.sources import SOURCES
from trainables.exports.latency import DEVICES
from trainables.learnability.curricula import DRAWS, PACINGS
from trainables.learnability.curriculum_kinds import CURRICULA, Kind
from trainables.learnability.measures import MEASURES
from trainables.lookup import pick
from trainables.models.cifar import CIFAR
from trainables.models.known import torchvision_names
from trainables.names import CRITERION_NEEDS, POLICY_NEEDS, Needs, Source
from trainables.plugins import FunctionKind, installed
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import GRANULARITIES
from trainables.training.optimizers import OPTIMIZERS
from trainables.training.recovery import RECOVERIES

HALF = np.array([0.5])
INPUTS: Mapping[Source, str] = {
    "samples": "calibration samples",
    "profile": "a profile of calibration samples",
    "gates": "trained gates",
    "probe": "linear probes of training samples",
}


def listing(kind: str | None) -> dict[str, dict[str, str]]:
    """Describe the names of every kind, or of one: kind -> name -> description. Raises ValueError if it is unknown."""
    tables: Mapping[str, Callable[[], dict[str, str]]] = {
        "models": _models,
        "datasets": lambda: {name: source.about for name, source in SOURCES.items()},
        "criteria": lambda: (
            {name: _with_needs(score, CRITERION_NEEDS[name]) for name, score in CRITERIA.items()}
            | _own("criterion", "function(context: PruningContext) -> Scores")
        ),
        "granularities": lambda: {name: _about(view) for name, view in GRANULARITIES.items()},
        "policies": lambda: (
            {name: _with_needs(policy.path, POLICY_NEEDS[name]) for name, policy in POLICIES.items()}
            | _own("policy", "function(problem: Problem) -> Path")
        ),
        "schedules": lambda: {name: _about(curve) for name, curve in SCHEDULES.items()},
        "recoveries": lambda: (
            {name: _about(recovery) for name, recovery in RECOVERIES.items()}
            | _own("recovery", "function(pruned: Pruned) -> TrainingPlan")
        ),
        "optimizers": lambda: (
            {name: _about(build) for name, build in OPTIMIZERS.items()}
            | _own("optimizer", "function(parameters, recipe) -> torch.optim.Optimizer")
        ),
        "curricula": lambda: (
            {name: _of_curriculum(name, kind) for name, kind in CURRICULA.items()}
            | _own("curriculum", "function(context: CurriculumContext) -> Draw")
        ),
        "pacings": lambda: {
            name: f"half-way, {pace(HALF)[0]:.0%} of the later samples are in use" for name, pace in PACINGS.items()
        },
        "measures": lambda: (
            {name: f"{_about(m.of)}; a {m.easy} value is easy" for name, m in MEASURES.items()}
            | _own("measure", "function(records: Records) -> (N,), higher is easier")
        ),
        "schedulers": lambda: (
            {name: _about(make) for name, make in SCHEDULERS.items()}
            | _own("scheduler", "function(epochs, metric, mode) -> ray.tune.schedulers.TrialScheduler")
        ),
        "samplers": lambda: (
            {name: _about(sampler.make) for name, sampler in SAMPLERS.items()}
            | _own("sampler", "function(seed, trials) -> optuna.samplers.BaseSampler")
        ),
        "devices": lambda: {name: device.about for name, device in DEVICES.items()},
        "spaces": lambda: {name: _about(space) for name, space in SPACES.items()},
        "studies": lambda: {name: _comment(text.splitlines()) for name, text in shipped().items()},
    }
    chosen = tables if kind is None else {kind: pick("kind", kind, tables)}
    return {name: table() for name, table in chosen.items()}


def _models() -> dict[str, str]:
    ours = {name: _about(builder) for name, builder in CIFAR.items()}
    others = {name: "torchvision classifier" for name in torchvision_names() if name not in ours}
    libraries = {
        "timm:NAME": "a network of timm; timm.list_models() lists the names",
        "hf:CLASS": "a class of transformers for image classification, by its own configuration",
    }
    users = {"package.module:function": "a model of your own: function(num_classes=..., in_channels=...) -> nn.Module"}
    return ours | others | libraries | users


def _own(kind: FunctionKind, call: str) -> dict[str, str]:
    """Describe the functions that installed packages show, and how a user names one of their own."""
    shown = {name: f"of the package {package}" for name, package in installed(kind).items()}
    return shown | {"package.module:function": f"a {kind} of your own: {call}"}


def _of_curriculum(name: str, kind: Kind) -> str:
    preferred = "" if name == Curriculum().name else f"; prefers {'hard' if kind.hard else 'easy'} samples"
    return f"{_about(DRAWS[kind.method])}{preferred}"


def _with_needs(function: Any, needs: Needs) -> str:
    inputs = f"; reads {' and '.join(INPUTS[source] for source in needs.inputs)}" if needs.inputs else ""
    return f"{_about(function)} ({', '.join(needs.granularities)}{inputs})"


def _about(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")


def _comment(lines: Iterable[str]) -> str:
    return next((line.lstrip("# ").rstrip(".") for line in lines if line.startswith("#")), "")

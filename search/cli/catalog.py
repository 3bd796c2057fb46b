"""The catalog as names and one line about each."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from search.methods.samplers import SAMPLERS
from search.methods.schedulers import SCHEDULERS
from search.methods.spaces import SPACES
from search.study.reading import shipped
from trainables.allocation.policies import POLICIES, Policy
from trainables.allocation.schedules import SCHEDULES
from trainables.data.sources import SOURCES
from trainables.learnability.curricula import CURRICULA, PACINGS, Kind
from trainables.learnability.measures import MEASURES
from trainables.lookup import pick
from trainables.models import hub
from trainables.models.cifar import CIFAR
from trainables.names import Source
from trainables.pruning.criteria import CRITERIA, Criterion
from trainables.pruning.granularities import GRANULARITIES
from trainables.spec import Curriculum
from trainables.training.recovery import RECOVERIES

HALF = np.array([0.5])
LOOKS: Mapping[Source, str] = {
    "samples": "calibration samples",
    "profile": "a profile of calibration samples",
    "gates": "trained gates",
    "probe": "linear probes of training samples",
}


def listing(kind: str | None) -> dict[str, dict[str, str]]:
    """List every kind, or one: kind -> name -> what it is. ValueError for an unknown kind."""
    tables: Mapping[str, Callable[[], dict[str, str]]] = {
        "models": _models,
        "datasets": lambda: {name: _about(source) for name, source in SOURCES.items()},
        "criteria": lambda: {name: f"{_about(c.score)} ({_needs(c)})" for name, c in CRITERIA.items()},
        "granularities": lambda: {name: _about(view) for name, view in GRANULARITIES.items()},
        "policies": lambda: {name: f"{_about(p.path)} ({_needs(p)})" for name, p in POLICIES.items()},
        "schedules": lambda: {name: _about(curve) for name, curve in SCHEDULES.items()},
        "recoveries": lambda: {name: _about(recovery) for name, recovery in RECOVERIES.items()},
        "curricula": lambda: {name: _drawn(name, kind) for name, kind in CURRICULA.items()},
        "pacings": lambda: {name: f"At half of its time {pace(HALF)[0]:.0%} are in" for name, pace in PACINGS.items()},
        "measures": lambda: {name: f"{_about(m.of)}; {m.easy} is easy" for name, m in MEASURES.items()},
        "schedulers": lambda: {name: _about(make) for name, make in SCHEDULERS.items()},
        "samplers": lambda: {name: _about(sampler.make) for name, sampler in SAMPLERS.items()},
        "spaces": lambda: {name: _about(space) for name, space in SPACES.items()},
        "studies": lambda: {name: _comment(text.splitlines()) for name, text in shipped().items()},
    }
    chosen = tables if kind is None else {kind: pick("kind", kind, tables)}
    return {name: table() for name, table in chosen.items()}


def _models() -> dict[str, str]:
    own = {name: _about(builder) for name, builder in CIFAR.items()}
    theirs = {name: "torchvision classifier" for name in hub.torchvision_names() if name not in own}
    return (
        own | theirs | {"package.module:function": "your own: function(num_classes=..., in_channels=...) -> nn.Module"}
    )


def _drawn(name: str, kind: Kind) -> str:
    liked = "" if name == Curriculum().name else f"; likes {'hard' if kind.hard else 'easy'} samples"
    return f"{_about(kind.method.draw)}{liked}"


def _needs(entry: Criterion | Policy) -> str:
    looks = f"; looks at {' and '.join(LOOKS[source] for source in entry.inputs)}" if entry.inputs else ""
    return ", ".join(entry.granularities) + looks


def _about(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")


def _comment(lines: Iterable[str]) -> str:
    return next((line.lstrip("# ").rstrip(".") for line in lines if line.startswith("#")), "")

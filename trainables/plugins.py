"""Functions of the user's own in place of the names of the catalog, by kind."""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, get_args

from trainables.names import CRITERION_NEEDS, POLICY_NEEDS, GranularityName, Needs, Source, unknown
from trainables.own_function import is_external, load_function

FunctionKind = Literal["policy", "criterion", "recovery", "optimizer", "measure", "curriculum", "sampler", "scheduler"]
Function = TypeVar("Function", bound=Callable[..., Any])

ARGUMENTS: Mapping[FunctionKind, tuple[str, ...]] = {
    "policy": ("problem",),
    "criterion": ("context",),
    "recovery": ("pruned",),
    "optimizer": ("parameters", "recipe"),
    "measure": ("records",),
    "curriculum": ("context",),
    "sampler": ("seed", "trials"),
    "scheduler": ("epochs", "metric", "mode"),
}
GROUPS: Mapping[FunctionKind, str] = {  # kind -> the group of entry points by which a package shows its functions
    "policy": "howcompact.policies",
    "criterion": "howcompact.criteria",
    "recovery": "howcompact.recoveries",
    "optimizer": "howcompact.optimizers",
    "measure": "howcompact.measures",
    "curriculum": "howcompact.curricula",
    "sampler": "howcompact.samplers",
    "scheduler": "howcompact.schedulers",
}
READABLE = ("samples", "profile")  # what a function of the user's own may read
NEEDS: Mapping[str, Mapping[str, Needs]] = {  # kind -> name -> what it reads; other kinds read what they are given
    "policy": POLICY_NEEDS,
    "criterion": CRITERION_NEEDS,
}


def needs(
    *inputs: Literal["samples", "profile"], granularities: tuple[GranularityName, ...] = get_args(GranularityName)
) -> Callable[[Function], Function]:
    """Declare what a policy or a criterion reads, and the granularities that it works on.

    A function without this reads nothing and works on all granularities. inputs: "samples" are the calibration samples,
    as `problem.context.samples` or `context.samples`. "profile" is `problem.measured`, for policies. Raises ValueError
    for any other input.
    """
    for each in inputs:
        if each not in READABLE:
            raise ValueError(f"a function may read {' or '.join(map(repr, READABLE))}, but got {each!r}; correct it")

    def declare(function: Function) -> Function:
        function.needs = Needs(granularities, inputs)  # type: ignore[attr-defined]
        return function

    return declare


def load(kind: FunctionKind, name: str) -> Callable[..., Any]:
    """Import a function of the user's own. Raises ValueError as `load_function`."""
    return load_function(kind, name, *ARGUMENTS[kind])


def needs_of(kind: FunctionKind, name: str) -> Needs:
    """Return what a policy or a criterion needs. Raises ValueError where its function cannot be imported."""
    if not is_external(name):
        return NEEDS[kind][name]
    declared: Needs = getattr(load(kind, name), "needs", Needs())
    return declared


def name_complaints(kind: FunctionKind, name: str) -> list[str]:
    """List what is wrong with a name; empty if the catalog has it, or if its function can be called."""
    return call_complaints(kind, name) if is_external(name) else unknown(kind, name)


def call_complaints(kind: FunctionKind, name: str) -> list[str]:
    """List why a function of the user's own cannot be called; empty if it can."""
    try:
        load(kind, name)
    except ValueError as error:
        return [str(error)]
    return []


def installed(kind: FunctionKind) -> dict[str, str]:
    """Find the functions that installed packages show by entry points: "package.module:function" -> its distribution.

    The functions are not imported.
    """
    found = entry_points(group=GROUPS[kind])
    return {entry.value: entry.dist.name if entry.dist else "" for entry in found if is_external(entry.value)}


def own_functions(names: Mapping[FunctionKind, Iterable[str]]) -> dict[str, FunctionKind]:
    """Find the functions of the user's own among the names of each kind: name -> kind."""
    return {name: kind for kind, named in names.items() for name in named if is_external(name)}


def code_of(functions: Iterable[str], known: Mapping[str, str], before: str = "") -> str:
    """Write what is known of functions: "package.module:function 0123456789abcdef samples, ...".

    known: name -> checksum of the code and the inputs. before: what is known already. A trial that has this can be read
    without an import of the user's code.
    """
    entries = {**known_of(before), **known}
    return ", ".join(f"{name} {entries[name]}" for name in functions if name in entries and is_external(name))


def known_of(code: str) -> dict[str, str]:
    """Read what `code_of` wrote: name -> checksum and inputs."""
    return {name: known for name, _, known in (entry.partition(" ") for entry in code.split(", ")) if known}


def inputs_of(code: str, name: str) -> tuple[Source, ...]:
    """Return the inputs of a function of the user's own, from what `code_of` wrote; none if it does not have it."""
    return tuple(known_of(code).get(name, "").split(" ")[1:])  # type: ignore[arg-type]

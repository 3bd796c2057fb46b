"""The curricula by name, with their methods, controls and labels, known without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from trainables.curriculum_spec import Curriculum
from trainables.own_function import is_external
from trainables.plugins import known_of


@dataclass(frozen=True)
class Method:
    """A way to draw samples by their scores, and the settings of a curriculum that it reads."""

    name: str
    settings: tuple[str, ...] = ()  # the label of a curriculum always contains the first one
    control: str = ""  # label of the one control that all its curricula share; empty: each has its own, shuffled one


@dataclass(frozen=True)
class Kind:
    """A method, and whether it prefers hard samples."""

    method: Method
    hard: bool


DIGITS = 8  # of a checksum in a label
PLAIN = Method("plain")
PACED = Method("paced", ("pacing", "start", "full"), "random order")
DROPPING = Method("dropping", ("fraction",), "random drop")
WEIGHING = Method("weighing")
SAMPLING = Method("sampling")
OWN = Method("own", ("pacing", "start", "full", "fraction"))  # a function of the user's own, which may read all of them

CURRICULA: Mapping[str, Kind] = {  # the first one of a method, with shuffled scores, is its shared control
    "standard": Kind(PLAIN, hard=False),
    "easy-first": Kind(PACED, hard=False),
    "hard-first": Kind(PACED, hard=True),
    "weigh-easy": Kind(WEIGHING, hard=False),
    "weigh-hard": Kind(WEIGHING, hard=True),
    "sample-easy": Kind(SAMPLING, hard=False),
    "sample-hard": Kind(SAMPLING, hard=True),
    "drop-hardest": Kind(DROPPING, hard=False),
    "drop-easiest": Kind(DROPPING, hard=True),
}


def kind_of(name: str) -> Kind:
    """Return the kind of a curriculum; a function of the user's own gets the easy samples first."""
    return Kind(OWN, hard=False) if is_external(name) else CURRICULA[name]


def is_scored(curriculum: Curriculum) -> bool:
    """Tell whether the scores of the samples change what this curriculum draws."""
    method = kind_of(curriculum.name).method
    return method != PLAIN and not (curriculum.shuffled and method.control)


def control_of(curriculum: Curriculum) -> Curriculum | None:
    """Return the same curriculum with shuffled scores; None for "standard", for a control and for an unknown name.

    A random order and a random drop do not depend on the scores, so all curricula of such a method share one control.
    """
    if not is_external(curriculum.name) and curriculum.name not in CURRICULA:
        return None
    method = kind_of(curriculum.name).method
    if method == PLAIN or curriculum.shuffled:
        return None
    if not method.control:
        return curriculum.model_copy(update={"shuffled": True})
    of_scores = ("measure", "network", "content", "table", "code")
    unscored = {field: Curriculum.model_fields[field].default for field in of_scores}
    return curriculum.model_copy(update={"name": _first(method), "shuffled": True, **unscored})


def label_of(curriculum: Curriculum) -> str:
    """Name a curriculum in tables, with every setting that differs from its default, so that labels are unique.

    A table whose checksum is known has the first eight digits of it as name, as the file may move. Functions of the
    user's own have those of their code.
    """
    method = kind_of(curriculum.name).method
    always = () if method == OWN else method.settings[:1]
    shared = curriculum.shuffled and bool(method.control) and curriculum.name == _first(method)
    code = {function: f"{function}-{known[:DIGITS]}" for function, known in known_of(curriculum.code).items()}
    name = method.control if shared else code.get(curriculum.name, curriculum.name)
    words = " ".join([name, *(_in_words(getattr(curriculum, field)) for field in always)])
    hidden = {"name", "phase", "content", "code", *always, *(["shuffled"] if shared else [])}
    flags = {"balanced": "unbalanced", "shuffled": "shuffled"}
    if curriculum.table and curriculum.content:
        flags["table"] = curriculum.content[: len("table ") + DIGITS]
    for field, value in curriculum.model_dump(exclude=hidden, exclude_defaults=True).items():
        words += f", {flags.get(field) or f'{field} {code.get(value) or _in_words(value)}'}"
    return f"dense: {words}" if curriculum.phase == "dense" else words


def _first(method: Method) -> str:
    return next(name for name, kind in CURRICULA.items() if kind.method == method)


def _in_words(value: str | float) -> str:
    return value if isinstance(value, str) else f"{(100 * Decimal(repr(value))).normalize():f} %"

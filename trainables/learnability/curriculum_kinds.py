"""The curricula by name, with their methods, controls and labels, known without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from trainables.curriculum_spec import Curriculum


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


DIGITS = 8  # of a table's checksum in a label
PLAIN = Method("plain")
PACED = Method("paced", ("pacing", "start", "full"), "random order")
DROPPING = Method("dropping", ("fraction",), "random drop")
WEIGHING = Method("weighing")
SAMPLING = Method("sampling")

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


def is_scored(curriculum: Curriculum) -> bool:
    """Tell whether the scores of the samples change what this curriculum draws."""
    method = CURRICULA[curriculum.name].method
    return method != PLAIN and not (curriculum.shuffled and method.control)


def control_of(curriculum: Curriculum) -> Curriculum | None:
    """Return the same curriculum with shuffled scores; None for "standard", for a control and for an unknown name.

    A random order and a random drop do not depend on the scores, so all curricula of such a method share one control.
    """
    kind = CURRICULA.get(curriculum.name)
    if kind is None or kind.method == PLAIN or curriculum.shuffled:
        return None
    method = kind.method
    if not method.control:
        return curriculum.model_copy(update={"shuffled": True})
    unscored = {field: Curriculum.model_fields[field].default for field in ("measure", "network", "content", "table")}
    return curriculum.model_copy(update={"name": _first(method), "shuffled": True, **unscored})


def label_of(curriculum: Curriculum) -> str:
    """Name a curriculum in tables, with every setting that differs from its default, so that labels are unique.

    A table whose checksum is known has the first eight digits of it as name, as the file may move.
    """
    method = CURRICULA[curriculum.name].method
    always = method.settings[:1]
    shared = curriculum.shuffled and bool(method.control) and curriculum.name == _first(method)
    name = method.control if shared else curriculum.name
    words = " ".join([name, *(_in_words(getattr(curriculum, field)) for field in always)])
    hidden = {"name", "phase", "content", *always, *(["shuffled"] if shared else [])}
    flags = {"balanced": "unbalanced", "shuffled": "shuffled"}
    if curriculum.table and curriculum.content:
        flags["table"] = curriculum.content[: len("table ") + DIGITS]
    for field, value in curriculum.model_dump(exclude=hidden, exclude_defaults=True).items():
        words += f", {flags.get(field) or f'{field} {_in_words(value)}'}"
    return f"dense: {words}" if curriculum.phase == "dense" else words


def _first(method: Method) -> str:
    return next(name for name, kind in CURRICULA.items() if kind.method == method)


def _in_words(value: str | float) -> str:
    return value if isinstance(value, str) else f"{(100 * Decimal(repr(value))).normalize():f} %"

"""Reads rules for layers outside of a study."""

from pathlib import Path
from typing import Any

from search.study import strict_yaml
from trainables.frozen import Frozen
from trainables.mistakes import checked
from trainables.pruning_spec import LayerRule


class _Ruled(Frozen):
    layers: tuple[LayerRule, ...]


def checked_rules(source: str | None) -> tuple[LayerRule, ...]:
    """Read rules as `read_rules`; None has none. Raises ValueError as it does, and for a rule that is wrong."""
    return () if source is None else checked(_Ruled, {"layers": read_rules(source)}).layers


def read_rules(source: str) -> list[Any]:
    """Read the settings of rules: YAML text that begins with "[", or a file with a list or with a study's `layers`.

    Raises ValueError for a file that is missing and for anything but a list.
    """
    text = source
    if not source.lstrip().startswith("["):
        path = Path(source)
        if not path.is_file():
            raise ValueError(
                f"--layers must be a YAML file with rules, but {source!r} does not exist; write one, or give the rules "
                "themselves, as \"[{match: 'head*', keep: 1.0}]\""
            )
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(strict_yaml.LONGEST + 1)
    try:
        rules = strict_yaml.parse(text)
    except ValueError as error:
        raise ValueError(f"--layers must be YAML, but {source} is not: {error}") from None
    rules = rules.get("layers") if isinstance(rules, dict) else rules
    if not isinstance(rules, list):
        raise ValueError(f"--layers must hold a list of rules, but {source} has none; write them as - match: ...")
    return rules

"""Read YAML from an untrusted source: it has to be short and shallow, without repeated keys and without aliases."""

from typing import Any

import yaml

LONGEST = 100_000  # characters of a text
DEEPEST = 16  # levels of values inside values


class _Plain(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, because a few lines of aliases can stand for billions of values."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark: Any = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not read; write it out", problem_mark=mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """Parse YAML. Raises ValueError for invalid YAML, repeated keys, aliases, and texts too long or too deep."""
    if len(text) > LONGEST:
        raise ValueError(f"it must have at most {LONGEST:,} characters, but has {len(text):,}")
    try:
        return yaml.load(text, _Plain)
    except Exception as error:  # PyYAML does not catch the errors of int() and datetime()
        raise ValueError(str(error)) from None

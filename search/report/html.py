"""HTML by Jinja2, which escapes every value."""

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def render(template: str, **values: Any) -> str:
    """Fill a file of `search/report/templates`. Every value is escaped, unless it is a `Markup`."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("search.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["coded"] = _coded
    return environment


def _coded(text: str) -> Markup:
    """Escape a text. What stands between backticks becomes code; a number and its percent sign stay on one line."""
    escaped = re.sub(r"(?<=\d) %", "\u00a0%", escape(text))
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", escaped))

"""Every command's help has an example that the command line can parse."""

import re
import shlex

import pytest
import typer.main
from typer.testing import CliRunner

from search.cli.app import app
from search.cli.options import spread

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str) -> None:
    ended = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert ended.exit_code == 0
    example = re.search(r"Example: howcompact (\S+) ?([^│\n]*)", ended.output)
    assert example is not None
    assert example[1] == name
    words = shlex.split(example[2].partition("> ")[0])
    command = COMMANDS[name]
    command.make_context(name, spread(words))  # raises for an unknown option or a missing argument

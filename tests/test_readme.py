"""What the README says is so: its commands, messages, links and folders. test_end_to_end runs its tour."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from search.cli.app import app
from search.study.reading import read_study, shipped
from tests.search.waiting import LIMIT
from tests.test_imports import FILES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BOOK = {path: (ROOT / path).read_text() for path in ("README.md", "search/README.md", "trainables/README.md")}
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.S)


def output_of(command: str, cwd: Path) -> str:
    """Run a command of the README with the installed programs first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def test_the_two_commands_set_up_a_venv_and_do_their_job() -> None:
    set_up = "python3 -m venv .venv && .venv/bin/pip install -q -e "
    assert BLOCKS[0] == f"{set_up}. && .venv/bin/howcompact run\n"
    assert BLOCKS[1] == f"{set_up}'.[test]' && .venv/bin/pytest -q\n"


def test_the_studies_and_settings_that_are_named_exist() -> None:
    for text in BOOK.values():
        for name in re.findall(r"howcompact (?:run|submit) (\w+)", text):
            assert name in shipped()
    (reduced,) = re.findall(r"data.max_train=2000.*?search.trials=8", README, flags=re.S)
    settings = [word for word in reduced.replace("\\", " ").split() if "=" in word]
    study = read_study("cifar10", [*settings, "data.name=digits", "data.size=32"])
    assert (study.data.max_train, study.search.trials) == (2000, 8)


def test_the_messages_that_are_explained_are_those_of_the_code() -> None:
    table = README.partition("## Troubleshooting")[2].partition("\n## ")[0]
    fragments = [
        text for row in re.findall(r"^\| (`.*?) \|", table, flags=re.M) for text in re.findall(r"`(.*?)`", row)
    ]
    trees = (ast.walk(ast.parse(path.read_text())) for path in FILES)
    texts = {
        node.value
        for nodes in trees
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert len(fragments) >= 10
    for fragment in fragments:
        message = fragment.removeprefix("policy").removeprefix("data.path")  # which the code fills in
        assert any(message in text for text in texts), fragment


@pytest.mark.parametrize("path", BOOK)
def test_links_lead_to_files_and_headings_that_exist(path: str) -> None:
    def anchors(text: str) -> set[str]:
        headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    for target in re.findall(r"\]\(([^)]+)\)", BOOK[path]):
        file, _, anchor = target.partition("#")
        linked = (ROOT / path).parent / file if file else ROOT / path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text()), target


def test_every_folder_of_the_house_is_on_its_plan() -> None:
    plan = README.partition("## The plan of the house")[2]
    folders = {path.parent for path in FILES if path.parent.parent in (ROOT / "search", ROOT / "trainables")}
    for folder in folders:
        assert f"{folder.name}/" in plan, folder


def test_the_commands_without_json_are_those_that_are_named() -> None:
    (sentence,) = re.findall(r"Every command but (.*?) takes `--json`", README)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    without = {
        name for name, command in commands.items() if "--json" not in {o for p in command.params for o in p.opts}
    }
    assert set(re.findall(r"`(\w+)`", sentence)) == without


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 300

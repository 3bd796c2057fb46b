"""The README's commands are run, not only shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

from search.study.reading import read_study, shipped

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.S)


def said(command: str, cwd: Path) -> str:
    """Run a command of the README with the installed programs first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def test_the_two_commands_set_up_a_venv_and_do_their_job() -> None:
    set_up = "python3 -m venv .venv && .venv/bin/pip install -q -e "
    assert BLOCKS[0] == f"{set_up}. && .venv/bin/howcompact run\n"
    assert BLOCKS[1] == f"{set_up}'.[test]' && .venv/bin/pytest -q\n"


def test_the_first_command_and_those_that_follow_it_run(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    fewer = " --set seeds=[0] sparsities=[0.5,0.95] search.trials=4"
    table = said(BLOCKS[0].rpartition("&&")[2].rstrip() + fewer, tmp_path)
    for policy in ("uniform", "capacity", "searched"):
        assert policy in table
    assert "MLflow: " in table
    (retrieve,) = re.findall(r"best checkpoint: (.*)", table)
    assert "verified" in said(retrieve, tmp_path)
    for command in BLOCKS[2].splitlines()[1:]:
        assert said(command.partition("#")[0], tmp_path)
    assert (tmp_path / "page" / "index.html").exists()


def test_the_studies_and_settings_that_are_named_exist() -> None:
    for name in re.findall(r"howcompact (?:run|submit) (\w+)", README):
        assert name in shipped()
    (reduced,) = re.findall(r"data.max_train=2000.*?search.trials=8", README, flags=re.S)
    settings = [word for word in reduced.replace("\\", " ").split() if "=" in word]
    study = read_study("cifar10", [*settings, "data.name=digits", "data.size=32"])
    assert (study.data.max_train, study.search.trials) == (2000, 8)


def test_every_file_of_the_house_is_on_its_plan() -> None:
    plan = README.partition("## The house")[2]
    for path in [*ROOT.glob("search/*.py"), *ROOT.glob("trainables/*.py")]:
        assert path.name in plan or path.name == "__init__.py", path

"""The cluster of machines of one's own, brought up by `ray up` over an ssh that runs everything on this machine."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.clusters import TEXTS, config_of

# Each machine is a folder of $MACHINES; what its programs are called with goes into $MACHINES/log.
SSH = """#!/bin/bash
while [[ $1 == -* ]]; do case $1 in -[io]) shift 2 ;; *) shift ;; esac; done
export HOME="$MACHINES/${1#*@}"
shift
exec env -u RAY_AUTH_MODE bash -c "$*" 2> /dev/null
"""
RSYNC = """#!/bin/bash
target=${@: -1}
machine=${target%%:*}
cp "${@: -2:1}" "${target/#*:\\~/$MACHINES/${machine#*@}}"
"""
PYTHON = """#!/bin/bash
echo "${HOME##*/} python3.11 $*" >> "$MACHINES/log"
mkdir -p "$3/bin"
echo "PATH=$3/bin:$PATH" > "$3/bin/activate"
for program in python ray; do
  echo '#!/bin/bash' > "$3/bin/$program"
  echo 'echo "${HOME##*/} ${0##*/} $* $RAY_AUTH_MODE" >> "$MACHINES/log"' >> "$3/bin/$program"
  chmod +x "$3/bin/$program"
done
"""


@pytest.fixture
def machines(tmp_path: Path) -> Path:
    """The head and its programs, and a laptop with a key and the token."""
    programs, home = tmp_path / "programs", tmp_path / "laptop"
    programs.mkdir()
    for name, text in {"ssh": SSH, "rsync": RSYNC, "python3.11": PYTHON}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for place in (home / ".ssh", home / ".ray", tmp_path / config_of("onprem")["provider"]["head_ip"]):
        place.mkdir(parents=True)
    (place / ".bash_profile").write_text(f"PATH={shlex.quote(str(programs))}:$PATH\n")
    (home / ".ssh" / "id_ed25519").write_text("key")
    (home / ".ray" / "auth_token").write_text("token")
    return tmp_path


def test_ray_up_prepares_the_head_and_starts_it_with_the_token(machines: Path) -> None:
    (machines / "cluster.yaml").write_text(TEXTS["onprem"])
    environment = {
        "HOME": str(machines / "laptop"),
        "PATH": os.pathsep.join([str(machines / "programs"), str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "MACHINES": str(machines),
        "RAY_TMPDIR": str(machines),
        "TMPDIR": str(machines),
        "RAY_AUTH_MODE": "token",
    }
    up = ["ray", "up", "--yes", "--no-config-cache", "cluster.yaml"]
    done = subprocess.run(up, cwd=machines, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr

    config = config_of("onprem")
    address = config["provider"]["head_ip"]
    head = machines / address
    assert (head / ".ray" / "auth_token").read_text() == "token"
    assert (head / "ray_bootstrap_key.pem").read_text() == "key"
    scaling = json.loads((head / "ray_bootstrap_config.yaml").read_text())
    ((node, workers),) = scaling["available_node_types"].items()
    assert (scaling["head_node_type"], workers["min_workers"], workers["max_workers"]) == (node, 2, 2)
    assert scaling["worker_start_ray_commands"] == config["worker_start_ray_commands"]

    venv, install, stop, start = (machines / "log").read_text().splitlines()
    assert venv == f"{address} python3.11 -m venv {head}/.howcompact"
    (pip,) = [command for command in config["setup_commands"] if " pip " in command]
    assert install.split() == [address, "python", *shlex.split(pip)[1:]]
    assert stop.split() == [address, "ray", "stop"]
    assert start.startswith(f"{address} ray start --head --port=6379")
    assert start.endswith("token")

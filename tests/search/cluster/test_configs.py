"""The configs of clusters that come with the package: what they promise, and what Ray's launcher says of them."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from ray.scripts.scripts import cli as ray_command

from search.study.reading import shipped
from tests.search.clusters import (
    LAUNCHED,
    TEXTS,
    Config,
    Spoil,
    commands,
    config_of,
    drop,
    missing_mounts,
    options_of,
    prepared,
    put,
    rename,
)
from tests.search.conftest import howcompact

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = {needed.name: needed for needed in map(Requirement, PROJECT["dependencies"])}


def pins(config: Config) -> dict[str, Requirement]:
    """Find what a node installs."""
    (install,) = [command for command in config["setup_commands"] if " pip install " in command]
    words = shlex.split(install.partition(" pip install ")[2])
    return {pin.name: pin for pin in map(Requirement, (word for word in words if not word.startswith("-")))}


def test_the_command_prints_each_kind_and_refuses_another(tmp_path: Path) -> None:
    assert set(TEXTS) == {"aws", "kubernetes", "onprem"}
    for kind, text in TEXTS.items():
        assert howcompact("cluster", "--kind", kind, cwd=tmp_path).stdout == text
    refused = howcompact("cluster", "--kind", "kubernets", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: kind must be a known name, but got 'kubernets'; did you mean 'kubernetes'")


def test_the_file_beside_the_readme_is_the_one_for_aws() -> None:
    assert (ROOT / "cluster.yaml").read_text() == TEXTS["aws"]


@pytest.mark.parametrize("kind", TEXTS)
def test_five_lines_are_marked(kind: str) -> None:
    comment, _, body = TEXTS[kind].partition("\n\n")
    assert "marked (1) to (5)" in comment
    assert sorted(re.findall(r"\(\d\)", body)) == ["(1)", "(2)", "(3)", "(4)", "(5)"]
    assert set(re.findall(r"\(\d\)", comment)) <= {f"({number})" for number in range(1, 6)}


@pytest.mark.parametrize("kind", TEXTS)
def test_the_commands_of_the_comments_exist_and_take_these_options(kind: str) -> None:
    joined = re.sub(r"\\\n#", "", TEXTS[kind])
    told = re.findall(r"^#   ((?:howcompact|ray) [^#>\n]*)", joined, flags=re.M)
    assert len(told) == (1 if kind == "kubernetes" else 6)
    for line in told:
        program, name, *words = shlex.split(line)
        if program == "ray":
            ray_command.commands[name].make_context(name, words).close()
        elif study := options_of(line).get("study"):
            assert study in shipped()


@pytest.mark.parametrize("kind", LAUNCHED)
def test_ray_accepts_it(kind: str) -> None:
    assert len(commands(prepared(config_of(kind)))) > 5


@pytest.mark.parametrize("kind", LAUNCHED)
def test_nodes_get_all_that_the_project_stands_on_in_one_version_within_its_bounds(kind: str) -> None:
    found = pins(config_of(kind))
    assert set(found) == set(NEEDED)
    assert found == pins(config_of("aws"))
    for name, pin in found.items():
        (version,) = pin.specifier
        assert (version.operator, pin.extras) == ("==", NEEDED[name].extras)
        assert NEEDED[name].specifier.contains(version.version), f"{pin}, but pyproject.toml wants {NEEDED[name]}"


@pytest.mark.parametrize("kind", ["aws", "kubernetes"])
def test_images_carry_the_pinned_ray_and_a_python_of_the_project(kind: str) -> None:
    (pin,) = pins(config_of("aws"))["ray"].specifier
    ((ray, major, minor),) = re.findall(r"rayproject/ray:([\d.]+)-py(\d)(\d+)-gpu", TEXTS[kind])
    assert ray == pin.version == config_of("kubernetes")["spec"]["rayClusterSpec"]["rayVersion"]
    assert (int(major), int(minor)) in ((3, minor) for minor in range(11, 15))


@pytest.mark.parametrize("kind", LAUNCHED)
def test_head_runs_no_trials_and_shows_its_dashboard_to_nobody_else(kind: str) -> None:
    config = config_of(kind)
    start = config["head_start_ray_commands"][-1].split()
    assert "--dashboard-host=127.0.0.1" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    if kind == "aws":
        assert config["available_node_types"][config["head_node_type"]]["resources"]["CPU"] == 0
    else:
        assert {"--num-cpus=0", "--num-gpus=0"} <= set(start)


def test_every_file_mount_exists_once_the_token_is_generated_as_the_comments_say(tmp_path: Path) -> None:
    generate = "ray get-auth-token --generate"
    assert all(missing_mounts(config_of(kind), tmp_path) for kind in LAUNCHED)
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(generate.split(), env=environment, check=True, capture_output=True)
    for kind in LAUNCHED:
        assert generate in TEXTS[kind]
        assert not missing_mounts(config_of(kind), tmp_path)
        assert any(remote.endswith("/.ray/auth_token") for remote in config_of(kind)["file_mounts"])


def test_all_that_runs_on_a_node_asks_for_the_token() -> None:
    assert "--env RAY_AUTH_MODE=token" in config_of("aws")["docker"]["run_options"]
    starts = [command for command in commands(config_of("onprem")) if " ray start " in command]
    assert len(starts) == 2
    assert all(" RAY_AUTH_MODE=token ray start " in start for start in starts)
    assert config_of("kubernetes")["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("kind", LAUNCHED)
@pytest.mark.parametrize(
    "spoil",
    [
        rename("setup_commands", "setup_comands"),
        rename("provider.type", "typ"),
        put("provider.type", "asw"),
        put("max_workers", "four"),
        put("setup_commands", "pip install ray"),
        put("setup_commands.0", "test -x 'python"),
        put("worker_start_ray_commands.1", "ray start $(hostname"),
        put("provider.heed_ip", "192.0.2.10"),
        rename("auth.ssh_user", "ssh_usr"),
        put("docker.imgae", "rayproject/ray"),
        put("idle_timeout_minutes", "soon"),
        put("cluster_name", 5),
        drop("provider"),
    ],
)
def test_slips_are_refused(kind: str, spoil: Spoil) -> None:
    config = config_of(kind)
    config.setdefault("docker", {})
    spoil(config)
    with pytest.raises(Exception):  # noqa: B017, PT011  Ray raises a different kind for almost each
        prepared(config)


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("aws", rename("provider.region", "regoin")),
        ("aws", put("head_node_type", "haed")),
        ("aws", put("available_node_types.gpu_worker.min_workers", 5)),
        ("aws", rename("docker.image", "imgae")),
        ("aws", drop("docker.container_name")),
        ("aws", drop("available_node_types.gpu_worker.resources")),
        ("aws", rename("available_node_types.gpu_worker.min_workers", "min_worker")),
        ("onprem", rename("provider.head_ip", "head")),
        ("onprem", drop("provider.worker_ips")),
        ("onprem", put("available_node_types", {"gpu": {"resources": {}, "node_config": {}}})),
    ],
)
def test_slips_of_one_kind_are_refused(kind: str, spoil: Spoil) -> None:
    config = config_of(kind)
    spoil(config)
    with pytest.raises(Exception):  # noqa: B017, PT011
        prepared(config)


def test_a_missing_source_of_a_file_mount_is_found(tmp_path: Path) -> None:
    config = config_of("aws")
    config["file_mounts"] = {"/home/ray/code": str(tmp_path), "/home/ray/data": str(tmp_path / "nowhere"), "/x": "here"}
    assert missing_mounts(config, tmp_path) == [str(tmp_path / "nowhere"), "here"]

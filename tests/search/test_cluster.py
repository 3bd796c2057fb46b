"""cluster.yaml: what Ray's own checks say of it, and what they cannot see."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster.yaml").read_text()
Config = dict[str, Any]


@pytest.fixture
def config() -> Config:
    return dict(copy.deepcopy(yaml.safe_load(TEXT)))


def check(config: Config) -> Config:
    """Prepare and validate as `ray up` does."""
    prepared: Config = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def commands(config: Config) -> list[str]:
    prepared = check(config)
    return [command for name, lines in prepared.items() if name.endswith("_commands") for command in lines]


def test_ray_accepts_it_and_scales_gpu_workers_from_none_to_the_maximum(config: Config) -> None:
    prepared = check(config)
    worker = prepared["available_node_types"]["gpu_worker"]
    assert (worker["min_workers"], worker["max_workers"]) == (0, config["max_workers"])
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def _misspell_top(config: Config) -> None:
    config["setup_comands"] = config.pop("setup_commands")


def _drop_provider(config: Config) -> None:
    del config["provider"]


def _point_to_no_head(config: Config) -> None:
    config["head_node_type"] = "haed"


def _write_maximum_out(config: Config) -> None:
    config["max_workers"] = "four"


def _ask_for_more_than_the_maximum(config: Config) -> None:
    config["available_node_types"]["gpu_worker"]["min_workers"] = config["max_workers"] + 1


def _give_one_command_as_text(config: Config) -> None:
    config["setup_commands"] = config["setup_commands"][0]


def _misspell_docker(config: Config) -> None:
    config["docker"]["imgae"] = config["docker"].pop("image")


def _leave_container_unnamed(config: Config) -> None:
    del config["docker"]["container_name"]


def _forget_resources(config: Config) -> None:
    del config["available_node_types"]["gpu_worker"]["resources"]


@pytest.mark.parametrize(
    "spoil",
    [
        _misspell_top,
        _drop_provider,
        _point_to_no_head,
        _write_maximum_out,
        _ask_for_more_than_the_maximum,
        _give_one_command_as_text,
        _misspell_docker,
        _leave_container_unnamed,
        _forget_resources,
    ],
)
def test_ray_refuses_what_a_slip_would_make_of_it(config: Config, spoil: Callable[[Config], None]) -> None:
    spoil(config)
    with pytest.raises(Exception):  # noqa: B017, PT011  Ray raises a different kind for almost each
        check(config)


def test_provider_settings_are_known_to_ray_whose_own_check_lets_any_pass(config: Config) -> None:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    assert set(config["provider"]) <= set(schema["properties"]["provider"]["properties"])


def test_image_carries_the_installed_ray_and_a_python_of_the_project(config: Config) -> None:
    repository, _, tag = config["docker"]["image"].partition(":")
    version, python, device = tag.split("-")
    assert (repository, version, device) == ("rayproject/ray", ray.__version__, "gpu")
    assert python in ("py311", "py312")


def test_head_runs_no_trials_and_shows_its_dashboard_to_nobody_else(config: Config) -> None:
    assert config["available_node_types"][config["head_node_type"]]["resources"]["CPU"] == 0
    start = config["head_start_ray_commands"][-1].split()
    assert "--dashboard-host=127.0.0.1" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start


def test_project_is_sent_whole_and_installed_from_its_files(config: Config) -> None:
    (place,) = [remote for remote, local in config["file_mounts"].items() if local == "."]
    for needed in ("pyproject.toml", "search", "trainables"):
        assert (ROOT / needed).exists()
        assert needed not in config["rsync_exclude"]
    assert any(command.endswith(f"pip install --quiet {place}") for command in config["setup_commands"])


def test_every_file_mount_exists_once_the_token_is_generated_as_the_comments_say(
    config: Config, tmp_path: Path
) -> None:
    generate = "ray get-auth-token --generate"
    assert generate in TEXT
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(generate.split(), env=environment, check=True, capture_output=True)
    for local in config["file_mounts"].values():
        assert (ROOT / local.replace("~", str(tmp_path), 1)).exists(), local


def test_all_that_runs_on_a_node_asks_for_the_token_that_every_node_has(config: Config) -> None:
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"


def test_every_command_is_a_command_of_the_shell(config: Config) -> None:
    assert len(commands(config)) > 5
    for command in commands(config):
        checked = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, f"{command}: {checked.stderr}"

"""The shipped configs of clusters as tests see them, what Ray's launcher says of one, and how to spoil one."""

import copy
import json
import shlex
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray.autoscaler
import yaml
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.main import get_group

from search.cli.app import app
from search.cli.options import spread
from search.study.shipped import yaml_files

TEXTS = yaml_files("clusters")
LAUNCHED = ("aws", "onprem")  # by `ray up`
Config = dict[str, Any]
Spoil = Callable[[Config], None]


def config_of(kind: str) -> Config:
    return dict(yaml.safe_load(TEXTS[kind]))


def prepared(config: Config) -> Config:
    """Prepare and validate as `ray up` does, and check what that lets pass: commands, keys of provider and auth."""
    done: Config = prepare_config(copy.deepcopy(config))
    validate_config(done)
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    for section in ("provider", "auth"):
        unknown = set(done[section]) - set(schema["properties"][section]["properties"])
        assert not unknown, f"{section} has no {unknown}"
    for command in commands(done):
        checked = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, f"{command}: {checked.stderr}"
    return done


def commands(config: Config) -> list[str]:
    return [command for name, lines in config.items() if name.endswith("_commands") for command in lines]


def added(config: Config, demands: list[Any]) -> dict[str, int]:
    """How many nodes of each type Ray's autoscaler adds to a lone head for such demands."""
    every = NodeAvailabilitySummary({})  # types of nodes are to be had
    head, scorer = config["head_node_type"], partial(_default_utilization_scorer, node_availability_summary=every)
    nodes, _ = get_nodes_for(config["available_node_types"], {head: 1}, head, config["max_workers"], demands, scorer)
    return dict(nodes)


def missing_mounts(config: Config, home: Path) -> list[str]:
    """Find the sources of file mounts that are not there, where `home` is the home folder."""
    sources = [Path(local.replace("~", str(home), 1)) for local in config["file_mounts"].values()]
    return [str(source) for source in sources if not (source.is_absolute() and source.exists())]


def options_of(line: str) -> dict[str, Any]:
    """Parse a command line of howcompact and return its options; nothing is run."""
    _, name, *words = shlex.split(line)
    with get_group(app).commands[name].make_context(name, spread(words)) as context:
        return dict(context.params)


def put(path: str, value: object) -> Spoil:
    """Set what a dotted path leads to; numbers count the items of lists."""
    return _slip(f"put {path}", path, lambda place, key: place.__setitem__(key, value))


def drop(path: str) -> Spoil:
    """Take away what a dotted path leads to."""
    return _slip(f"drop {path}", path, lambda place, key: place.__delitem__(key))


def rename(path: str, name: str) -> Spoil:
    """Give what a dotted path leads to another name."""
    return _slip(f"rename {path}", path, lambda place, key: place.__setitem__(name, place.pop(key)))


def _slip(name: str, path: str, change: Callable[[Any, Any], None]) -> Spoil:
    *parents, last = [int(step) if step.isdecimal() else step for step in path.split(".")]

    def spoil(config: Config) -> None:
        place: Any = config
        for step in parents:
            place = place[step]
        change(place, last)

    spoil.__name__ = name  # pytest shows it
    return spoil

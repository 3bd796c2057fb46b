"""The shipped configs of clusters: read them, check them with Ray's launcher, and put mistakes into them."""

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
Spoil = Callable[[Config], None]  # puts a mistake into a config


def config_of(kind: str) -> Config:
    return dict(yaml.safe_load(TEXTS[kind]))


def prepared(config: Config) -> Config:
    """Prepare and validate a config as `ray up` does, then check commands, provider and auth, as Ray does not."""
    ready: Config = prepare_config(copy.deepcopy(config))
    validate_config(ready)
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    for section in ("provider", "auth"):
        unknown = set(ready[section]) - set(schema["properties"][section]["properties"])
        assert not unknown, f"{section} has no {unknown}"
    for command in commands(ready):
        checked = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, f"{command}: {checked.stderr}"
    return ready


def commands(config: Config) -> list[str]:
    return [command for name, lines in config.items() if name.endswith("_commands") for command in lines]


def added(config: Config, demands: list[Any]) -> dict[str, int]:
    """Return how many nodes of each type Ray's autoscaler adds to a head for these demands."""
    every = NodeAvailabilitySummary({})  # all types of nodes are available
    head, scorer = config["head_node_type"], partial(_default_utilization_scorer, node_availability_summary=every)
    nodes, _ = get_nodes_for(config["available_node_types"], {head: 1}, head, config["max_workers"], demands, scorer)
    return dict(nodes)


def missing_mounts(config: Config, home: Path) -> list[str]:
    """Return the sources of file mounts that do not exist, where `home` is the home folder."""
    sources = [Path(local.replace("~", str(home), 1)) for local in config["file_mounts"].values()]
    return [str(source) for source in sources if not (source.is_absolute() and source.exists())]


def options_of(line: str) -> dict[str, Any]:
    """Parse a command line of howcompact and return its options, without running it."""
    _, name, *words = shlex.split(line)
    with get_group(app).commands[name].make_context(name, spread(words)) as context:
        return dict(context.params)


def put(path: str, value: object) -> Spoil:
    """Set the value at a dotted path; numbers index lists."""
    return _mistake(f"put {path}", path, lambda parent, key: parent.__setitem__(key, value))


def drop(path: str) -> Spoil:
    """Remove the value at a dotted path."""
    return _mistake(f"drop {path}", path, lambda parent, key: parent.__delitem__(key))


def rename(path: str, name: str) -> Spoil:
    """Rename the key at the end of a dotted path."""
    return _mistake(f"rename {path}", path, lambda parent, key: parent.__setitem__(name, parent.pop(key)))


def _mistake(name: str, path: str, change: Callable[[Any, Any], None]) -> Spoil:
    *parents, last = [int(step) if step.isdecimal() else step for step in path.split(".")]

    def spoil(config: Config) -> None:
        parent: Any = config
        for step in parents:
            parent = parent[step]
        change(parent, last)

    spoil.__name__ = name  # pytest shows it
    return spoil

"""Checks that every node reaches the storage, before a trial waits for it there."""

import uuid
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainables.storage.folder import Folder

PATIENCE = 120.0  # seconds in which every node must answer; they include the start of a worker
MARK, NAMED = "driver", 3  # the driver's file; number of nodes that an error names


def refuse_unreachable(storage: Folder) -> None:
    """Let every node that may run trials read a file of this node, and write one that this node reads.

    Raises ValueError with the nodes that cannot and the reasons. A cluster of this node alone needs no check. Tune
    checks nodes that join later: it marks its own folder in the storage.
    """
    here = ray.get_runtime_context().get_node_id()
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in _working() if node["NodeID"] != here}
    if not nodes:
        return
    folder, mark = storage / f".reach-{uuid.uuid4().hex}", uuid.uuid4().bytes
    try:
        folder.write(MARK, mark)
        visits = {
            _visit.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                folder, mark, node
            ): node
            for node in nodes
        }
        answered, silent = ray.wait(list(visits), num_returns=len(visits), timeout=PATIENCE)
        reasons = {visits[visit]: f"no answer in {PATIENCE:.0f} s" for visit in silent}
        reasons |= {visits[visit]: _answer(visit) or _not_seen(folder, visits[visit]) for visit in answered}
    finally:
        folder.delete()
    present = {node["NodeID"] for node in _working()}  # a node that has left the cluster runs no trial
    failing = [f"{nodes[node]} ({why})" for node, why in reasons.items() if why and node in present]
    if failing:
        more = f" and {len(failing) - NAMED} more" if failing[NAMED:] else ""
        raise ValueError(
            f"storage must be a folder that every node reaches, but {storage.uri} is not for "
            f"{', '.join(failing[:NAMED])}{more}; give a URI such as s3://bucket/studies with credentials in each "
            "node's environment, or a folder that every node has mounted at the same path"
        )


def _working() -> list[dict[str, Any]]:
    """Nodes that are up and may run trials."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]


@ray.remote(num_cpus=0, max_retries=0)
def _visit(folder: Folder, mark: bytes, name: str) -> str:
    """Read the driver's mark and write one; return what is wrong, "" if nothing is."""
    try:
        if folder.read(MARK) != mark:
            return "it reads another file there"
        folder.write(name, mark)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return ""


def _answer(visit: Any) -> str:
    try:
        return str(ray.get(visit))
    except ray.exceptions.RayError as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _not_seen(folder: Folder, node: str) -> str:
    return "" if folder.has(node) else "the driver does not see its file"
